//! CI and Diun over the broker, as users who may publish to the intake and do nothing else.

mod broker;
mod stage;
