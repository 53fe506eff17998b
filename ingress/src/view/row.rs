//! A job as the view keeps it: small.

use proto::{
    Cause, ChainId, Digest, Event, Gates, ImageChange, ImageRef, Job, JobId, Operation, Reason, State,
    TargetName, Timestamp,
};
use queue::Position;

use super::course::Course;

/// A job without what can be told from the rest of it, and its state.
pub(super) struct Row {
    chain: ChainId,
    target: TargetName,
    operation: Operation,
    cause: Cause,
    accepted_at: Timestamp,
    deadline: Timestamp,
    /// What few jobs have.
    rare: Option<Box<Rare>>,
    /// What it replaced and what it brought, by their content, as far as its end told.
    contents: Option<Box<Contents>>,
    /// Why it was held last.
    held: Option<Box<Reason>>,
    /// The image that it waits with, once a worker looked up which one that is.
    awaited: Option<Box<ImageRef>>,
    /// The image that it brought, where it names none itself.
    brought: Option<Box<ImageRef>>,
    course: Course,
    first: Option<Position>,
}

/// Two images by their content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) from: Option<Digest>,
    pub(super) to: Option<Digest>,
}

struct Rare {
    version: u32,
    not_before: Option<Timestamp>,
    gates: Gates,
    replays: Option<JobId>,
    traceparent: Option<String>,
}

impl Row {
    pub(super) fn of(job: &Job) -> Row {
        let common = job.version == Job::VERSION
            && job.not_before.is_none()
            && job.gates.is_open()
            && job.replays.is_none()
            && job.traceparent.is_none();
        let rare = (!common).then(|| {
            let (not_before, gates, replays) = (job.not_before, job.gates.clone(), job.replays);
            Box::new(Rare {
                version: job.version,
                not_before,
                gates,
                replays,
                traceparent: job.traceparent.clone(),
            })
        });
        Row {
            chain: job.chain,
            target: job.target.clone(),
            operation: job.operation.clone(),
            cause: job.cause.clone(),
            accepted_at: job.accepted_at,
            deadline: job.deadline,
            rare,
            contents: None,
            held: None,
            awaited: None,
            brought: None,
            course: Course::default(),
            first: None,
        }
    }

    /// The whole job again.
    pub(super) fn job(&self, id: JobId) -> Job {
        let rare = self.rare.as_deref();
        Job {
            version: rare.map_or(Job::VERSION, |rare| rare.version),
            id,
            chain: self.chain,
            target: self.target.clone(),
            operation: self.operation.clone(),
            slots: self.operation.slots(),
            cause: self.cause.clone(),
            accepted_at: self.accepted_at,
            not_before: rare.and_then(|rare| rare.not_before),
            deadline: self.deadline,
            gates: rare.map(|rare| rare.gates.clone()).unwrap_or_default(),
            replays: rare.and_then(|rare| rare.replays),
            traceparent: rare.and_then(|rare| rare.traceparent.clone()),
        }
    }

    /// Takes in what the history says.
    pub(super) fn take_in(&mut self, position: Position, event: &Event) {
        self.first.get_or_insert(position);
        if event.state() == State::Held {
            self.held = event.data.reason.clone().map(Box::new);
            // The first that is told counts: workers go by the same.
            self.awaited = self.awaited.take().or_else(|| event.awaited_image().cloned().map(Box::new));
        }
        if event.state().is_end() && !self.state().is_end() {
            let image = event.data.image.as_ref();
            self.contents = image.map(|image| Box::new(Contents::of(image)));
            let brought = image.and_then(|image| image.to.clone());
            self.brought = brought.filter(|_| self.operation.image().is_none()).map(Box::new);
        }
        self.course.take_in(event);
    }

    /// What it replaced and what it brought, by their content, as far as its end told.
    pub(super) fn contents(&self) -> Contents {
        self.contents.as_deref().cloned().unwrap_or_default()
    }

    /// Takes in the end that the history told of before it told of the job.
    pub(super) fn ended_before(&mut self, (position, end): (Position, State)) {
        self.first = Some(position);
        self.course = Course::ended(end);
    }

    pub(super) fn state(&self) -> State {
        self.course.state()
    }

    pub(super) fn has_begun(&self) -> bool {
        self.course.has_begun()
    }

    pub(super) fn accepted_at(&self) -> Timestamp {
        self.accepted_at
    }

    pub(super) fn why_held(&self) -> Option<&Reason> {
        self.held.as_deref().filter(|_| self.state() == State::Held)
    }

    /// The image that it waits, or waited, with, by its content, as far as that was told.
    pub(super) fn awaited(&self) -> Option<&ImageRef> {
        self.awaited.as_deref()
    }

    /// The image that it brought which names none, as far as its end told.
    pub(super) fn brought(&self) -> Option<&ImageRef> {
        self.brought.as_deref()
    }

    pub(super) fn target(&self) -> &TargetName {
        &self.target
    }

    pub(super) fn operation(&self) -> &Operation {
        &self.operation
    }

    /// Bytes that it holds beyond what every row does.
    pub(super) fn weight(&self) -> usize {
        match &self.operation {
            Operation::DeployStack(text) => text.weight(),
            Operation::DeployGit(git) => git.weight(),
            Operation::SetImage { .. }
            | Operation::RemoveStack { .. }
            | Operation::Migrate { .. }
            | Operation::Start
            | Operation::Stop
            | Operation::Restart
            | Operation::Redeploy
            | Operation::Rollback { .. }
            | Operation::PruneImages { .. }
            | Operation::Hold { .. }
            | Operation::Release { .. }
            | Operation::Cancel { .. } => 0,
        }
    }

    pub(super) fn replays(&self) -> Option<JobId> {
        self.rare.as_deref()?.replays
    }

    pub(super) fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Where the history first tells of the job.
    pub(super) fn first(&self) -> Option<Position> {
        self.first
    }
}

impl Contents {
    fn of(image: &ImageChange) -> Contents {
        let digest = |image: &Option<ImageRef>| image.as_ref().and_then(|image| image.digest().cloned());
        Contents { from: digest(&image.from), to: digest(&image.to) }
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        [&self.from, &self.to].into_iter().flatten().any(|known| known == digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::samples;

    #[test]
    fn a_job_comes_back_whole() {
        let plain = samples::job(JobId::mint(Timestamp::now(), None), "web");
        let mut rare = plain.clone();
        rare.not_before = Some(Timestamp::now());
        rare.replays = Some(plain.id);
        rare.traceparent = Some("00-1-2-00".to_owned());
        for job in [plain, rare] {
            assert_eq!(Row::of(&job).job(job.id), job);
        }
    }

    #[test]
    fn a_job_that_names_no_image_is_told_with_the_one_that_it_brought() {
        let image: ImageRef = "docker.io/acme/web:1".parse().unwrap();
        let named = samples::job(JobId::mint(Timestamp::now(), None), "web");
        let rollback = Operation::Rollback { service: None, job: None, image: None };
        let back = Job { slots: rollback.slots(), operation: rollback, ..named.clone() };
        for (job, brought) in [(&named, None), (&back, Some(&image))] {
            let mut row = Row::of(job);
            assert_eq!(row.brought(), None);
            let mut end = Event::of(job, State::Succeeded, 1, 0);
            end.data.image = Some(ImageChange { from: None, to: Some(image.clone()) });
            row.take_in(Position(1), &end);
            assert_eq!(row.brought(), brought);
        }
    }

    #[test]
    fn a_row_is_a_few_hundred_bytes() {
        assert!(size_of::<Row>() <= 400, "{}", size_of::<Row>());
    }
}
