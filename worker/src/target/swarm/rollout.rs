//! Watching one rollout on a real engine.

use std::time::Duration;

use bollard::models::Task;
use proto::{ImageRef, Reason, Timestamp, reason};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Policy, SwarmService,
    ages::Ages,
    alive::{Running, running},
    client::Client,
    emptied::{is_emptied, nothing_runs, with_what_stands},
    lifecycle::{Concern, whose},
    lookout::{Lookout, Seat, Which},
    lost::Blame,
    passed::passed_over,
    placing::Placing,
    report::Report,
    service::{Mode, Service, UpdateState},
    steady::Steady,
    tasks::{Count, Counting, Failing, Nodes},
    watch::{Decision, NOTICED_WITHIN, Owner, Snapshot, window},
};
use crate::target::{End, Outcome, Progress, TargetError, Wanted};

/// How much later than the moment at which tasks have been up for long enough they are looked at: clocks have their
/// grain.
const GRAIN: Duration = Duration::from_millis(20);
/// The service itself is read again at each of its events; this often in case one was lost.
const READ_EVERY: Duration = Duration::from_secs(10);
/// An engine that still takes a task for running so long after it came down never notices, or knows better.
const NOTICED_AT_LAST: Duration = Duration::from_secs(120);
/// How an engine's words begin on a rollback that somebody asked for.
const BY_HAND: &str = "manually requested rollback";

/// One rollout, as far as it was seen.
pub(super) struct Rollout<'a> {
    client: &'a Client,
    lookout: &'a Lookout,
    seat: Seat,
    name: &'a str,
    wanted: &'a Wanted,
    image: &'a ImageRef,
    report: Report<'a>,
    nodes: Nodes,
    service: Service,
    /// How many tasks the service was to have when this watch began.
    began_with: Mode,
    /// The tasks of all specs, of a global service: they tell on which nodes it is meant to run.
    everywhere: Vec<Task>,
    /// When this watch began, by the engine's clock.
    began: Timestamp,
    looked_around_at: Instant,
    read_at: Instant,
    policy: Policy,
    steady: Steady,
    /// Since when the update has been seen completed.
    completed: Option<Instant>,
    placing: Placing,
    by_hand: bool,
    by_itself: bool,
    /// The version at which the image stood already, with nothing under way: no write of the job came before this watch.
    stood_at: Option<u64>,
    ages: Ages,
    /// The engine's time when last looked.
    now: Timestamp,
    /// Said to run, the youngest first.
    running: Vec<Running>,
    /// Since when one of those is known to be down.
    down: Option<Instant>,
    /// Since when one is known to have come down since the service was written.
    falling: Option<Instant>,
    lost: Vec<Failing>,
}

