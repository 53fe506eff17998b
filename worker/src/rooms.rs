//! How many of a worker's jobs one system may take up. A Portainer takes few calls at once, so that two hundred jobs for
//! one would fill every place that the worker has, and keep those of all other systems from their turn.

use std::{collections::HashMap, sync::Arc};

use proto::{Job, Reason, TargetName, reason};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    conclusion::Conclusion,
    execute::{BUSY_PAUSE, Executor, Step},
    fleet::PortainerTargets,
    settings::Settings,
};

/// The places that the jobs of each slow system share.
#[derive(Default)]
pub(crate) struct Rooms(HashMap<TargetName, Arc<Semaphore>>);

/// Whether a job may go on.
pub(crate) enum Room {
    /// Its system takes as many as there are.
    Boundless,
    /// One of its system's places, for as long as it is held.
    Place(#[allow(dead_code, reason = "held, and never read")] OwnedSemaphorePermit),
    /// Others have all of them.
    Full,
}

impl Rooms {
    /// Half of what the worker carries out at once for each Portainer, where there is anything else to be kept from.
    pub(crate) fn new(settings: &Settings, portainers: &[PortainerTargets]) -> Rooms {
        if settings.systems.len() < 2 {
            return Rooms::default();
        }
        let places = usize::from(settings.limits.at_once).div_ceil(2);
        let mut lines: HashMap<usize, Arc<Semaphore>> = HashMap::new();
        let mut rooms = HashMap::new();
        for here in portainers {
            let line = lines.entry(here.portainer.line()).or_insert_with(|| Arc::new(Semaphore::new(places)));
            rooms.extend(here.stacks.iter().map(|(name, _)| (name.clone(), Arc::clone(line))));
        }
        Rooms(rooms)
    }

    pub(crate) fn take(&self, target: &TargetName) -> Room {
        match self.0.get(target).map(|places| Arc::clone(places).try_acquire_owned()) {
            None => Room::Boundless,
            Some(Ok(place)) => Room::Place(place),
            Some(Err(_)) => Room::Full,
        }
    }
}

impl Executor {
    /// A job whose system has its share of this worker steps back, so that those of others get their turn.
    pub(crate) fn room(&self, job: &Job) -> Step<Room> {
        match self.fleet.room(&job.target) {
            Room::Full => {
                let text = "as many jobs as may be are at work on the target's system";
                let reason = Reason::new(reason::SYSTEM_BUSY, text);
                Err(Conclusion::Again { after: BUSY_PAUSE, counted: false, reason })
            }
            room @ (Room::Boundless | Room::Place(_)) => Ok(room),
        }
    }
}
