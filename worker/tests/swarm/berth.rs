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

impl Deployed {
    async fn lay() -> Deployed {
        let registry = Registry::start();
        for tag in 1..=3 {
            registry.push(&format!("web:{tag}"), STAYS_UP);
        }
        registry.push("web:4", &["false"]);
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
        let tag = match kind {
            Kind::Good(n) => n.to_string(),
            Kind::Nowhere => "nowhere".to_owned(),
            Kind::Broken => "4".to_owned(),
        };
        format!("{}/web:{tag}", self.registry.host())
    }

    fn nowhere(&self) -> &'static str {
        "has no image"
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

keeps_the_contract!(Deployed::lay());
