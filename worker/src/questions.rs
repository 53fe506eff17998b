//! The questions put to a pool: what is asked about a target is looked up there and answered.
//!
//! They have a task of their own beside the jobs, and a bound of their own: a question waits for no rollout, and a
//! thousand of them keep no job from its turn.

mod on_hold;

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use proto::{
    Operation, PoolName, Reason, TargetName,
    ask::{Answer, PortainerStackNumber, Question},
    reason,
};
use queue::Questions;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    execute::Executor,
    fleet::PortainerTargets,
    put_on_hold::{WOULD_WAIT, brings_an_image},
    target::{OnHold, TargetError, portainer::PortainerUrl},
    verdict::{Verdict, chain, verdict, without_address},
};

/// Most questions looked into at the same time, for each pool; more wait in the queue.
const MOST_AT_ONCE: usize = 8;

/// How long looking at a target may take: whoever asks waits little longer.
const LOOK_WITHIN: Duration = Duration::from_secs(4);

/// The same of planning, which may have to ask a registry.
const PLAN_WITHIN: Duration = Duration::from_secs(15);

/// Pause before the questions are listened to again after that failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Answers the questions put to `pool`, until it is dropped.
pub(crate) async fn answer(executors: watch::Receiver<Arc<Executor>>, pool: PoolName) {
    let places = Arc::new(Semaphore::new(MOST_AT_ONCE));
    // Those that are looked into end with this task.
    let mut answering = JoinSet::new();
    loop {
        let queue = Arc::clone(&executors.borrow().queue);
        match queue.questions(&pool).await {
            Ok(mut questions) => {
                listen((&executors, &pool), &mut *questions, &places, &mut answering).await;
            }
            Err(error) => tracing::debug!(%pool, error = chain(&error), "cannot listen to questions"),
        }
        sleep(PAUSE_AFTER_FAILURE).await;
    }
}

/// Takes questions as long as there is somebody to take them from.
async fn listen(
    (executors, pool): (&watch::Receiver<Arc<Executor>>, &PoolName),
    questions: &mut dyn Questions,
    places: &Arc<Semaphore>,
    answering: &mut JoinSet<()>,
) {
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(places).acquire_owned().await {
        let question = match questions.next().await {
            Ok(question) => question,
            Err(error) => {
                return tracing::debug!(error = chain(&error), "questions were cut off, listening again");
            }
        };
        while answering.try_join_next().is_some() {}
        let (executor, pool) = (Arc::clone(&executors.borrow()), pool.clone());
        answering.spawn(async move {
            let answer = executor.answer_to(&pool, question.body()).await;
            question.answer(answer.encode().into()).await;
            drop(place);
        });
    }
}

impl Executor {
    async fn answer_to(&self, pool: &PoolName, question: &[u8]) -> Answer {
        match Question::decode(question) {
            Ok(Question::Target { target }) => self.look_at(&target).await,
            Ok(Question::Plan { target, operation }) => self.plan(&target, &operation).await,
            Ok(Question::PortainerListing { target }) => self.list_stacks(pool, target.as_ref()).await,
            Ok(Question::PortainerStacks { url, stacks }) => self.stacks_at(pool, &url, &stacks).await,
            Err(error) => {
                tracing::debug!(error = chain(&error), "a question of a newer version");
                Answer::UnknownQuestion
            }
        }
    }

    async fn look_at(&self, name: &TargetName) -> Answer {
        let Some(target) = self.fleet.target(name) else { return Answer::UnknownTarget };
        answer_within(LOOK_WITHIN, name, async {
            let now = on_hold::added_to(target.look().await?, &self.known_on_hold(name));
            Ok(Answer::Target(Box::new(now)))
        })
        .await
    }

    async fn plan(&self, name: &TargetName, operation: &Operation) -> Answer {
        let Some(target) = self.fleet.target(name) else { return Answer::UnknownTarget };
        if let Err(why) = self.fleet.gives(name, operation) {
            return Answer::Failed { reason: Reason::new(reason::REFUSED, why) };
        }
        answer_within(PLAN_WITHIN, name, async {
            let known = self.known_on_hold(name);
            let mut plan = on_hold::noted_in(target.plan(operation).await?, operation, &known);
            let is_told = plan.notes.iter().any(|note| note.ends_with(WOULD_WAIT));
            if brings_an_image(operation) && !is_told && known.target.is_some() {
                plan.notes.push(WOULD_WAIT.to_owned());
            }
            Ok(Answer::Plan(plan))
        })
        .await
    }

