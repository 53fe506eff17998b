//! Fleets that are told of no target: they find them by the labels of services, and new images by looking.

mod discovery;
mod poll;
mod silence;
mod stage;
