//! The frame of a scenario: a fleet under load, what befalls it meanwhile, and the account at the end.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use proto::{Event, JobId, State, reason};
use serde_json::{Value, json};
use tests::broker::Broker;
use tests::environment;
use tests::history;
use tests::ledger::{Account, Ledger};
use tests::load::Answers;
use tests::shown;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::crew::Crew;
use crate::marks;

/// Targets that get a job now and then, and targets that get one after the other.
const TARGETS: usize = 500;
const BUSY_TARGETS: usize = 3;

/// Gets none of the load.
pub(crate) const SPARE: &str = "spare";

/// Of so many jobs one is for a busy target.
const BUSY_SHARE: usize = 10;

const CALLERS: usize = 8;

/// Jobs a second: what workers can do, so that most are carried out, not superseded.
const PACE: u32 = 250;

/// Faulty jobs whose lives are told in full.
const MOST_TOLD: usize = 5;

/// Each scenario has the machine to itself: what is measured, and what is given time, then means something.
static TURN: Mutex<()> = Mutex::const_new(());

/// How long the scenarios are.
pub(crate) fn is_soak() -> bool {
    std::env::var_os("LONGSHORE_TEST_SOAK").is_some_and(|value| value == "1")
}

/// Longest wait for all of them, on a machine that is busy with other things besides.
pub(crate) fn long() -> Duration {
    Duration::from_secs(if is_soak() { 1200 } else { 240 })
}

/// The jobs of one scenario.
pub(crate) fn jobs() -> usize {
    if is_soak() { 10_000 } else { 2_000 }
}

/// How often a fault that is over at once befalls the fleet.
pub(crate) fn rounds() -> usize {
    if is_soak() { 10 } else { 4 }
}

/// A scenario's turn. Taken before anything is started.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// A fleet under load.
pub(crate) struct Run {
    name: &'static str,
    begin: Instant,
    pub(crate) crew: Crew,
    ledger: Ledger,
    sent: usize,
    pace: u32,
    body: fn(usize) -> Value,
    may_end: fn(State) -> bool,
    /// What callers were answered that was no 2xx, and how often they were not answered.
    refused: usize,
    unanswered: usize,
    /// Whether callers may be turned away: the ingress itself dies.
    may_refuse: bool,
    _turn: MutexGuard<'static, ()>,
}

impl Run {
    /// A fleet on `broker` with so many workers; nothing runs yet. `sections` are added to its configuration.
    pub(crate) async fn prepare(
        turn: MutexGuard<'static, ()>,
        name: &'static str,
        broker: Broker,
        workers: usize,
        targets: &str,
    ) -> Result<Run> {
        Run::prepare_with(turn, name, broker, workers, &format!("{}{targets}", sections())).await
    }

    /// The same with targets of the caller's own.
    pub(crate) async fn prepare_with(
        turn: MutexGuard<'static, ()>,
        name: &'static str,
        broker: Broker,
        workers: usize,
        sections: &str,
    ) -> Result<Run> {
        let logs = environment::directory()?.join("logs").join("faults").join(name);
        std::fs::create_dir_all(&logs).context("make a directory for logs")?;
        let crew = Crew::prepare(broker, sections, workers, &logs).await?;
        let (ledger, begin) = (Ledger::default(), Instant::now());
        let (pace, may_end, may_refuse) = (PACE, is_usual, false);
        let (sent, refused, unanswered) = (0, 0, 0);
        Ok(Run {
            name,
            begin,
            crew,
            ledger,
            sent,
            pace,
            body,
            may_end,
            refused,
            unanswered,
            may_refuse,
            _turn: turn,
        })
    }

    /// The same with usual targets, on a virtual host of its own, started.
    pub(crate) async fn start(name: &'static str, workers: usize) -> Result<Run> {
        let turn = turn().await;
        let mut run = Run::prepare(turn, name, Broker::own_virtual_host().await?, workers, "").await?;
        run.crew.start().await?;
        Ok(run)
    }

    /// Whoever is given up though nothing is wrong with it is the price of finding what kills its workers: it was there in two
    /// crashes among others, and in two alone, of which each is one job's. So none is where no worker was killed.
    fn few_are_given_up(&self, history: &[Event]) -> Result<()> {
        let given_up = given_up(history);
        let (kills, sent) = (self.crew.kills(), self.sent);
        let most = (kills / 2).min(sent / 100);
        ensure!(given_up.len() <= most, "{} of {sent} jobs were given up by {kills} crashes", given_up.len());
        for event in given_up {
            let code = event.data.reason.as_ref().map(|reason| &*reason.code);
            ensure!(code == Some(reason::POISON), "given up for another reason: {event:?}");
        }
        Ok(())
    }

