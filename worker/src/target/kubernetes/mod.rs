//! Kubernetes: a target is one workload, changed by a patch of exactly the image of one of its containers, on the
//! condition that nobody else changed it, and watched until its pods truly run.

pub(in crate::target) mod answer;
pub(in crate::target) mod client;
