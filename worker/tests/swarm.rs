//! The swarm target on a real engine: started by `tests/run`, or named by LONGSHORE_TEST_DOCKER.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "swarm/berth.rs"]
mod berth;
#[path = "swarm/berth_of_texts.rs"]
mod berth_of_texts;
#[path = "swarm/carry_out.rs"]
mod carry_out;
#[path = "contract/mod.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod contract;
#[path = "swarm/lab.rs"]
mod lab;
#[path = "swarm/noting.rs"]
mod noting;
#[path = "swarm/registry.rs"]
mod registry;
#[path = "life/stage.rs"]
#[allow(dead_code, reason = "shared with another test program")]
mod stage;
#[path = "swarm/token_service.rs"]
mod token_service;
#[path = "swarm/wire.rs"]
mod wire;

#[path = "swarm/credentials.rs"]
mod credentials;
#[path = "swarm/crowd.rs"]
mod crowd;
#[path = "swarm/discovery.rs"]
mod discovery;
#[path = "swarm/elsewhere.rs"]
mod elsewhere;
#[path = "swarm/failures.rs"]
mod failures;
#[path = "swarm/marks.rs"]
mod marks;
#[path = "swarm/operations.rs"]
mod operations;
#[path = "swarm/options.rs"]
mod options;
#[path = "swarm/order.rs"]
mod order;
#[path = "swarm/plans.rs"]
mod plans;
#[path = "swarm/poll.rs"]
mod poll;
#[path = "swarm/poll_patterns.rs"]
mod poll_patterns;
#[path = "swarm/ports.rs"]
mod ports;
#[path = "swarm/prune.rs"]
mod prune;
#[path = "swarm/put_on_hold.rs"]
mod put_on_hold;
#[path = "swarm/reach.rs"]
mod reach;
#[path = "swarm/shown.rs"]
mod shown;
#[path = "swarm/stacks.rs"]
mod stacks;
#[path = "swarm/stacks_by_text.rs"]
mod stacks_by_text;
#[path = "swarm/stacks_by_text_ends.rs"]
mod stacks_by_text_ends;
#[path = "swarm/stacks_by_text_told.rs"]
mod stacks_by_text_told;
#[path = "swarm/stacks_left.rs"]
mod stacks_left;
#[path = "swarm/stacks_removed.rs"]
mod stacks_removed;
#[path = "swarm/stopped.rs"]
mod stopped;
#[path = "swarm/text.rs"]
mod text;
#[path = "swarm/transports.rs"]
mod transports;
#[path = "swarm/twins.rs"]
mod twins;
#[path = "swarm/updates.rs"]
mod updates;
#[path = "swarm/waiting.rs"]
mod waiting;
#[path = "swarm/ways_back.rs"]
mod ways_back;
#[path = "swarm/wiped.rs"]
mod wiped;
