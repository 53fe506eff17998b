//! What the systems and registries of a configuration say when they are asked before the first deploy. Nothing is changed.

mod registries;

use std::{fmt::Display, time::Duration};

use proto::{TargetName, ask::TargetNow};

use crate::{
    Settings, WorkerError,
    fleet::Fleet,
    settings::{SystemKind, TargetKind, TargetSettings},
    target::{
        Target, TargetError,
        kubernetes::{Kubernetes, KubernetesWorkload},
        rancher::RancherWorkload,
        swarm::{Discover, Registries, Swarm, SwarmSettings},
    },
    verdict::chain,
};

/// How long one system, or one target, may take to answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// What one system, or one registry, said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// Its name in the configuration.
    pub name: String,
    /// What is there, line by line.
    pub found: Vec<String>,
    /// What is missing or will not work, line by line.
    pub missing: Vec<String>,
}

/// Asks the registries with a key of their own and, where somebody looks for new tags, those in which declared targets
/// follow something.
pub async fn connect_registries(settings: &Settings) -> Vec<Connected> {
    registries::ask(settings).await
}

/// Asks every system, and each of its targets.
///
/// # Errors
/// When the settings of a system cannot work.
pub async fn connect(settings: &Settings) -> Result<Vec<Connected>, WorkerError> {
    let fleet = Fleet::new(settings)?;
    let mut all = Vec::new();
    for (name, system) in &settings.systems {
        let mut told = Connected { name: name.clone(), found: Vec::new(), missing: Vec::new() };
        let targets = settings.targets.iter().filter(|target| target.system == *name);
        match &system.kind {
            SystemKind::Portainer(_) => {
                // Those that are one Portainer share its login here as well: it bans whoever logs in too often.
                let Some(portainer) = fleet.portainer(name) else { continue };
                let of = |target: &'_ TargetSettings| stack_of(&target.kind).map(str::to_owned);
                let stacks: Vec<_> = targets.filter_map(|target| Some((target, of(target)?))).collect();
                let stacks: Vec<_> =
                    stacks.iter().map(|(target, stack)| (&target.name, &**stack, &*target.follows)).collect();
                match tokio::time::timeout(ANSWERED_WITHIN, portainer.connect(&stacks)).await {
                    Ok(asked) => (told.found, told.missing) = (asked.found, asked.missing),
                    Err(_) => told.missing.push(no_answer(name)),
                }
            }
            SystemKind::Rancher(_) => {
                let Some((_, rancher)) = fleet.ranchers().find(|(known, _)| *known == name) else { continue };
                let workloads: Vec<_> = targets
                    .filter_map(|target| Some((&target.name, behind_rancher(&target.kind)?)))
                    .map(|(name, (workload, container))| {
                        (name, workload, rancher.workload(workload, container))
                    })
                    .collect();
                match tokio::time::timeout(ANSWERED_WITHIN, rancher.connect(&workloads)).await {
                    Ok(asked) => (told.found, told.missing) = (asked.found, asked.missing),
                    Err(_) => told.missing.push(no_answer(name)),
                }
            }
            SystemKind::Kubernetes(kubernetes) => {
                let cluster = Kubernetes::new(name, kubernetes).map_err(|source| WorkerError::System {
                    system: name.clone(),
                    source: Box::new(source),
                })?;
                let workloads: Vec<(&TargetName, KubernetesWorkload)> = targets
                    .filter_map(|target| Some((&target.name, workload_of(&target.kind, &cluster)?)))
                    .collect();
                match tokio::time::timeout(ANSWERED_WITHIN, cluster.connect(kubernetes, &workloads)).await {
                    Ok(asked) => (told.found, told.missing) = (asked.found, asked.missing),
                    Err(_) => told.missing.push(no_answer(name)),
                }
            }
            SystemKind::Swarm(swarm) => {
                match look_through(name, swarm).await {
                    Ok(line) => told.found.push(line),
                    Err(line) => told.missing.push(line),
                }
                // What it says of each target would be the same.
                if told.missing.is_empty() {
                    look_at_each(&fleet, targets, &mut told).await;
                }
            }
            SystemKind::Rehearsal {} => {
                told.found.push("a rehearsal: there is no system to reach".to_owned());
                look_at_each(&fleet, targets, &mut told).await;
            }
        }
        all.push(told);
    }
    look_at_suspects(&fleet, &mut all).await;
    Ok(all)
}

