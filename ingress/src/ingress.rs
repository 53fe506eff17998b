//! The parts of a running ingress.

use std::{
    net::SocketAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use proto::JobId;
use queue::{Chronicle, Entry, Queue, Reached, Recorded, SayError, Since, Spooling};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    accept::{Intake, KeyReused, Request, Taken},
    access::doors::Doors,
    audit::Audit,
    backfill,
    counters::Counters,
    known::Known,
    letters::Letters,
    limits::Meters,
    mint::Mint,
    outlook::Outlook,
    overdue::{OpenJobs, Watch},
    route::Wish,
    settings::Settings,
    submission,
    view::{MOST_JOBS, View},
};

/// How far back the history is read at start: the longest deadline, and clocks that differ.
const WINDOW: SignedDuration = SignedDuration::from_hours(25);
/// How long nothing may be read of the history before that is said; and how often it is said how far it is read.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(30);
/// Pause before it is looked again whether the broker is away.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the files of tokens and users are looked at.
const LOOK_AT_DOORS_EVERY: Duration = Duration::from_millis(500);
/// Pause before the next attempt on a queue that is away.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How long jobs that are being taken may go on after the end was asked for.
const FINISH_WITHIN: Duration = Duration::from_secs(20);

/// A running ingress: what every request needs.
pub(crate) struct Ingress {
    pub(crate) address: SocketAddr,
    pub(crate) queue: Arc<dyn Queue>,
    /// The queue again, where it keeps jobs while the broker is away.
    pub(crate) spool: Option<Arc<Spooling>>,
    pub(crate) counters: Arc<Counters>,
    /// Who may come in, and who was refused.
    doors: RwLock<Arc<Doors>>,
    pub(crate) audit: Audit,
    pub(crate) view: Arc<View>,
    pub(crate) stop: CancellationToken,
    pub(crate) letters: Letters,
    pub(crate) open_jobs: Arc<OpenJobs>,
    pub(crate) intake: Intake,
    pub(crate) known: Arc<Known>,
    pub(crate) meters: Meters,
    pub(crate) outlook: Outlook,
    /// The history has been read from this time on.
    pub(crate) read_since: Timestamp,
    pub(crate) mint: Arc<Mint>,
    ready: watch::Sender<bool>,
    /// Whether the history was read once.
    caught_up: AtomicBool,
    tasks: TaskTracker,
}

impl Ingress {
    /// Begins to follow the history.
    pub(crate) fn start(
        settings: Settings,
        queue: Arc<dyn Queue>,
        spool: Option<Arc<Spooling>>,
        address: SocketAddr,
        stop: CancellationToken,
    ) -> Arc<Ingress> {
        let (view, mint) = (Arc::new(View::new()), Arc::new(Mint::default()));
        let counters = Arc::new(Counters::default());
        let read_since = Timestamp::now() - WINDOW;
        let open_jobs = Arc::new(OpenJobs::default());
        let meters = Meters::new(&settings.limits);
        let doors = Doors::open(&settings.access, settings.data.as_deref());
        let doors = RwLock::new(Arc::new(doors));
        let known = Arc::new(Known::new(settings));
        let chronicle = follow(&queue, (&view, &mint, &open_jobs, &known), read_since);
        let outlook = Outlook::default();
        let intake = Intake::new(
            Arc::clone(&queue),
            chronicle,
            Arc::clone(&view),
            Arc::clone(&mint),
            Arc::clone(&counters),
            Arc::clone(&outlook.pools),
        );
        let letters = Letters::new(Arc::clone(&queue));
        let (ready, tasks) = (watch::Sender::new(false), TaskTracker::new());
        let ingress = Arc::new(Ingress {
            address,
            queue,
            spool,
            counters,
            doors,
            audit: Audit::default(),
            view,
            stop,
            letters,
            open_jobs,
            intake,
            known,
            meters,
            outlook,
            read_since,
            mint,
            ready,
            caught_up: AtomicBool::new(false),
            tasks,
        });
        tokio::spawn(until_stopped(Arc::clone(&ingress), |ingress| async move {
            ingress.become_ready().await;
            let overdue = Watch::new(Arc::clone(&ingress));
            tokio::join!(
                ingress.pass_on_progress(),
                overdue.keep(),
                submission::take_in(&ingress),
                ingress.follow_clock(),
            );
        }));
        tokio::spawn(until_stopped(
            Arc::clone(&ingress),
            |ingress| async move { ingress.known.keep().await },
        ));
        tokio::spawn(until_stopped(
            Arc::clone(&ingress),
            |ingress| async move { ingress.look_at_doors().await },
        ));
        tokio::spawn(until_stopped(
            Arc::clone(&ingress),
            |ingress| async move { backfill::keep(&ingress).await },
        ));
        tokio::spawn(until_stopped(Arc::clone(&ingress), |ingress| async move {
            ingress.outlook.keep(&ingress).await
        }));
        ingress
    }

