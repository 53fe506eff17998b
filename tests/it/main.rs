//! Whole-system tests. Those that need a service get it from `tests/run`, and fail without it.

mod deployment;
mod first_deploy;
mod layering;
mod services;