    /// Callers begin no more than so many jobs a second.
    pub(crate) fn set_pace(&mut self, jobs_per_second: u32) {
        self.pace = jobs_per_second;
    }

    /// What the callers send, by number.
    pub(crate) fn set_body(&mut self, body: fn(usize) -> Value) {
        self.body = body;
    }

    /// Some of the images do not come up.
    pub(crate) fn may_fail(&mut self) {
        self.may_end = |state| is_usual(state) || state == State::Failed;
    }

    /// The same with workers that die again and again, see [`Run::may_give_jobs_up`].
    pub(crate) fn may_fail_or_give_jobs_up(&mut self) {
        self.may_end = |state| is_usual(state) || matches!(state, State::Failed | State::Dead);
    }

    /// Workers that die again and again take the blame to whatever they were at: such jobs may be given up.
    pub(crate) fn may_give_jobs_up(&mut self) {
        self.may_end = |state| is_usual(state) || state == State::Dead;
    }

    /// The ingress itself dies: whoever meets it then has to come again. An ingress that lives keeps what the broker does
    /// not take, and turns nobody away.
    pub(crate) fn may_refuse(&mut self) {
        self.may_refuse = true;
    }

    /// In each of `rounds`, `fault` befalls the fleet in the middle of the load.
    pub(crate) async fn strike(
        &mut self,
        rounds: usize,
        fault: impl AsyncFnMut(&mut Crew) -> Result<()>,
    ) -> Result<()> {
        self.strike_with(jobs(), rounds, fault).await
    }

    /// The same with so many jobs in all.
    pub(crate) async fn strike_with(
        &mut self,
        jobs: usize,
        rounds: usize,
        mut fault: impl AsyncFnMut(&mut Crew) -> Result<()>,
    ) -> Result<()> {
        for round in 0..rounds {
            self.under_load(jobs / rounds, async |crew: &mut Crew| fault(crew).await)
                .await
                .with_context(|| format!("round {round}"))?;
        }
        Ok(())
    }

    /// Sends so many jobs, whatever it takes; once a third of them is accepted, `fault` befalls the fleet.
    pub(crate) async fn under_load<T>(
        &mut self,
        jobs: usize,
        fault: impl AsyncFnOnce(&mut Crew) -> Result<T>,
    ) -> Result<T> {
        let (mut accepted, sending) = self.send(jobs)?;
        timeout(long(), accepted.wait_for(|count| *count >= jobs / 3))
            .await
            .context("wait for the load")??;
        let came = fault(&mut self.crew).await.context("do what befalls the fleet")?;
        self.note(&sending.await.context("send the load")??)?;
        Ok(came)
    }

    /// Sends so many jobs, and what befalls the fleet goes on until they are accepted.
    pub(crate) async fn all_along(
        &mut self,
        jobs: usize,
        plague: impl AsyncFnOnce(&mut Crew, &(dyn Fn() -> bool + Sync)) -> Result<()>,
    ) -> Result<()> {
        let (accepted, sending) = self.send(jobs)?;
        let begin = Instant::now();
        let goes_on = move || *accepted.borrow() < jobs && begin.elapsed() < long();
        plague(&mut self.crew, &goes_on).await.context("do what befalls the fleet")?;
        self.note(&sending.await.context("send the load")??)
    }

    /// Notes what the callers were told, and whoever asked beside them.
    fn note(&mut self, answers: &Answers) -> Result<()> {
        ensure!(answers.unsent == 0, "not all jobs were accepted: {answers}: {:?}", answers.refused.last());
        let turned_away = answers.refused.len() + answers.unanswered;
        let why = answers.refused.last();
        ensure!(turned_away == 0 || self.may_refuse, "some were turned away: {answers}: {why:?}");
        self.refused += answers.refused.len();
        self.unanswered += answers.unanswered;
        for answer in answers.accepted.iter().chain(&self.crew.answers) {
            self.ledger.accept_answer(answer)?;
        }
        Ok(())
    }

    /// Begins to send so many jobs; gives how many are accepted, and the answers to come.
    fn send(&mut self, jobs: usize) -> Result<(watch::Receiver<usize>, JoinHandle<Result<Answers>>)> {
        let bodies: Vec<Value> = (self.sent..self.sent + jobs).map(self.body).collect();
        self.sent += jobs;
        let load = self.crew.fleet.load("/v1/jobs", CALLERS, long())?.persistent().per_second(self.pace);
        Ok((load.accepted(), tokio::spawn(async move { load.send(bodies).await })))
    }

