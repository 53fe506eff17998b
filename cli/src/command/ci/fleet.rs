//! Through a fleet: its workers find out which of their targets a place is, by the Portainer's address. They have keys
//! of their own, so that no user and no password leaves this process.

use config::{Fault, Faults};
use proto::{TargetName, api::StacksSought};

use super::Bound;
use crate::{
    ci::{CiDeploy, CiPlace},
    client::Client,
    failure::Failure,
};

/// The target of each place.
pub(super) async fn bind(client: &Client, ci: &CiDeploy) -> Result<Vec<Bound>, Failure> {
    let stacks = ci.stacks();
    let sought = StacksSought { portainer: ci.portainer.as_str().to_owned(), stacks: stacks.clone() };
    let found = client.find(&sought).await?;
    if !found.known {
        let text = format!("no worker of this fleet has the Portainer that {} names", url_variable(ci));
        let hint = "declare it under `systems` in the workers' configuration, with that address as its `url`";
        return Err(Failure::setup(text, hint));
    }
    let target_of = |place: &CiPlace| -> Option<TargetName> {
        let at = stacks.iter().position(|stack| *stack == place.number())?;
        found.targets.get(at)?.clone()
    };
    let (mut bound, mut faults) = (Vec::new(), Faults::new());
    for place in &ci.places {
        match target_of(place) {
            Some(target) => bound.push(Bound { place: place.clone(), target }),
            None => faults.push(no_target(place)),
        }
    }
    if faults.is_empty() { Ok(bound) } else { Err(faults.into()) }
}

fn url_variable(ci: &CiDeploy) -> String {
    ci.stage.variable("DEPLOY_URL")
}

fn no_target(place: &CiPlace) -> Fault {
    let CiPlace { environment, stack, .. } = place;
    let what = format!(
        "{place}: the stack {stack} of the environment {environment} is no target of this fleet's workers"
    );
    Fault::new(what)
        .hint("add it to `targets` in the workers' configuration, as in `shop: {at: …, stack: …}`")
}
