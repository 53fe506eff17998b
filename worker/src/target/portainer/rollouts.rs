//! Waiting for the rollouts of a stack. A write updates every service of it, and one that is updated in the midst of a
//! rollout is not watched over by the engine any more: what it should do when tasks fail is not done.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::{PortainerStack, live::Live, objects::Stack, patience::LOOK_EVERY};
use crate::{
    aside::say_aside,
    schedule::left_until,
    target::{TargetError, Wanted, swarm::SeenService},
};

/// How long nothing may move in a rollout, beside the pauses that the service itself asks for, before no end of it is
/// expected any more.
const STILL_FOR: Duration = Duration::from_secs(120);
/// How long one attempt waits. Then the job makes room, and whether it is still wished for is looked up.
const WAITS_FOR: Duration = Duration::from_secs(600);

/// How long somebody else's rollouts keep a job from going back whose own time is over.
const WAITS_AT_LAST: Duration = Duration::from_secs(30);

/// How long a rollout in which nothing moved is believed not to move: long enough to decide anew.
const STAYS_STILL_FOR: Duration = Duration::from_secs(60);

/// Rollouts of which no good end is expected, by service. There is nothing for the engine to watch over in one of these.
#[derive(Default)]
pub(super) struct GivenUp(Mutex<HashMap<String, Hopeless>>);

/// A rollout of which no good end is expected.
struct Hopeless {
    /// Of the service in it: whatever happens to a service gives it another one.
    version: u64,
    /// Until when; none where it is known not to hold.
    until: Option<Instant>,
}

impl GivenUp {
    fn note(&self, service: &SeenService, until: Option<Instant>) {
        self.locked().insert(service.id().to_owned(), Hopeless { version: service.version(), until });
    }

    /// Whether the rollout of a service is one of these.
    fn has(&self, service: &SeenService) -> bool {
        let is_it = |known: &Hopeless| {
            known.version == service.version() && known.until.is_none_or(|until| Instant::now() < until)
        };
        self.locked().get(service.id()).is_some_and(is_it)
    }

    /// What it guards is whole at every moment, also where a holder panicked.
    fn locked(&self) -> MutexGuard<'_, HashMap<String, Hopeless>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is seen of rollouts at one moment: where it stays the same, nothing moves.
#[derive(Debug, Default, PartialEq, Eq)]
struct Moment {
    lines: Vec<String>,
    /// Whether a task is on its way up: an image that is pulled shows nothing for long.
    is_at_work: bool,
}

impl PortainerStack {
    /// Notes that what is rolled out to these services did not hold: whoever writes them next does not wait for it. A task
    /// whose image hangs in its pull counts as on its way up for ever. An engine that goes back by itself is waited for.
    pub(super) async fn give_up_rollouts(&self, stack: &Stack, is_ours: impl Fn(&str) -> bool) {
        // Where they cannot be read now, they are waited out.
        let Ok(live) = self.live(stack).await else { return };
        let is_ours = |service: &&SeenService| {
            let name = service.name().strip_prefix(&stack.name).and_then(|rest| rest.strip_prefix('_'));
            name.is_some_and(&is_ours) && !service.went_back()
        };
        live.rolling_services()
            .into_iter()
            .filter(is_ours)
            .for_each(|it| self.portainer.given_up.note(it, None));
    }

    /// The same wait before a way back. Once the time of the job is over, it is short.
    ///
    /// # Errors
    /// Those of [`PortainerStack::wait_out_rollouts`], and [`TargetError::Refused`] where others take longer than that.
    pub(super) async fn wait_to_go_back(&self, wanted: &Wanted, stack: &Stack) -> Result<(), TargetError> {
        let waits = self.wait_out_rollouts(stack);
        if !left_until(wanted.job.deadline).is_zero() {
            return waits.await;
        }
        let others = "other services of the stack are in a rollout, and the job's time is over";
        timeout(WAITS_AT_LAST, waits)
            .await
            .unwrap_or_else(|_| Err(self.portainer.refused("put the old text back", others)))
    }

    /// Makes sure that no service of the stack is in a rollout, or only in one that nothing moves in any more.
    ///
    /// # Errors
    /// [`TargetError::Conflict`] after any wait: what was decided before it is to be decided anew. [`TargetError::Busy`]
    /// where it goes on for long.
    pub(super) async fn wait_out_rollouts(&self, stack: &Stack) -> Result<(), TargetError> {
        let begun = Instant::now();
        let (mut last, mut moved_at) = (Moment::default(), begun);
        let mut has_waited = false;
        loop {
            let live = self.live(stack).await?;
            let mut rolling = live.rolling_services();
            rolling.retain(|service| !self.portainer.given_up.has(service));
            if rolling.is_empty() {
                return if has_waited { Err(TargetError::Conflict) } else { Ok(()) };
            }
            let pause = rolling.iter().map(|service| service.pauses_for()).max().unwrap_or_default();
            let now = self.moment(stack, &rolling).await?;
            if now != last || now.is_at_work {
                (last, moved_at) = (now, Instant::now());
            }
            if moved_at.elapsed() >= STILL_FOR + pause {
                let until = Some(Instant::now() + STAYS_STILL_FOR);
                rolling.iter().for_each(|service| self.portainer.given_up.note(service, until));
                // Minutes went by: somebody may have been heard of meanwhile. It is not waited for again then.
                return Err(TargetError::Conflict);
            }
            if begun.elapsed() >= WAITS_FOR {
                return Err(TargetError::Busy { system: self.portainer.client.system().to_owned() });
            }
            if !has_waited {
                let names: Vec<String> = rolling.iter().map(|it| format!("`{}`", it.name())).collect();
                say_aside(format!("waits for a rollout that is under way: {}", names.join(", ")));
            }
            has_waited = true;
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits them out, and reads anew what `live` told in the midst of one: what has just come up counts as what ran well.
    pub(super) async fn live_after_rollouts(
        &self,
        stack: &Stack,
        live: &Live,
    ) -> Result<Option<Live>, TargetError> {
        self.wait_out_rollouts(stack).await?;
        match live.rolling_services().is_empty() {
            true => Ok(None),
            false => self.live(stack).await.map(Some),
        }
    }

    async fn moment(&self, stack: &Stack, rolling: &[&SeenService]) -> Result<Moment, TargetError> {
        let ids: Vec<&str> = rolling.iter().map(|service| service.id()).collect();
        let tasks = self.docker(stack, ("tasks", Some(json!({"service": ids})))).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = |task: &Value| format!("{} {}", text(&task["ID"]), text(&task["Status"]["State"]));
        let mut all: Vec<String> = tasks.as_array().into_iter().flatten().map(told).collect();
        all.sort();
        all.extend(rolling.iter().map(|service| format!("{} {}", service.id(), service.version())));
        let comes_up = |task: &Value| {
            matches!(task["Status"]["State"].as_str(), Some("preparing" | "starting"))
                && matches!(task["DesiredState"].as_str(), Some("running" | "ready"))
        };
        let is_at_work = tasks.as_array().into_iter().flatten().any(comes_up);
        Ok(Moment { lines: all, is_at_work })
    }
}

impl Live {
    fn rolling_services(&self) -> Vec<&SeenService> {
        match self {
            Live::Swarm(services) => services.iter().filter(|service| service.is_rolling()).collect(),
            Live::Compose(_) => Vec::new(),
        }
    }
}