impl<'a> Rollout<'a> {
    pub(super) async fn begin(
        target: &'a SwarmService,
        (wanted, image): (&'a Wanted, &'a ImageRef),
        progress: &'a mpsc::Sender<Progress>,
    ) -> Result<Rollout<'a>, TargetError> {
        let (client, name) = (target.client(), target.name.as_str());
        let lookout = &*target.swarm.lookout;
        // Read again once it is watched: whatever happens from then on is an event.
        let seat = lookout.seat(&client.service(name).await?.id);
        let service = client.service(name).await?;
        seat.has_read(moment_of(&service));
        let now = lookout.now().await;
        let stood_at = stands_already(&service, (wanted, image)).then_some(service.index);
        let mut rollout = Rollout {
            client,
            lookout,
            seat,
            name,
            wanted,
            image,
            report: Report::new(progress),
            nodes: lookout.nodes().await?,
            began_with: service.mode(),
            service,
            everywhere: Vec::new(),
            looked_around_at: Instant::now(),
            read_at: Instant::now(),
            policy: target.policy,
            steady: Steady::default(),
            completed: None,
            placing: Placing::default(),
            by_hand: false,
            by_itself: false,
            stood_at,
            ages: Ages::default(),
            began: now,
            now,
            running: Vec::new(),
            down: None,
            falling: None,
            lost: Vec::new(),
        };
        rollout.look_around().await?;
        Ok(rollout)
    }

    /// Watches until the end is known; the service as it stands then, and what that is to be laid to where it did not
    /// hold.
    pub(super) async fn watch(mut self) -> Result<(Outcome, Service, Blame), TargetError> {
        let (mut fresh, mut looked_around) = (true, false);
        loop {
            let snapshot = self.look().await?;
            match snapshot.decide() {
                Decision::Ended(_) if !fresh => {
                    self.read().await?;
                    fresh = true;
                    continue;
                }
                // An engine that was gone may be back since the nodes were read.
                Decision::Ended(End::Failed(_) | End::RolledBack(_)) if !looked_around => {
                    self.nodes = self.lookout.nodes_now().await?;
                    looked_around = true;
                    continue;
                }
                Decision::Ended(End::Converged) if self.is_deceptive(&snapshot).await => {}
                Decision::Ended(_) => return self.end(snapshot).await,
                Decision::Goes(line) => {
                    if let Some(why) = snapshot.why_it_rolls_back() {
                        self.report.note_rollback(why);
                    }
                    self.report.say(snapshot.count.tasks(), line, Instant::now());
                }
            }
            self.seat.listen(self.client).await?;
            (fresh, looked_around) = (self.wait(&snapshot).await, false);
            if fresh {
                self.read().await?;
            }
        }
    }

    /// What can be told at this very moment: the end, or how far it is.
    pub(super) async fn now(mut self) -> Result<(Option<Outcome>, Snapshot, Service), TargetError> {
        let mut snapshot = self.look().await?;
        // Whom it is to be laid to is known only then.
        self.explain(&mut snapshot).await?;
        if let Decision::Ended(_) = snapshot.decide() {
            let told = snapshot.clone();
            let (outcome, service, _) = self.end(snapshot).await?;
            return Ok((Some(outcome), told, service));
        }
        Ok((None, snapshot, self.service))
    }

    /// The service as it was last read, its tasks as they are now.
    async fn look(&mut self) -> Result<Snapshot, TargetError> {
        let current = self.lookout.tasks(&self.service.id, Which::Current).await?;
        self.running = running(&current);
        self.ages.note(&current, std::time::Instant::now());
        self.now = self.lookout.now().await;
        let mut count = self.counting().count(&current, &self.everywhere);
        self.forget_what_healed(&mut count);
        self.lost = self.counting().lost(&current);
        Box::pin(self.look_at_what_waits(&count, &current)).await?;
        let lasted = self.steady.note(count.complete(), &current, Instant::now());
        Ok(self.snapshot(count, lasted))
    }

    /// A rollout is watched again where nobody could say how it ended: after minutes, or after days. What came down when
    /// its window was over, and before anybody looked again, and is up by now, says nothing of the rollout.
    fn forget_what_healed(&self, count: &mut Count) {
        let completed: Option<Timestamp> = self.service.update_completed_at().and_then(|at| at.parse().ok());
        // Nodes note the time by their own clocks, and notice an exit late.
        let believed_after = window(&self.service, self.policy.stable) + NOTICED_WITHIN;
        let over = completed.and_then(|at| at.checked_add(believed_after).ok());
        if let Some(over) = over.filter(|_| count.complete() && !self.is_untouched()) {
            count.forget(over, self.began);
        }
    }

    /// Whether what waits for a node has to wait until an old task has stopped.
    async fn look_at_what_waits(&mut self, count: &Count, current: &[Task]) -> Result<(), TargetError> {
        self.placing.note(count, current, Instant::now());
        if self.placing.asks(Instant::now()) {
            let all = self.lookout.tasks(&self.service.id, Which::All).await?;
            self.placing.heed(&all, &self.nodes, Instant::now());
        }
        Ok(())
    }

    /// Which nodes there are, and on which of them the service is meant to run.
    async fn look_around(&mut self) -> Result<(), TargetError> {
        self.nodes = self.lookout.nodes().await?;
        self.everywhere = match self.service.mode() {
            Mode::Global => self.lookout.tasks(&self.service.id, Which::All).await?,
            Mode::Replicated(_) | Mode::Job => Vec::new(),
        };
        self.looked_around_at = Instant::now();
        Ok(())
    }

    /// `lasted`: for how long all tasks have run, or not all.
    fn snapshot(&mut self, count: Count, lasted: Duration) -> Snapshot {
        let now = Instant::now();
        let complete = count.complete();
        // What became of somebody's last update is told by the tasks of now.
        let update = self.service.update().filter(|_| !self.is_untouched());
        let message = self.service.update_message().to_owned();
        self.by_hand |= message.contains(BY_HAND);
        self.by_itself |= update == Some(UpdateState::RollbackStarted) && !self.by_hand;
        let is_completed = matches!(update, Some(UpdateState::Completed | UpdateState::RollbackCompleted));
        since_when(&mut self.completed, is_completed, now);
        let completed_for = self.completed.map(|since| now.duration_since(since));
        let completed_at = self.service.update_completed_at().and_then(|at| at.parse().ok());
        let fell_lately = count.fell_since(self.written_at());
        Snapshot {
            owner: whose(&self.service, &self.wanted.job, self.image),
            update,
            message,
            window: window(&self.service, self.policy.stable),
            replaced_none: self.replaced_none(),
            emptied: is_emptied(&self.service, self.began_with, self.wanted),
            by_hand: self.by_hand,
            by_itself: self.by_itself,
            fell_after: is_completed && count.fell_after(completed_at),
            fell_lately,
            falling_for: since_when(&mut self.falling, fell_lately, now),
            lost: self.lost.clone(),
            unplaced_for: self.placing.longest(now),
            steady_for: if complete { lasted } else { Duration::ZERO },
            unsteady_for: if complete { Duration::ZERO } else { lasted.min(completed_for.unwrap_or(lasted)) },
            count,
        }
    }

    /// A job that is about to replace tasks notes that first, so one whose mark stands without that replaced none.
    fn replaced_none(&self) -> bool {
        let (fence, mine) = (&self.service.fence, Some(self.wanted.job.id));
        fence.job == mine && fence.trying != mine && fence.back != mine
    }

    /// Whether the service stands as it did before this job came to it.
    fn is_untouched(&self) -> bool {
        self.stood_at == Some(self.service.index)
    }

    /// Since when what is watched has stood there.
    fn written_at(&self) -> Option<Timestamp> {
        if self.is_untouched() { Some(self.began) } else { moment_of(&self.service) }
    }

    fn counting(&self) -> Counting<'_> {
        Counting {
            service: self.name,
            mode: self.service.mode(),
            image: self.image,
            nodes: &self.nodes,
            since: self
                .service
                .update_started_at()
                .filter(|_| !self.is_untouched())
                .and_then(|at| at.parse().ok()),
            now: self.now,
            ages: &self.ages,
        }
    }

    /// Whether all seems well though a task is down, which the engine has not noticed yet.
    async fn is_deceptive(&mut self, snapshot: &Snapshot) -> bool {
        if snapshot.replaced_none || !self.client.any_is_down(&self.running).await {
            return false;
        }
        since_when(&mut self.down, true, Instant::now()) < NOTICED_AT_LAST
    }

    async fn end(mut self, mut snapshot: Snapshot) -> Result<(Outcome, Service, Blame), TargetError> {
        self.explain(&mut snapshot).await?;
        let end = match snapshot.decide() {
            Decision::Ended(end) => end,
            // Explaining adds words, it does not take back an end.
            Decision::Goes(line) => End::Failed(Reason::new(reason::ROLLOUT_FAILED, line)),
        };
        let end = with_what_stands(end, &self.service);
        let output = self.report.close(&snapshot, &end);
        let tasks = match end {
            End::Converged | End::Failed(_) => Some(snapshot.count.tasks()),
            // What runs then is another image.
            End::RolledBack(_) | End::Superseded { .. } => None,
        };
        let mut notes = Vec::new();
        if end == End::Converged && snapshot.count.wanted == 0 {
            notes.push(nothing_runs(&self.wanted.job.target, &self.service));
        }
        notes.extend(passed_over(&self.service, &self.wanted.job));
        let outcome = Outcome { tasks, output, notes, ..Outcome::of(end) };
        Ok((outcome, self.service, snapshot.blames()))
    }

    /// Adds what failed among all tasks of the image: after a rollback they are no longer up to date.
    async fn explain(&mut self, snapshot: &mut Snapshot) -> Result<(), TargetError> {
        let is_told = snapshot.failures().next().is_some();
        if snapshot.owner == Owner::Ours && snapshot.count.complete() || is_told {
            return Ok(());
        }
        let all = self.lookout.tasks(&self.service.id, Which::All).await?;
        snapshot.count.failing = self.counting().failing(&all.iter().collect::<Vec<&Task>>());
        snapshot.lost = self.counting().lost(&all);
        Ok(())
    }

    async fn read(&mut self) -> Result<(), TargetError> {
        self.service = self.client.service(self.name).await?;
        self.seat.has_read(moment_of(&self.service));
        self.read_at = Instant::now();
        if self.looked_around_at.elapsed() >= READ_EVERY { self.look_around().await } else { Ok(()) }
    }

    /// Waits for something to look at; true when the service itself has to be read again, as before an end. Tasks say
    /// nothing of themselves: they are counted now and then, and when the window is over.
    async fn wait(&mut self, snapshot: &Snapshot) -> bool {
        let pause = match snapshot.count.complete() {
            true => self.lookout.pause_while_steady(),
            false => self.lookout.pause(),
        };
        let due = snapshot.settles_in().map(|due| due + GRAIN).filter(|due| *due <= pause);
        let next = Instant::now() + due.unwrap_or(pause);
        tokio::select! {
            () = self.seat.event() => true,
            () = sleep_until(next) => {
                due.is_some() || !self.seat.is_heard() || self.read_at.elapsed() >= READ_EVERY
            }
        }
    }
}

/// Whether a job finds the image there that it is to bring, with nothing under way: it writes nothing.
fn stands_already(service: &Service, (wanted, image): (&Wanted, &ImageRef)) -> bool {
    let (fence, mine) = (&service.fence, Some(wanted.job.id));
    let is_settled =
        matches!(service.update(), None | Some(UpdateState::Completed | UpdateState::RollbackCompleted));
    let left_a_trace = fence.job == mine || fence.trying == mine || fence.back == mine;
    Concern::of(&wanted.job.operation) == Concern::Image && is_settled && service.runs(image) && !left_a_trace
}

/// Since when the service is as it was read, by the engine's clock.
fn moment_of(service: &Service) -> Option<Timestamp> {
    service.updated_at()?.parse().ok()
}

/// Keeps since when something has held without a break; for how long that is.
fn since_when(since: &mut Option<Instant>, holds: bool, now: Instant) -> Duration {
    if !holds {
        *since = None;
        return Duration::ZERO;
    }
    now.duration_since(*since.get_or_insert(now))
}
