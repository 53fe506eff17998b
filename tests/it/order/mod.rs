//! Newest wins, on a whole fleet: whatever clocks, workers and connections do.

mod burst;
mod clocks;
mod comeback;
mod held;
mod late;
mod slots;
mod stage;