    /// What the history knows to be on hold on a target.
    pub(crate) fn known_on_hold(&self, name: &TargetName) -> OnHold {
        OnHold { target: self.index.target_on_hold(name), images: self.index.on_hold(name) }
    }

    /// Every stack of every Portainer of the pool, or the one that is a target: where another Portainer does not answer,
    /// that one is not kept back.
    async fn list_stacks(&self, pool: &PoolName, only: Option<&TargetName>) -> Answer {
        let (mut all, mut missing) = (Vec::new(), Vec::new());
        let is_asked = |here: &&PortainerTargets| {
            only.is_none_or(|only| here.stacks.iter().any(|(name, _)| name == only))
        };
        let asked = self.fleet.portainers(pool).filter(is_asked).map(|here| async move {
            let targets: Vec<_> = here.stacks.iter().map(|(name, stack)| (name, stack)).collect();
            (here, timeout(PLAN_WITHIN, here.portainer.listing(&targets, only)).await)
        });
        for (here, told) in join_all(asked).await {
            match told {
                Ok(Ok(stacks)) => all.extend(stacks),
                Ok(Err(error)) => missing.push(error.to_string()),
                Err(_) => missing.push(format!("{} did not answer in time", here.portainer.system())),
            }
        }
        for stack in &mut all {
            for value in stack.env.values_mut() {
                *value = self.redaction.text(value);
            }
        }
        Answer::PortainerListing { stacks: all, missing }
    }

    /// Which targets of the pool are these stacks of the Portainer at that address?
    async fn stacks_at(&self, pool: &PoolName, url: &str, sought: &[PortainerStackNumber]) -> Answer {
        let mut found = vec![None; sought.len()];
        // What is no address is none of ours.
        let Ok(url) = url.parse::<PortainerUrl>() else {
            return Answer::PortainerStacks { known: false, targets: found };
        };
        let mut known = false;
        for here in self.fleet.portainers(pool).filter(|here| here.portainer.is_at(&url)) {
            known = true;
            let stacks: Vec<_> = here.stacks.iter().map(|(name, stack)| (name, stack)).collect();
            let asked = async {
                let targets = here.portainer.which_are(sought, &stacks).await?;
                Ok(Answer::PortainerStacks { known, targets })
            };
            match answer_within(PLAN_WITHIN, &"the stacks of a Portainer", asked).await {
                Answer::PortainerStacks { targets, .. } => {
                    for (one, told) in found.iter_mut().zip(targets) {
                        *one = one.take().or(told);
                    }
                }
                other @ (Answer::Target(_)
                | Answer::Plan(_)
                | Answer::PortainerListing { .. }
                | Answer::UnknownTarget
                | Answer::Failed { .. }
                | Answer::UnknownQuestion) => return other,
            }
        }
        Answer::PortainerStacks { known, targets: found }
    }
}

async fn answer_within(
    within: Duration,
    name: &(dyn std::fmt::Display + Sync),
    looking: impl Future<Output = Result<Answer, TargetError>>,
) -> Answer {
    match timeout(within, looking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::info!(target = %name, error = chain(&error), "could not be looked at");
            // The causes below name addresses.
            Answer::Failed {
                reason: Reason { code: code(&verdict(&error)), text: without_address(&error), hint: None },
            }
        }
        Err(_) => {
            let text = format!("the system did not answer within {} s", within.as_secs());
            Answer::Failed { reason: Reason::new(reason::UNAVAILABLE, text) }
        }
    }
}

/// The word for machines; what conflicts with a write does not with a look.
fn code(verdict: &Verdict) -> std::borrow::Cow<'static, str> {
    match verdict {
        Verdict::GiveUp { reason, .. } | Verdict::Snooze { reason, .. } | Verdict::Retry { reason, .. } => {
            reason.code.clone()
        }
        Verdict::DecideAnew => reason::CHANGED_ELSEWHERE.into(),
    }
}
