//! Jobs that were there when workers crashed are carried out alone, until it is known which one does it.
//!
//! The broker's own counts say nothing of guilt: with sixty jobs in flight, one that kills its worker takes the
//! other fifty-nine over any limit with it.

use std::{sync::Arc, time::Duration};

use proto::{Job, Reason, State, reason};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::{
    conclusion::{Conclusion, Telling},
    execute::Step,
    index::Crashes,
};

/// Crashes after which a job is carried out alone, and crashes alone after which it is given up.
const MOST_CRASHES: usize = 2;

/// How long a job that is to be carried out alone waits until nothing else is under way, and then, so that others get
/// their turn, stays away.
const NEXT_TURN: Duration = Duration::from_secs(5);

/// The worker's one place for a job that is carried out alone.
#[derive(Debug)]
pub(crate) struct Quarantine {
    jobs: Arc<RwLock<()>>,
    turn: Arc<Mutex<()>>,
    patience: Duration,
}

/// What a job holds while it is carried out.
#[derive(Debug)]
pub(crate) enum Company {
    /// Others may be under way.
    Shared { _jobs: OwnedRwLockReadGuard<()> },
    /// Nothing else is.
    Alone { _jobs: OwnedRwLockWriteGuard<()>, _turn: OwnedMutexGuard<()> },
}

impl Company {
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self, Company::Alone { .. })
    }
}

impl Default for Quarantine {
    fn default() -> Self {
        Quarantine { jobs: Arc::default(), turn: Arc::default(), patience: NEXT_TURN }
    }
}

impl Quarantine {
    /// Lets a job in: with the others, or alone once they have ended, or not at all.
    pub(crate) async fn enter(&self, job: &Job, crashes: Crashes) -> Step<Company> {
        if crashes.alone >= MOST_CRASHES {
            return Err(poison(job, crashes));
        }
        if crashes.in_company + crashes.alone < MOST_CRASHES {
            // It holds the lock of its target: others wait for that while it waits here.
            let shared = tokio::time::timeout(self.patience, Arc::clone(&self.jobs).read_owned()).await;
            return shared.map(|_jobs| Company::Shared { _jobs }).map_err(|_| behind_a_suspect());
        }
        // Sixty of them that take a second each are through in a minute: none stays away for a turn that is near.
        // Behind a long rollout it steps back: while it waits, nobody else is let in.
        let alone = async {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            Company::Alone { _jobs: Arc::clone(&self.jobs).write_owned().await, _turn: turn }
        };
        tokio::time::timeout(self.patience, alone).await.map_err(|_| not_yet())
    }
}

fn poison(job: &Job, crashes: Crashes) -> Conclusion {
    let times = crashes.in_company + crashes.alone;
    let text = format!(
        "its worker crashed at it {times} times, {} of them while it did nothing else",
        crashes.alone
    );
    let reason = Reason::new(reason::POISON, text)
        .hint(format!("look at the worker's log from the last `started` of {} on, and report it", job.id));
    // The attempt that finds it out is counted, and does not begin.
    let uncounted = u32::try_from(times.saturating_sub(1)).unwrap_or(u32::MAX);
    Telling::new(State::Dead).reason(reason).uncounted(uncounted).conclude()
}

fn behind_a_suspect() -> Conclusion {
    let text = "a job at which workers crashed is carried out alone first";
    Conclusion::Again { after: NEXT_TURN, counted: false, reason: Reason::new(reason::BUSY, text) }
}

fn not_yet() -> Conclusion {
    let text = "workers crashed while it was under way: it is carried out alone, once others have ended";
    Conclusion::Again { after: NEXT_TURN, counted: false, reason: Reason::new(reason::QUARANTINED, text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::job;

    const NONE: Crashes = Crashes { in_company: 0, alone: 0 };
    const TWO: Crashes = Crashes { in_company: 2, alone: 0 };

    #[tokio::test]
    async fn a_suspect_waits_for_the_others_and_keeps_them_out() {
        let quarantine = Quarantine { patience: Duration::from_millis(200), ..Quarantine::default() };
        let job = job(1, "a:1");
        let other = quarantine.enter(&job, NONE).await.unwrap();
        let mut alone = Box::pin(quarantine.enter(&job, TWO));
        assert!(futures::poll!(&mut alone).is_pending());
        drop(other);
        let alone = alone.await.unwrap();
        assert!(alone.is_alone());
        let mut next = Box::pin(quarantine.enter(&job, NONE));
        assert!(futures::poll!(&mut next).is_pending());
        assert!(matches!(quarantine.enter(&job, TWO).await, Err(Conclusion::Again { counted: false, .. })));
        drop(alone);
        assert!(!next.await.unwrap().is_alone());
    }

    #[tokio::test]
    async fn a_suspect_behind_a_long_rollout_lets_others_pass() {
        let quarantine = Quarantine { patience: Duration::from_millis(20), ..Quarantine::default() };
        let job = job(1, "a:1");
        let long = quarantine.enter(&job, NONE).await.unwrap();
        assert!(matches!(quarantine.enter(&job, TWO).await, Err(Conclusion::Again { counted: false, .. })));
        let next = tokio::time::timeout(Duration::from_secs(5), quarantine.enter(&job, NONE));
        assert!(!next.await.expect("nobody is let in").unwrap().is_alone());
        drop(long);
    }

    #[tokio::test]
    async fn behind_a_suspect_with_a_long_rollout_others_step_back_and_let_go_of_their_targets() {
        let quarantine = Quarantine { patience: Duration::from_millis(20), ..Quarantine::default() };
        let job = job(1, "a:1");
        let long = quarantine.enter(&job, TWO).await.unwrap();
        let Err(Conclusion::Again { counted: false, reason, .. }) = quarantine.enter(&job, NONE).await else {
            panic!("let in")
        };
        assert_eq!(reason.code, reason::BUSY);
        drop(long);
        assert!(!quarantine.enter(&job, NONE).await.unwrap().is_alone());
    }

    #[tokio::test]
    async fn a_suspect_whose_turn_is_near_waits_for_it() {
        let quarantine = Quarantine::default();
        let job = job(1, "a:1");
        let first = quarantine.enter(&job, TWO).await.unwrap();
        let mut second = Box::pin(quarantine.enter(&job, TWO));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        assert!(second.await.unwrap().is_alone());
    }

    #[tokio::test]
    async fn two_crashes_alone_are_the_end_and_all_are_told() {
        let crashes = Crashes { in_company: 3, alone: 2 };
        let Err(Conclusion::End(telling)) = Quarantine::default().enter(&job(1, "a:1"), crashes).await else {
            panic!("let in")
        };
        assert_eq!((telling.state, telling.uncounted), (State::Dead, 4));
        let text = telling.reason.clone().unwrap().text;
        assert!(text.contains("5 times, 2 of them while"), "{text}");
    }
}
