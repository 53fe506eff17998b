//! Whole-system tests. Those that need a service get it from `tests/run`, and fail without it.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod access;
mod account;
mod api;
mod broker_checked;
mod broker_kept;
mod broker_lost_message;
mod broker_outage;
mod broker_unserved;
mod broker_young_pool;
mod deployment;
mod find;
mod first_configuration;
mod first_deploy;
mod gates;
mod intake;
mod layering;
mod letters;
mod missed;
mod newer_words;
mod operations;
mod order;
mod own_broker;
mod portainer;
mod reload;
mod services;
mod spool;
mod there_and_back;
mod verdicts;
mod which_image;
