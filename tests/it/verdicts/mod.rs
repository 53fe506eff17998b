//! What becomes of jobs whose workers crash, lose their broker, or are asked to stop.

mod marks;
mod poison;
mod stage;
mod stopping;
