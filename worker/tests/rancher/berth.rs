//! A deployment behind a Rancher, by the contract of all targets, on both ways to it: on the fake, or on the Rancher that
//! `LONGSHORE_TEST_RANCHER_URL` names, with `LONGSHORE_TEST_RANCHER_TOKEN`, an existing deployment in
//! `LONGSHORE_TEST_RANCHER_WORKLOAD` (in any spelling but an address), and three images that its cluster can run in
//! `LONGSHORE_TEST_RANCHER_IMAGES` (`repo:one,repo:two,repo:three`). The last one cannot be had with `-missing` behind its
//! tag, and does not come up with `-bad`; the workload's `progressDeadlineSeconds` say how long that takes.

use std::env::var;

use proto::Operation;
use serde_json::json;
use tokio::sync::MutexGuard;

use crate::{
    contract::{Berth, Kind, all_succeed, alone, keeps_the_contract, set},
    fake_http::{FakeServer, Mishap},
    fake_kubernetes::{BAD, CRASHING},
    fake_rancher::{KEY, Proxy},
    forward::{forward, writes},
    lab::{Lab, image},
    stage::{Stage, wish},
};

enum Deployment {
    Fake(Lab, Proxy),
    Real { server: FakeServer, _alone: MutexGuard<'static, ()> },
}

fn named(name: &str) -> String {
    var(format!("LONGSHORE_TEST_RANCHER_{name}")).unwrap_or_else(|_| panic!("no {name}"))
}

impl Deployment {
    /// On the fake, Kubernetes' own API may be closed.
    async fn lay(proxy: Proxy) -> Deployment {
        let Ok(url) = var("LONGSHORE_TEST_RANCHER_URL") else {
            let lab = Lab::new();
            lab.cluster().change("deployments", "web", |object| {
                object["spec"]["progressDeadlineSeconds"] = json!(1);
            });
            lab.rancher.close_proxy(proxy);
            return Deployment::Fake(lab, proxy);
        };
        let real = Deployment::Real { server: forward(&url), _alone: alone().await };
        let stage = Stage::new(&real.configuration("")).await;
        all_succeed(&stage, [wish(Operation::Start), set(&real, Kind::Good(1))]).await;
        real
    }

    fn server(&self) -> &FakeServer {
        match self {
            Deployment::Fake(lab, _) => lab.rancher.server(),
            Deployment::Real { server, .. } => server,
        }
    }
}

impl Berth for Deployment {
    fn configuration(&self, more: &str) -> String {
        match self {
            Deployment::Fake(lab, _) => {
                lab.configured(&format!("token: '{KEY}'"), &format!("{}{more}", lab.short()))
            }
            Deployment::Real { server, .. } => format!(
                "systems:\n  docks: {{kind: rancher, url: '{}', token: '{}'}}\n\
                 targets:\n  demo: {{at: docks, workload: '{}', stable: 2s{more}}}\n",
                server.url(),
                named("TOKEN"),
                named("WORKLOAD"),
            ),
        }
    }

    fn image(&self, kind: Kind) -> String {
        match (self, kind) {
            (Deployment::Fake(..), Kind::Good(n)) => image(&n.to_string()),
            // Nobody asks the registry: its pods find out.
            (Deployment::Fake(..), Kind::Nowhere) => image(&format!("4{BAD}")),
            (Deployment::Fake(..), Kind::Broken) => image(&format!("4{CRASHING}")),
            (Deployment::Real { .. }, Kind::Good(n)) => {
                named("IMAGES").split(',').nth(usize::from(n) - 1).expect("three images").to_owned()
            }
            (Deployment::Real { .. }, Kind::Nowhere) => format!("{}-missing", self.image(Kind::Good(3))),
            (Deployment::Real { .. }, Kind::Broken) => format!("{}{BAD}", self.image(Kind::Good(3))),
        }
    }

    fn nowhere(&self) -> &'static str {
        match self {
            Deployment::Fake(_, Proxy::Open) => "ImagePullBackOff",
            // Its pods cannot be looked at.
            Deployment::Fake(..) => "ProgressDeadlineExceeded",
            Deployment::Real { .. } => "ImagePull",
        }
    }

    fn stands(&self) -> Option<String> {
        match self {
            Deployment::Fake(lab, _) => Some(lab.cluster().image("deployments", "web", "web")),
            Deployment::Real { .. } => None,
        }
    }

    fn writes(&self) -> usize {
        writes(&self.server().requests())
    }

    fn cut_next_write(&self) {
        let write = match self {
            Deployment::Fake(_, Proxy::Open) | Deployment::Real { .. } => "PATCH /k8s/clusters/",
            Deployment::Fake(..) => "PUT /v3/project/",
        };
        self.server().befall_next(write, Mishap::CutAfter);
    }
}

mod by_proxy {
    super::keeps_the_contract!(super::Deployment::lay(super::Proxy::Open));
}

mod by_link {
    super::keeps_the_contract!(super::Deployment::lay(super::Proxy::Forbidden));
}
