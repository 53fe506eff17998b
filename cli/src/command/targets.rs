//! `longshore targets`: what can be deployed to.

use proto::api::TargetList;

use crate::{
    arguments::Reach,
    exit::Exit,
    failure::Failure,
    output::{Output, table},
};

pub(crate) async fn run(reach: Reach, output: Output) -> Result<Exit, Failure> {
    let targets = super::client(&reach)?.targets().await?;
    output.document(&targets, || told(&targets));
    Ok(Exit::Succeeded)
}

fn told(list: &TargetList) -> String {
    if list.targets.is_empty() {
        return "no targets".to_owned();
    }
    let rows = list.targets.iter().map(|target| {
        let follows = target.follows.iter().map(ToString::to_string).collect::<Vec<_>>();
        [target.target.to_string(), target.system.clone(), follows.join(", ")]
    });
    table(["TARGET", "AT", "FOLLOWS"], rows)
}
