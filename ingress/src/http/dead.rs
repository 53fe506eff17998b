//! What could not be carried out, as callers are told of it: `GET /v1/jobs?state=dead`, and the letter of a job.

use std::collections::{HashMap, HashSet};

use base64::{Engine, prelude::BASE64_STANDARD};
use proto::{
    JobId, State, TargetName,
    api::{
        DeadJob, DeadPage, JobName, JobStatus, JobSummary, Letter, LetterBody, LetterName, Shown,
        UnreadableLetter, UnreadableStatus,
    },
};
use queue::{DeadLetter, QueueError};

use super::{App, query::Parameters, unknown_job};
use crate::{
    access::principal::Principal,
    ingress::Ingress,
    letters::{id_in, name_of},
    problem::{Kind, Problem},
    timeline,
    view::View,
};

/// A page of the open letters, the newest first.
pub(super) async fn page(
    ingress: &App,
    parameters: &Parameters,
    principal: &Principal,
) -> Result<DeadPage, Problem> {
    let ((target, before), limit) = (parameters.dead()?, parameters.limit()?);
    target.as_ref().map_or(Ok(()), |target| principal.demand("read", target))?;
    if !ingress.queue.is_available() {
        return Err(away());
    }
    let replayed = ingress.view.replayed();
    let listed = ingress.letters.look_through(|letters| {
        let principal = Some(principal);
        let mut waiting = Waiting { view: &ingress.view, principal, replayed, target, named: HashSet::new() };
        let wanted: Vec<DeadLetter> =
            letters.into_iter().filter(|letter| waiting.has(letter)).collect::<Vec<_>>();
        paged(wanted, before, limit)
    });
    listed.await.map_err(|error| unlisted(&error))
}

/// How many letters are listed for one who sees all.
///
/// # Errors
/// When they could not be read in time.
pub(crate) async fn count_the_dead(ingress: &Ingress) -> Result<usize, QueueError> {
    let (view, replayed) = (&ingress.view, ingress.view.replayed());
    let counted = ingress.letters.look_through(|letters| {
        let mut waiting = Waiting { view, principal: None, replayed, target: None, named: HashSet::new() };
        letters.iter().filter(|letter| waiting.has(letter)).count()
    });
    counted.await
}

/// Which letters are listed: of each job the oldest, which tells best what it died of.
struct Waiting<'a> {
    view: &'a View,
    /// None sees all.
    principal: Option<&'a Principal>,
    replayed: HashMap<JobId, JobId>,
    target: Option<TargetName>,
    named: HashSet<JobId>,
}

impl Waiting<'_> {
    fn has(&mut self, letter: &DeadLetter) -> bool {
        let job = letter.job();
        if self.target.is_some() && job.as_ref().map(|job| &job.target) != self.target.as_ref() {
            return false;
        }
        if let Some(principal) = self.principal.filter(|principal| !principal.sees_all())
            && !job.as_ref().is_some_and(|job| principal.may_see(&job.target))
        {
            return false;
        }
        let Some(id) = job.map(|job| job.id).or_else(|| id_in(letter)) else { return true };
        // The first end counts, so a letter of a job that ended otherwise is void.
        let ended_otherwise = self.view.state(id).is_some_and(|state| state.is_end() && state != State::Dead);
        !ended_otherwise && !self.replayed.contains_key(&id) && self.named.insert(id)
    }
}

fn paged(letters: Vec<DeadLetter>, before: Option<LetterName>, limit: usize) -> DeadPage {
    let mut page = DeadPage { jobs: Vec::new(), unreadable: Vec::new(), next: None };
    let is_before = |letter: &DeadLetter| before.is_none_or(|before| name_of(letter) < before);
    let mut older = letters.into_iter().rev().filter(is_before);
    for letter in older.by_ref().take(limit) {
        page.next = Some(name_of(&letter));
        match letter.job() {
            Some(job) => {
                let summary = JobSummary { job, state: State::Dead, held: None, image: None };
                page.jobs.push(DeadJob { summary, letter: told(&letter, false) });
            }
            None => {
                let (id, letter) = (id_in(&letter), told(&letter, false));
                page.unreadable.push(UnreadableLetter { id, letter });
            }
        }
    }
    if older.next().is_none() {
        page.next = None;
    }
    page
}

