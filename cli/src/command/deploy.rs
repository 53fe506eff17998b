//! `longshore deploy`: asks for a deploy, and follows it where told to.

use std::{
    io::{IsTerminal, stderr, stdout},
    pin::pin,
    time::Duration,
};

use config::Span;
use indicatif::{ProgressBar, ProgressStyle};
use proto::{
    Event, JobId, Reason, State,
    api::{Accepted, Wish},
};

use crate::{
    arguments::{Deploy, Waiting},
    client::Client,
    exit::Exit,
    failure::Failure,
    follow::Following,
    lookout::Lookout,
    output::{Output, Teller, line},
    typed,
};

/// How often the bar on a terminal moves on its own.
const TICK: Duration = Duration::from_millis(120);

pub(crate) async fn run(deploy: Deploy, output: Output) -> Result<Exit, Failure> {
    let client = super::client(&deploy.reach)?;
    let reach = typed::reach(&deploy.reach);
    let Deploy { target, image, service, now, following, .. } = deploy;
    let (Some(target), Some(image)) = (target, image) else {
        let text = "neither a target with an image nor --from-ci-env is given";
        return Err(Failure::setup(text, "`longshore deploy --help` shows examples"));
    };
    let wish = Wish::Image { target, image, service, not_before: None, deadline: None, version: None, now };
    let accepted = client.deploy(&wish).await?;
    outcome(&client, &accepted, Wait::of(&following), (output, &reach)).await
}

/// Whether and how long a deploy is followed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// To its end, or until this time is over.
    UpTo(Option<Span>),
}

impl Wait {
    pub(crate) fn of(waiting: &Waiting) -> Wait {
        if waiting.wait { Wait::UpTo(waiting.timeout) } else { Wait::No }
    }
}

/// Tells what was accepted, or follows it to its end where that is wanted.
pub(crate) async fn outcome(
    client: &Client,
    accepted: &Accepted,
    wait: Wait,
    (output, reach): (Output, &str),
) -> Result<Exit, Failure> {
    let Some(job) = accepted.jobs.first() else {
        return Err(Failure::Process { text: "Longshore made no job of it".to_owned() });
    };
    let Wait::UpTo(timeout) = wait else {
        output.document(accepted, || told(accepted, reach));
        return Ok(Exit::Succeeded);
    };
    let mut progress = Progress::new(output);
    progress.note(job.waits.clone());
    let end = follow(client, job.id, &mut progress);
    let end = tokio::select! {
        end = end => Some(end),
        () = passed(timeout) => None,
        () = config::process::shutdown_signal() => None,
    };
    progress.finish();
    match end {
        Some(end) => end.inspect_err(|_| progress.leave(job.id, reach)),
        None => {
            progress.leave(job.id, reach);
            Ok(Exit::WaitEnded)
        }
    }
}

/// Waits for a time to pass; for ever where there is none.
pub(crate) async fn passed(timeout: Option<Span>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout.into()).await,
        None => std::future::pending().await,
    }
}

fn told(accepted: &Accepted, reach: &str) -> String {
    let jobs = accepted
        .jobs
        .iter()
        .map(|job| format!("job     {}\ntarget  {}\nstatus  {}\n", job.id, job.target, job.status_url));
    let follow = accepted.jobs.iter().map(|job| format!("\nfollow it: {}\n", typed::watch(job.id, reach)));
    let mut waits: Vec<String> =
        accepted.jobs.iter().filter_map(|job| job.waits.as_ref()).map(with_hint).collect();
    waits.dedup();
    jobs.chain(waits.into_iter().map(|why| format!("\n{why}\n"))).chain(follow).collect()
}

/// A reason as people are told it.
fn with_hint(reason: &Reason) -> String {
    let hint = reason.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    format!("{}{hint}", reason.text)
}

/// Tells the events of a job until its end, or until it is held: that may take days.
pub(crate) async fn follow(client: &Client, job: JobId, progress: &mut Progress) -> Result<Exit, Failure> {
    let mut events = Following::job(client, job);
    let mut lookout = Lookout::of(client, job);
    loop {
        let event = {
            let mut next = pin!(events.next());
            loop {
                tokio::select! {
                    event = &mut next => break event?,
                    waits = lookout.found(), if !progress.has_begun => progress.note(waits),
                }
            }
        };
        lookout.heard();
        progress.tell(&event);
        if event.state().is_end() || event.state() == State::Held {
            return Ok(Exit::after(&event));
        }
    }
}

/// Events as lines; on a terminal with a bar below them that shows how many tasks run.
pub(crate) struct Progress {
    output: Output,
    teller: Teller,
    bar: Option<ProgressBar>,
    /// Whether somebody is at work on it, as far as was told.
    has_begun: bool,
    /// What it waits for, as far as is known.
    waits: Option<Reason>,
}

impl Progress {
    pub(crate) fn new(output: Output) -> Progress {
        let on_terminal = stdout().is_terminal() && stderr().is_terminal() && !output.is_json();
        Progress { bar: on_terminal.then(bar), ..Progress::lines(output) }
    }

    /// Lines only.
    pub(crate) fn lines(output: Output) -> Progress {
        Progress { output, teller: Teller::default(), bar: None, has_begun: false, waits: None }
    }

    /// Tells an event. False when nobody reads it any more.
    pub(crate) fn tell(&mut self, event: &Event) -> bool {
        self.has_begun = matches!(event.state(), State::Started | State::Progress);
        if event.state() != State::Accepted {
            self.waits = None;
        }
        if self.output.is_json() {
            return line(&String::from_utf8_lossy(&event.encode()));
        }
        let text = self.teller.tell(event);
        match &self.bar {
            None => line(&text),
            Some(bar) if event.state() == State::Progress => show(bar, event),
            Some(bar) => bar.suspend(|| line(&text)),
        }
    }

    /// Says what it waits for, once.
    fn note(&mut self, waits: Option<Reason>) {
        if let Some(reason) = waits.as_ref().filter(|_| self.waits.is_none()) {
            self.aside(&with_hint(reason));
        }
        self.waits = waits;
    }

    /// What a wait that ends before the deploy says.
    fn leave(&self, id: JobId, reach: &str) {
        let how_it_goes = self.waits.as_ref().map_or("the deploy goes on", |reason| &reason.text);
        self.aside(&format!("{how_it_goes}; follow it: {}", typed::watch(id, reach)));
    }

    /// Says something on standard error.
    fn aside(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(1);
    // The template is a constant; should it ever not parse, the library's own style does.
    let style = ProgressStyle::with_template("{spinner} {bar:24} {pos}/{len} running  {elapsed}  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.enable_steady_tick(TICK);
    bar
}

fn show(bar: &ProgressBar, event: &Event) -> bool {
    if let Some(tasks) = event.data.tasks {
        bar.set_length(tasks.wanted);
        bar.set_position(tasks.running.min(tasks.wanted));
    }
    if let Some(last) = event.data.output.last() {
        bar.set_message(last.clone());
    }
    true
}
