//! Through a fleet: its workers find out which of their targets a place is, by the Portainer's address. They have keys
//! of their own, so that no user and no password leaves this process.

use proto::{TargetName, api::StacksSought};

use super::{Bound, PlaceEnd};
use crate::{
    ci::{CiDeploy, CiPlace},
    client::Client,
    exit::Exit,
    failure::Failure,
};

const HINT: &str = "add it to `targets` in the workers' configuration, as in `shop: {at: …, stack: …}`";

/// The target of each place; and the ends of those that are none, which keep nobody else from being deployed.
pub(super) async fn bind(client: &Client, ci: &CiDeploy) -> Result<(Vec<Bound>, Vec<PlaceEnd>), Failure> {
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
    let (mut bound, mut lost) = (Vec::new(), Vec::new());
    for place in &ci.places {
        match target_of(place) {
            Some(target) => bound.push(Bound { place: place.clone(), target }),
            None => lost.push(no_target(ci, place)),
        }
    }
    Ok((bound, lost))
}

fn url_variable(ci: &CiDeploy) -> String {
    ci.stage.variable("DEPLOY_URL")
}

fn no_target(ci: &CiDeploy, place: &CiPlace) -> PlaceEnd {
    let CiPlace { environment, stack, .. } = place;
    let what = format!(
        "the stack {stack} of the environment {environment} is no target of this fleet's workers ({HINT})"
    );
    PlaceEnd { error: Some(what), exit: Exit::Usage, ..PlaceEnd::begun(place.to_string(), None, &ci.image) }
}
