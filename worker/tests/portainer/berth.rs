//! Stacks, by the contract of all targets: on fakes of both families, and on the Portainer that
//! `LONGSHORE_TEST_PORTAINER_URL` names, see [`crate::real`].

use std::env::var;

use proto::{Operation, StackText};
use tokio::sync::MutexGuard;

use crate::{
    contract::{Berth, Kind, all_succeed, alone, keeps_the_contract},
    fake_http::{self, FakeServer},
    fake_portainer::{BAD, COMPOSE, Family, MISSING, Mishap, SWARM},
    forward::{forward, writes},
    lab::{FILE, Lab},
    real::named,
    stage::{Stage, wish},
};

enum Stack {
    Fake(Lab),
    Real { server: FakeServer, environment: String, _alone: MutexGuard<'static, ()> },
}

impl Stack {
    /// `environment`: the variable that has the name of the real one, where there is one of its kind.
    async fn lay(family: Family, number: u64, environment: &str) -> Stack {
        let real = var("LONGSHORE_TEST_PORTAINER_URL")
            .ok()
            .zip(var(format!("LONGSHORE_TEST_PORTAINER_{environment}")).ok());
        let Some((url, environment)) = real else { return Stack::Fake(Lab::of(family, number, FILE)) };
        let real = Stack::Real { server: forward(&url), environment, _alone: alone().await };
        let stage = Stage::new(&real.configuration("")).await;
        let file =
            format!("# a test\nservices:\n  web:\n    image: {}   # here\n", real.image(Kind::Good(1)));
        let text = StackText { adopt: true, ..StackText::of(file) };
        all_succeed(
            &stage,
            [wish(Operation::RemoveStack { force: false }), wish(Operation::DeployStack(text))],
        )
        .await;
        real
    }

    fn requests(&self) -> Vec<String> {
        match self {
            Stack::Fake(lab) => lab.portainer.requests(),
            Stack::Real { server, .. } => server.requests(),
        }
    }
}

impl Berth for Stack {
    fn configuration(&self, more: &str) -> String {
        match self {
            Stack::Fake(lab) => lab.configuration(more),
            Stack::Real { server, environment, .. } => format!(
                "systems:\n  docks: {{kind: portainer, url: '{}', api_key: '{}', environment: '{environment}'}}\n\
                 targets:\n  demo: {{at: docks, stack: 'longshore-contract-{environment}', stable: 2s{more}}}\n",
                server.url(),
                named("API_KEY"),
            ),
        }
    }

    fn image(&self, kind: Kind) -> String {
        let good = |n: u8| match self {
            Stack::Fake(_) => format!("acme/web:{n}"),
            Stack::Real { .. } => {
                named("IMAGES").split(',').nth(usize::from(n) - 1).expect("three images").to_owned()
            }
        };
        match kind {
            Kind::Good(n) => good(n),
            Kind::Nowhere => format!("{}{MISSING}", good(2)),
            Kind::Broken => format!("{}{BAD}", good(2)),
        }
    }

    fn nowhere(&self) -> &'static str {
        "the registry has no"
    }

    fn stands(&self) -> Option<String> {
        match self {
            Stack::Fake(lab) => Some(lab.image("web")),
            Stack::Real { .. } => None,
        }
    }

    fn writes(&self) -> usize {
        writes(&self.requests())
    }

    fn cut_next_write(&self) {
        const WRITE: &str = "PUT /api/stacks/";
        match self {
            Stack::Fake(lab) => lab.portainer.befall_next(WRITE, Mishap::CutAfter),
            Stack::Real { server, .. } => server.befall_next(WRITE, fake_http::Mishap::CutAfter),
        }
    }
}

mod swarm {
    use super::{Family, SWARM, Stack};
    super::keeps_the_contract!(Stack::lay(Family::Synchronous, SWARM, "ENVIRONMENT"));
}

mod compose {
    use super::{COMPOSE, Family, Stack};
    super::keeps_the_contract!(Stack::lay(Family::Synchronous, COMPOSE, "COMPOSE_ENVIRONMENT"));
}

mod asynchronous {
    use super::{Family, SWARM, Stack};
    super::keeps_the_contract!(Stack::lay(Family::Asynchronous, SWARM, "ASYNCHRONOUS_ENVIRONMENT"));
}
