//! A deployment, by the contract of all targets: on the fake, or on the cluster that `LONGSHORE_TEST_KUBE_URL` names, with
//! a bearer token in `LONGSHORE_TEST_KUBE_TOKEN`, a workload of one container that may be changed in
//! `LONGSHORE_TEST_KUBE_WORKLOAD` (`namespace/deployment/name`), and three images that its nodes can run in
//! `LONGSHORE_TEST_KUBE_IMAGES` (`repo:one,repo:two,repo:three`). The last one cannot be had with `-missing` behind its
//! tag, and does not come up with `-bad`; the workload's `progressDeadlineSeconds` say how long that takes.

use std::env::var;

use proto::Operation;
use serde_json::json;
use tokio::sync::MutexGuard;

use crate::{
    contract::{Berth, Kind, all_succeed, alone, keeps_the_contract, set},
    fake_http::{FakeServer, Mishap},
    fake_kubernetes::{BAD, CRASHING},
    forward::{forward, writes},
    lab::Lab,
    stage::{Stage, wish},
};

enum Deployment {
    Fake(Lab),
    Real { server: FakeServer, _alone: MutexGuard<'static, ()> },
}

fn named(name: &str) -> String {
    var(format!("LONGSHORE_TEST_KUBE_{name}")).unwrap_or_else(|_| panic!("no {name}"))
}

impl Deployment {
    async fn lay() -> Deployment {
        let Ok(url) = var("LONGSHORE_TEST_KUBE_URL") else {
            let impatient = |_: &Lab, object: &mut serde_json::Value| {
                object["spec"]["progressDeadlineSeconds"] = json!(1)
            };
            return Deployment::Fake(Lab::with("deployments", impatient));
        };
        let real = Deployment::Real { server: forward(&url), _alone: alone().await };
        let stage = Stage::new(&real.configuration("")).await;
        all_succeed(&stage, [wish(Operation::Start), set(&real, Kind::Good(1))]).await;
        real
    }

    fn server(&self) -> &FakeServer {
        match self {
            Deployment::Fake(lab) => lab.kubernetes.server(),
            Deployment::Real { server, .. } => server,
        }
    }
}

impl Berth for Deployment {
    fn configuration(&self, more: &str) -> String {
        match self {
            Deployment::Fake(lab) => lab.configuration(more),
            Deployment::Real { server, .. } => format!(
                "systems:\n  docks: {{kind: kubernetes, url: '{}', token: '{}'}}\n\
                 targets:\n  demo: {{at: docks, workload: '{}', stable: 2s{more}}}\n",
                server.url(),
                named("TOKEN"),
                named("WORKLOAD"),
            ),
        }
    }

    fn image(&self, kind: Kind) -> String {
        match (self, kind) {
            (Deployment::Fake(lab), Kind::Good(n)) => lab.image(&n.to_string()),
            // A registry that does not tell may tell the nodes: their pods find out.
            (Deployment::Fake(lab), Kind::Nowhere) => lab.image(&format!("4{BAD}")),
            (Deployment::Fake(lab), Kind::Broken) => lab.image(&format!("4{CRASHING}")),
            (Deployment::Real { .. }, Kind::Good(n)) => {
                named("IMAGES").split(',').nth(usize::from(n) - 1).expect("three images").to_owned()
            }
            (Deployment::Real { .. }, Kind::Nowhere) => format!("{}-missing", self.image(Kind::Good(3))),
            (Deployment::Real { .. }, Kind::Broken) => format!("{}{BAD}", self.image(Kind::Good(3))),
        }
    }

    fn nowhere(&self) -> &'static str {
        match self {
            Deployment::Fake(_) => "ImagePullBackOff",
            Deployment::Real { .. } => "ImagePull",
        }
    }

    fn stands(&self) -> Option<String> {
        match self {
            Deployment::Fake(lab) => Some(lab.stands()),
            Deployment::Real { .. } => None,
        }
    }

    fn writes(&self) -> usize {
        writes(&self.server().requests())
    }

    fn cut_next_write(&self) {
        self.server().befall_next("PATCH ", Mishap::CutAfter);
    }
}

keeps_the_contract!(Deployment::lay());