/// Adds which targets are one thing, since their systems are one swarm. Of those that do not answer it was told above.
async fn look_at_suspects(fleet: &Fleet, all: &mut [Connected]) {
    for pair in fleet.suspects() {
        let told = all.iter_mut().find(|told| told.name == pair.system());
        if let (Some(told), Ok(Ok(true))) =
            (told, tokio::time::timeout(ANSWERED_WITHIN, pair.are_one()).await)
        {
            told.missing.push(pair.fault_with_hint());
        }
    }
}

fn stack_of(kind: &TargetKind) -> Option<&str> {
    match kind {
        TargetKind::PortainerStack { stack, .. } => Some(stack),
        TargetKind::SwarmService { .. }
        | TargetKind::ServiceOfStack { .. }
        | TargetKind::SwarmStack { .. }
        | TargetKind::RancherWorkload { .. }
        | TargetKind::Workload { .. }
        | TargetKind::Rehearsal(_) => None,
    }
}

fn workload_of(kind: &TargetKind, cluster: &Kubernetes) -> Option<KubernetesWorkload> {
    match kind {
        TargetKind::Workload { place, container, .. } => Some(cluster.workload(place, container.as_deref())),
        TargetKind::SwarmService { .. }
        | TargetKind::ServiceOfStack { .. }
        | TargetKind::SwarmStack { .. }
        | TargetKind::PortainerStack { .. }
        | TargetKind::RancherWorkload { .. }
        | TargetKind::Rehearsal(_) => None,
    }
}

fn behind_rancher(kind: &TargetKind) -> Option<(&RancherWorkload, Option<&str>)> {
    match kind {
        TargetKind::RancherWorkload { workload, container, .. } => Some((workload, container.as_deref())),
        TargetKind::SwarmService { .. }
        | TargetKind::ServiceOfStack { .. }
        | TargetKind::SwarmStack { .. }
        | TargetKind::PortainerStack { .. }
        | TargetKind::Workload { .. }
        | TargetKind::Rehearsal(_) => None,
    }
}

/// Whether a swarm answers, and what is found there by labels.
async fn look_through(name: &str, settings: &SwarmSettings) -> Result<String, String> {
    let swarm = Swarm::new(name, settings, Registries::default()).map_err(|error| chain(&error))?;
    let labelled = match tokio::time::timeout(ANSWERED_WITHIN, swarm.labelled()).await {
        Ok(labelled) => labelled.map_err(|error| chain(&error))?,
        Err(_) => return Err(no_answer(name)),
    };
    let mistakes = labelled.iter().filter(|one| one.described.is_err()).count();
    let text = match settings.discover {
        None => "a manager of a swarm answers".to_owned(),
        Some(Discover::Labels) => {
            let found = labelled.len() - mistakes;
            let plural = if found == 1 { "service is a target" } else { "services are targets" };
            format!("a manager of a swarm answers; {found} {plural} by their labels")
        }
    };
    match mistakes {
        0 => Ok(text),
        mistakes => Ok(format!("{text}; {mistakes} with a mistake in them, `longshore targets` tells which")),
    }
}

async fn look_at_each(fleet: &Fleet, targets: impl Iterator<Item = &TargetSettings>, told: &mut Connected) {
    for target in targets {
        let Some(known) = fleet.target(&target.name) else { continue };
        let is_text = matches!(target.kind, TargetKind::SwarmStack { .. });
        match look(&target.name, &*known, is_text).await {
            Ok(line) => told.found.push(line),
            Err(line) => told.missing.push(line),
        }
    }
}

/// `is_text`: it may be brought by a compose file that is still to come.
async fn look(name: &TargetName, target: &dyn Target, is_text: bool) -> Result<String, String> {
    match tokio::time::timeout(ANSWERED_WITHIN, target.look()).await {
        Ok(Ok(now)) => Ok(told(name, &now)),
        Ok(Err(TargetError::NotFound { .. })) if is_text => Ok(format!(
            "target `{name}`: not deployed yet, as `longshore stack deploy {name} --file FILE` does"
        )),
        Ok(Err(error)) => Err(format!("target `{name}`: {}", chain(&error))),
        Err(_) => Err(no_answer(name)),
    }
}

fn told(name: &TargetName, now: &TargetNow) -> String {
    let images: Vec<String> = now.images.iter().map(proto::ImageRef::familiar).collect();
    let tasks = now.tasks.as_ref().map(|tasks| format!(", {} of {} tasks run", tasks.running, tasks.wanted));
    let images =
        if images.is_empty() { "nothing is deployed there yet".to_owned() } else { images.join(", ") };
    format!("target `{name}`: {images}{}", tasks.unwrap_or_default())
}

fn no_answer(of: impl Display) -> String {
    format!("`{of}` does not answer within {} s", ANSWERED_WITHIN.as_secs())
}