    /// What the configuration says now; asked once for each thing that is done.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.known.settings()
    }

    /// Goes on with each new configuration, until none can come any more.
    pub(crate) async fn follow(&self, mut changes: watch::Receiver<Settings>) {
        while changes.changed().await.is_ok() {
            let settings = changes.borrow_and_update().clone();
            say_what_is_open(&settings);
            let (before, wanted) = (self.doors(), settings.clone());
            let opening = move || before.opened_anew(&wanted.access, wanted.data.as_deref());
            match tokio::task::spawn_blocking(opening).await {
                Ok(doors) => *self.doors.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(doors),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "who may come in stays as it was: opening the doors anew failed");
                }
            }
            self.known.exchange(settings);
        }
    }

    /// Who may come in now.
    pub(crate) fn doors(&self) -> Arc<Doors> {
        Arc::clone(&self.doors.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets who may come in follow the files of tokens and users.
    async fn look_at_doors(&self) {
        let mut ticks = tokio::time::interval(LOOK_AT_DOORS_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let doors = self.doors();
            // A disk that hangs keeps no request waiting.
            let _ = tokio::task::spawn_blocking(move || doors.look()).await;
        }
    }

    /// Whether the history has been read, so that new ids are above those in it; or the spool, and the broker is
    /// away.
    pub(crate) fn is_ready(&self) -> bool {
        self.may_mint(*self.ready.borrow())
    }

    /// The same, waiting up to `within` for it.
    pub(crate) async fn ready_within(&self, within: Duration) -> bool {
        let mut ready = self.ready.subscribe();
        timeout(within, ready.wait_for(|ready| self.may_mint(*ready)))
            .await
            .is_ok_and(|waited| waited.is_ok())
    }

    /// Makes jobs of wishes, to the end even when the caller hangs up.
    ///
    /// The outer error is a panic on the way; see [`Intake::take`] for the rest.
    pub(crate) async fn take(
        self: &Arc<Self>,
        wishes: Vec<Wish>,
        request: Request,
    ) -> Result<Result<Taken, KeyReused>, tokio::task::JoinError> {
        let ingress = Arc::clone(self);
        let within = self.settings().repeats_within;
        self.to_the_end(async move { ingress.intake.take(wishes, request, within).await }).await
    }

    /// The same for what was wished before, with ids of that time: one for each wish.
    pub(crate) async fn take_late(
        self: &Arc<Self>,
        wishes: Vec<Wish>,
        request: Request,
        ids: Vec<JobId>,
    ) -> Result<Result<Taken, KeyReused>, tokio::task::JoinError> {
        let ingress = Arc::clone(self);
        self.to_the_end(async move { ingress.intake.take_late(wishes, request, ids).await }).await
    }

    /// Does something to the end even when the caller hangs up. The error is a panic on the way.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        self.tasks.spawn(work).await
    }

    /// Waits until the jobs that are being taken are taken.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        if timeout(FINISH_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("ended while jobs were still being taken; their senders had no answer");
        }
    }

    async fn become_ready(&self) {
        self.take_in_the_spool().await;
        let mut caught_up = std::pin::pin!(self.catch_up());
        loop {
            tokio::select! {
                biased;
                () = &mut caught_up => break,
                () = self.broker_is(false) => self.ready.send_replace(true),
            };
            // Once the broker is back there is a history, which new ids have to be above.
            tokio::select! {
                biased;
                () = &mut caught_up => break,
                () = self.broker_is(true) => self.ready.send_replace(false),
            };
        }
        self.look_at_clock().await;
        self.view.begin_counting();
        self.caught_up.store(true, Ordering::Release);
        self.ready.send_replace(true);
    }

    /// Before the first job is dated. What cannot be found out now is found out later.
    async fn look_at_clock(&self) {
        if let Ok(behind) = self.intake.chronicle().clock_is_behind().await {
            self.mint.set_behind(behind);
        }
    }

    async fn follow_clock(&self) {
        self.intake.chronicle().follow_clock(|behind| self.mint.set_behind(behind)).await;
    }

    /// Knows the jobs that wait in the spool, as if the history had told of them.
    async fn take_in_the_spool(&self) {
        let Some(spool) = &self.spool else { return };
        while let Err(error) = spool.newest(MOST_JOBS, |job| self.view.enter(job)).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot read what is kept, trying again"
            );
            sleep(AGAIN_AFTER).await;
        }
        spool.highest().into_iter().for_each(|highest| self.mint.see_id(highest));
    }

    /// Reads the history, once that tells what was said here before it.
    async fn catch_up(&self) {
        if let Some(spool) = &self.spool {
            spool.has_told_its_past().await;
        }
        let still_at = |reached: Reached| {
            let until = reached.said_at.map(tracing::field::display);
            tracing::info!(
                entries = reached.entries,
                until,
                "the history is still being read, no hook is taken yet"
            );
        };
        while let Err(error) = self.intake.chronicle().read_up(CATCH_UP_WITHIN, still_at).await {
            self.complain(&error);
            sleep(AGAIN_AFTER).await;
        }
    }

    fn complain(&self, error: &SayError) {
        let error = error as &dyn std::error::Error;
        if self.is_ready() {
            tracing::debug!(error, "the history cannot be read while the broker is away");
        } else {
            tracing::warn!(error, "cannot read the history yet, trying again");
        }
    }

    /// Returns once the broker can be asked, or cannot; never where nothing is kept without one.
    async fn broker_is(&self, there: bool) {
        if self.spool.is_none() {
            std::future::pending::<()>().await;
        }
        while self.queue.is_available() != there {
            sleep(LOOK_EVERY).await;
        }
    }

    /// Whether new ids are above all that there is to know: the broker may be back, and that not be noticed yet.
    fn may_mint(&self, ready: bool) -> bool {
        ready && (self.caught_up.load(Ordering::Acquire) || !self.queue.is_available())
    }

    async fn pass_on_progress(&self) {
        loop {
            let cut_off = match self.queue.live().await {
                Ok(mut live) => loop {
                    match live.next().await {
                        Ok(event) => self.view.pass_on(event),
                        Err(error) => break error,
                    }
                },
                Err(error) => error,
            };
            tracing::debug!(
                error = &cut_off as &dyn std::error::Error,
                "progress was cut off, listening again"
            );
            sleep(AGAIN_AFTER).await;
        }
    }
}

