//! A service of the run's engine, by the contract of all targets.

use serde_json::json;

use crate::{
    contract::{Berth, Kind, keeps_the_contract},
    lab::{STAYS_UP, Service},
    registry::Registry,
    wire::Wire,
};

struct Deployed {
    service: Service,
    registry: Registry,
    wire: Wire,
}

/// A registry with an image of each kind.
pub(crate) fn with_images() -> Registry {
    let registry = Registry::start();
    for tag in 1..=3 {
        registry.push(&format!("web:{tag}"), STAYS_UP);
    }
    registry.push("web:4", &["false"]);
    registry
}

/// What such a registry has of a kind.
pub(crate) fn named(registry: &Registry, kind: Kind) -> String {
    let tag = match kind {
        Kind::Good(n) => n.to_string(),
        Kind::Nowhere => "nowhere".to_owned(),
        Kind::Broken => "4".to_owned(),
    };
    format!("{}/web:{tag}", registry.host())
}

impl Deployed {
    async fn lay() -> Deployed {
        let registry = with_images();
        let image = registry.push("web:1", STAYS_UP);
        let service = Service::create(&image.to_string(), |spec| {
            spec["UpdateConfig"]["Parallelism"] = json!(0);
            spec["UpdateConfig"]["Monitor"] = json!(300_000_000);
        })
        .await;
        Deployed { service, registry, wire: Wire::lay().await }
    }
}

impl Berth for Deployed {
    fn configuration(&self, more: &str) -> String {
        format!(
            "worker: {{takeover_after: 300ms, grace: 100ms}}\n\
             systems:\n  swarm: {{kind: swarm, host: '{}'}}\n\
             targets:\n  demo: {{at: swarm, service: {}, stable: 500ms{more}}}\n",
            self.wire.host, self.service.name
        )
    }

    fn image(&self, kind: Kind) -> String {
        named(&self.registry, kind)
    }

    fn nowhere(&self) -> &'static str {
        "the registry has no"
    }

    /// The engine is a real one.
    fn stands(&self) -> Option<String> {
        None
    }

    fn writes(&self) -> usize {
        self.wire.asked(|line| line.starts_with("POST ") && line.contains("/update"))
    }

    fn cut_next_write(&self) {
        self.wire.swallow_answer_to_next_write();
    }
}

// Images that never come up are played on this engine by the truth table, with and without a way back.
keeps_the_contract!(Deployed::lay();
    an_image_is_brought_and_told_once_it_runs,
    the_same_wish_again_writes_nothing,
    an_older_wish_after_a_newer_one_writes_nothing,
    a_burst_ends_on_the_newest,
    a_service_that_is_not_there_is_refused_and_nothing_written,
    an_image_that_nobody_has_ends_failed_with_the_reason,
    a_rollback_by_wish_goes_to_what_ran_well_before,
    a_restart_and_a_redeploy_keep_the_image,
    what_is_stopped_starts_as_it_was,
    a_plan_changes_nothing,
    a_check_tells_what_is_there_and_changes_nothing,
    a_write_that_nobody_answers_is_not_written_again,
);
