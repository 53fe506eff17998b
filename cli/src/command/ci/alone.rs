//! Without a fleet: the whole of Longshore in this process, on a directory that is thrown away. What was deployed is
//! written on the Portainer itself, so nothing is lost with it.

use std::{
    fs::{self, DirBuilder},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use config::Secret;
use proto::{TargetName, ask::PortainerStackNumber};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Asking, Bound};
use crate::{
    ci::CiDeploy,
    client::Client,
    configuration::Reading,
    directory::Directory,
    exit::Exit,
    failure::Failure,
    process::{self, Parts},
    server::{Server, url_at},
};

/// How long a deploy may take. A CI step is waited for by people.
const DEADLINE: &str = "30m";

/// How long a Portainer may stay away that was never reached: its restart, and no outage.
const FIRST_LOGIN_WITHIN: &str = "90s";

pub(super) async fn run(ci: &CiDeploy, asking: Asking) -> Result<Exit, Failure> {
    config::process::init_logging_at("error");
    let kept = ThrownAway::make()?;
    let directory = Directory::prepare(kept.path())?;
    let mut reading = Reading::of_text("the variables of the CI step", &configuration(ci).to_string())?;
    let (common, ingress, worker) = (reading.common(), reading.ingress(), reading.worker());
    let ((common, ingress), worker) = reading.finish(common.zip(ingress).zip(worker))?;
    let queue = process::open_queue(&common.queue, directory.path()).await?;
    process::open_pools(&common.queue, &queue, worker.pools()).await?;
    let listener = process::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let address = listener.local_addr().map_err(|error| Failure::Process { text: error.to_string() })?;
    let token = directory.admin_token()?;
    let ingress = ingress.with_admin_token(token).with_data(directory.path());
    let worker = worker.with_data(directory.path());

    let mut parts = Parts::new();
    parts.start(ingress::run(ingress, Arc::clone(&queue), None, listener, parts.stop()));
    let stop = parts.stop_with_grace(worker.grace());
    parts.start(worker::run(worker, Arc::clone(&queue), stop));
    let client = Client::new(server(address, &directory)?)?;
    let places = ci.places.iter().map(|place| {
        let target = target_of(place.number())?;
        Ok(Bound { place: place.clone(), target })
    });
    let places: Vec<Bound> = places.collect::<Result<_, Failure>>()?;
    parts.until(queue, asking.bring(&client, ci, (places, Vec::new()))).await?
}

/// Who logs in, as the configuration takes it from the environment: neither name nor password stands in a text.
fn configuration(ci: &CiDeploy) -> Value {
    let (mut systems, mut targets) = (Map::new(), Map::new());
    let stacks = ci.stacks();
    let first = stacks.first().map(|number| number.environment);
    let is_one = stacks.iter().all(|number| Some(number.environment) == first);
    for number in stacks {
        // It is named in what people read.
        let system =
            if is_one { "portainer".to_owned() } else { format!("portainer-{}", number.environment) };
        let user = ci.stage.variable("DEPLOY_USER");
        let password = ci.stage.variable("DEPLOY_PWD");
        let target = json!({"at": system, "stack": format!("#{}", number.stack), "deadline": DEADLINE});
        let mut meant = json!({
            "kind": "portainer",
            "url": ci.portainer.as_str(),
            "username": format!("${{{user}}}"),
            "password": format!("${{{password}}}"),
            "environment": format!("#{}", number.environment),
            "login_within": FIRST_LOGIN_WITHIN,
        });
        if let Some(pem) = ci.authorities.as_deref().filter(|_| ci.portainer.is_https()) {
            // Every `$` would be taken for the beginning of a variable; certificates have none, words around them may.
            meant["ca"] = json!(pem.replace('$', ""));
        }
        systems.insert(system, meant);
        targets.insert(target_name(number), target);
    }
    let password = format!("${{{}}}", ci.stage.variable("DEPLOY_PWD"));
    // What is named here is hidden from all that is told, whoever repeats it.
    let secrets = json!({"portainer": {"value": password}});
    json!({"version": 1, "queue": "embedded", "systems": systems, "targets": targets, "secrets": secrets})
}

fn target_name(number: PortainerStackNumber) -> String {
    format!("environment-{}-stack-{}", number.environment, number.stack)
}

fn target_of(number: PortainerStackNumber) -> Result<TargetName, Failure> {
    target_name(number).parse().map_err(|error| Failure::Process { text: format!("{error}") })
}

fn server(address: SocketAddr, directory: &Directory) -> Result<Server, Failure> {
    let token = fs::read_to_string(directory.token_path())
        .map_err(|error| Failure::Process { text: format!("cannot read the token back: {error}") })?;
    Ok(Server {
        url: url_at(address),
        token: Some(Secret::new(token.trim())),
        login: None,
        token_place: "this process".to_owned(),
        reach: String::new(),
    })
}

/// A directory for this user alone, removed when it is dropped.
struct ThrownAway(PathBuf);

impl ThrownAway {
    fn make() -> Result<ThrownAway, Failure> {
        let path = std::env::temp_dir().join(format!("longshore-ci-{}", Uuid::now_v7()));
        // Not one that is there already: it may be somebody else's.
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            let text = format!("cannot make the directory `{}`: {error}", path.display());
            Failure::setup(text, "set TMPDIR to a directory that this user may write to")
        })?;
        Ok(ThrownAway(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ThrownAway {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove `{}`: {error}", self.0.display());
        }
    }
}