fn follow(
    queue: &Arc<dyn Queue>,
    (view, mint, open_jobs, known): (&Arc<View>, &Arc<Mint>, &Arc<OpenJobs>, &Arc<Known>),
    since: Timestamp,
) -> Chronicle {
    let (view, mint) = (Arc::clone(view), Arc::clone(mint));
    let (open_jobs, known) = (Arc::clone(open_jobs), Arc::clone(known));
    Chronicle::follow(Arc::clone(queue), Since::Time(since), move |recorded: &Recorded| {
        match &recorded.entry {
            Entry::Event(event) => {
                mint.see(event);
                open_jobs.take_in(recorded.position, event);
            }
            Entry::Catalogue(catalogue) => known.take_in(catalogue, mint.now()),
            Entry::Marker(_) | Entry::Unreadable(_) => {}
        }
        view.take_in(recorded);
    })
}

async fn until_stopped<F: Future<Output = ()>>(ingress: Arc<Ingress>, work: impl FnOnce(Arc<Ingress>) -> F) {
    let stop = ingress.stop.clone();
    tokio::select! {
        () = work(ingress) => {}
        () = stop.cancelled() => {}
    }
}

/// Says which doors are open to everyone, that the API is closed to all, and what else will hardly be meant.
pub(crate) fn say_what_is_open(settings: &Settings) {
    for source in settings.sources.values().filter(|source| source.door.open) {
        let reach = if source.door.loopback_only { "anyone on this machine" } else { "anyone" };
        tracing::warn!(source = source.name, "the source is open: {reach} may deploy through it");
    }
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    if settings.access.is_closed() {
        tracing::warn!("no token is configured: nobody may call the API (`access.admin_token_file`)");
    }
}