/// What is kept of a dead job; none where it was replayed or discarded, or cannot be read now.
pub(super) async fn letter_of(ingress: &App, name: JobName) -> Option<Letter> {
    if !ingress.queue.is_available() {
        return None;
    }
    match first_of(ingress, name).await {
        Ok(Some(letter)) => Some(told(&letter, true)),
        Ok(None) => None,
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a dead job is shown without its letter"
            );
            None
        }
    }
}

/// The first open letter of a job, or else one that would be.
async fn first_of(ingress: &App, name: JobName) -> Result<Option<DeadLetter>, QueueError> {
    let first = ingress.letters.of(name).await?.into_iter().next();
    match (first, name) {
        (None, JobName::Job(id)) => ingress.letters.left_behind_of(id).await,
        (first, _) => Ok(first),
    }
}

/// What a letter's name, or the id of a job that nobody here can read, shows.
pub(super) async fn shown(ingress: &App, name: JobName) -> Result<Shown, Problem> {
    let letters = letters(ingress, name).await?;
    let letter = letters.first().ok_or_else(|| unknown_job(name))?;
    let id = id_in(letter);
    let events = match id {
        Some(id) => timeline::events_of(&ingress.queue, &ingress.view, (id, letter)).await,
        None => Vec::new(),
    };
    Ok(match letter.job() {
        Some(job) => {
            let letter = Some(told(letter, true));
            Shown::Job(Box::new(JobStatus {
                job,
                state: State::Dead,
                events,
                held: None,
                waits: None,
                letter,
            }))
        }
        None => {
            let unreadable = UnreadableLetter { id, letter: told(letter, true) };
            Shown::Letter(Box::new(UnreadableStatus { unreadable, events }))
        }
    })
}

/// The open letters of a job, or the one of a name.
pub(super) async fn letters(ingress: &App, name: JobName) -> Result<Vec<DeadLetter>, Problem> {
    if !ingress.queue.is_available() {
        return Err(away());
    }
    ingress.letters.of(name).await.map_err(|error| unlisted(&error))
}

fn told(letter: &DeadLetter, with_body: bool) -> Letter {
    let body = with_body.then(|| LetterBody::of(&letter.body, |body| BASE64_STANDARD.encode(body)));
    Letter {
        name: name_of(letter),
        pool: letter.pool.clone(),
        attempts: letter.attempts,
        reason: letter.reason.clone(),
        died_at: letter.died_at,
        left_by: letter.left_by.clone(),
        body,
    }
}

/// Why a letter cannot be replayed that reads like one of Longshore's own.
pub(super) fn left_by(letter: LetterName, user: &str) -> String {
    format!(
        "{letter} was left by the broker's user `{user}`, which is none of `queue: {{user, logins}}` of this server"
    )
}

/// What makes it one that can.
pub(super) fn mended_for(user: &str) -> String {
    format!(
        "where a process of Longshore logs in as `{user}`, write that name into `queue: {{logins: [\u{2026}]}}` of this server, \
         start it again, and then replay the job; where none does, somebody else wrote this"
    )
}

/// While the broker is away its dead letters are too.
pub(super) fn away() -> Problem {
    Kind::BrokerAway
        .with("the dead jobs are kept by the broker, which cannot be reached; nothing of them is lost")
}

fn unlisted(error: &QueueError) -> Problem {
    tracing::warn!(error = error as &dyn std::error::Error, "the dead letters could not be listed");
    if matches!(error, QueueError::Storage { .. }) {
        return Kind::Unavailable
            .with("the dead jobs cannot be read now, since the queue's disk fails; nothing of them is lost")
            .hint("look whether the disk of its directory is full, and at the log of this server");
    }
    Kind::BrokerAway.with("the dead jobs cannot be read now; nothing of them is lost")
}