    /// Waits until everything has ended, and draws the account: it must be clean, and every target must show its
    /// newest job. Gives the history.
    pub(crate) async fn end(self) -> Result<Vec<Event>> {
        self.settle().await
    }

    /// The same; the fleet runs on.
    pub(crate) async fn settle(&self) -> Result<Vec<Event>> {
        let history = self.settle_account().await?;
        marks::name_the_newest(self.crew.fleet.folder(), &history)?;
        Ok(history)
    }

    /// The same without a look at the targets.
    pub(crate) async fn settle_account(&self) -> Result<Vec<Event>> {
        self.crew.is_ready().await?;
        let broker = self.crew.broker()?;
        let loaded = self.begin.elapsed();
        let waiting = history::wait_for_all_ends(broker, self.ledger.ids(), long()).await?;
        let history = history::read(broker, long()).await?;
        let ends = shown::ends(&self.crew.fleet, &history).await?;
        let account = self.ledger.account_as_shown(&history, (&ends, shown::KEPT));
        let (loaded, ended) = (loaded.as_secs_f64(), self.begin.elapsed().as_secs_f64());
        let turned_away = format!("refused {}, without an answer {}", self.refused, self.unanswered);
        let given_up = format!("given up {}", given_up(&history).len());
        say(&format!(
            "{}: {account}; {given_up}; {turned_away}; accepted after {loaded:.0} s, all ended after {ended:.0} s",
            self.name
        ));
        if !account.is_clean() {
            bail!("{}: {account}\n{}", self.name, lives(&account, &history));
        }
        ensure!(waiting.is_empty(), "without an end: {waiting:?}");
        for (state, count) in &account.ends {
            ensure!((self.may_end)(*state), "{count} {state}, the first: {}", first_end(&history, *state));
        }
        self.few_are_given_up(&history)?;
        Ok(history)
    }
}

/// What the history says of jobs that were given up.
fn given_up(history: &[Event]) -> Vec<&Event> {
    history.iter().filter(|event| event.state() == State::Dead).collect()
}

/// How a job ends that nothing is wrong with.
fn is_usual(state: State) -> bool {
    matches!(state, State::Succeeded | State::Superseded)
}

/// Also of tests that pass: libtest keeps back what is printed, not what is written.
pub(crate) fn say(line: &str) {
    // Nobody need read it.
    let _ = writeln!(std::io::stdout(), "faults: {line}");
}

/// The targets of a usual run, and where they are.
pub(crate) fn sections() -> String {
    let target = |name: String| format!("  {name}: {{at: lab, takes: 20ms, dawdles: 2ms}}\n");
    let quiet = (0..TARGETS).map(|n| target(format!("web-{n}")));
    let busy = (0..BUSY_TARGETS).map(|n| target(format!("busy-{n}")));
    // The last of them is one of those that take whatever is written, however late.
    let busy = busy.map(|target| target.replace("busy-2: {", "busy-2: {blind: true, "));
    let targets: String = quiet.chain(busy).chain([target(SPARE.to_owned())]).collect();
    format!("systems:\n  lab: {{kind: rehearsal}}\ntargets:\n{targets}")
}

fn body(n: usize) -> Value {
    let target = match n % BUSY_SHARE {
        0 => format!("busy-{}", n / BUSY_SHARE % BUSY_TARGETS),
        _ => format!("web-{}", n % TARGETS),
    };
    json!({"target": target, "image": format!("acme/app:{n}")})
}

fn first_end(history: &[Event], state: State) -> String {
    let first = history.iter().find(|event| event.state() == state);
    let told = first.map(|event| life(event.job_id(), history));
    told.unwrap_or_default()
}

/// What the history says of the jobs that something is wrong with.
fn lives(account: &Account, history: &[Event]) -> String {
    let faults = [
        &account.lost,
        &account.out_of_order,
        &account.disagreed,
        &account.never_ended,
        &account.unexplained,
        &account.duplicated,
    ];
    let faulty = faults.into_iter().flatten().take(MOST_TOLD);
    faulty.map(|id| life(*id, history)).collect::<Vec<_>>().join("\n")
}

fn life(id: JobId, history: &[Event]) -> String {
    let lines = history.iter().filter(|event| event.job_id() == id).map(|event| {
        let data = &event.data;
        let reason = data.reason.as_ref().map(|reason| format!("{}: {}", reason.code, reason.text));
        format!("\n  {} {} attempt {} {}", event.time, data.state, data.attempt, reason.unwrap_or_default())
    });
    let target = history.iter().find(|event| event.job_id() == id).map(|event| event.subject.to_string());
    format!("{id} for {}:{}", target.unwrap_or_default(), lines.collect::<String>())
}
