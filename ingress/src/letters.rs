//! The dead letters as an ingress reads them: by the job in them, and one reading at a time.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex as StdMutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use proto::{
    Event, JobId, State, TargetName,
    api::{JobName, LetterName},
};
use queue::{Closed, DeadLetter, Queue, QueueError};
use serde_json::Value;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};

/// How long the letters may take to be read, and how long one may take to be closed.
const LIST_WITHIN: Duration = Duration::from_secs(20);
const CLOSE_WITHIN: Duration = Duration::from_secs(10);
/// How many of the jobs whose letters were closed are remembered.
const MOST_CLOSED: usize = 1_000;

/// What could not be carried out and waits for somebody to decide.
pub(crate) struct Letters {
    queue: Arc<dyn Queue>,
    /// The letters may be many megabytes: they are in memory once at a time.
    reading: Mutex<()>,
    /// What closes letters takes turns: two callers who replay the same job make one of it.
    closing: Mutex<()>,
    /// The jobs whose letters were closed here last.
    closed: StdMutex<VecDeque<JobId>>,
    /// How many letters were closed here.
    closings: AtomicU64,
}

impl Letters {
    pub(crate) fn new(queue: Arc<dyn Queue>) -> Letters {
        Letters {
            queue,
            reading: Mutex::default(),
            closing: Mutex::default(),
            closed: StdMutex::default(),
            closings: AtomicU64::new(0),
        }
    }

    /// Keeps others from closing letters meanwhile.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.closing.lock().await
    }

    /// Shows `look` the letters that nobody closed, oldest first.
    ///
    /// # Errors
    /// When they could not be read in time.
    pub(crate) async fn look_through<T>(
        &self,
        look: impl FnOnce(Vec<DeadLetter>) -> T,
    ) -> Result<T, QueueError> {
        let _reading = self.reading.lock().await;
        match timeout(LIST_WITHIN, self.queue.dead_letters()).await {
            Ok(letters) => letters.map(look),
            Err(_) => Err(QueueError::Unconfirmed { attempted: "list the dead letters" }),
        }
    }

    /// The open letters of what `name` names, oldest first: one that died may have several.
    ///
    /// # Errors
    /// When they could not be read in time.
    pub(crate) async fn of(&self, name: JobName) -> Result<Vec<DeadLetter>, QueueError> {
        let id = match name {
            JobName::Job(id) => Some(id),
            // A letter of a job that has several names them all.
            JobName::Letter(LetterName(number)) => {
                self.those(move |letter| letter.id.0 == number).await?.first().and_then(id_in)
            }
        };
        let text = id.map(|id| id.to_string());
        let may_be = move |letter: &DeadLetter| text.as_deref().is_none_or(|text| mentions(letter, text));
        self.those(move |letter| may_be(letter) && is_meant(letter, id, name)).await
    }

    /// An open letter that would be of a dead job, if whoever left it were known for one of the fleet.
    ///
    /// # Errors
    /// When the letters could not be read in time.
    pub(crate) async fn left_behind_of(&self, id: JobId) -> Result<Option<DeadLetter>, QueueError> {
        let text = id.to_string();
        let of_it = move |letter: &DeadLetter| {
            mentions(letter, &text) && letter.left_behind().is_some_and(|(job, _)| job.id == id)
        };
        Ok(self.those(of_it).await?.into_iter().next())
    }

    /// The open letters that are `wanted`, however many others there are.
    async fn those(
        &self,
        wanted: impl Fn(&DeadLetter) -> bool + Send + Sync + 'static,
    ) -> Result<Vec<DeadLetter>, QueueError> {
        let _reading = self.reading.lock().await;
        match timeout(LIST_WITHIN, self.queue.letters_that(Arc::new(wanted))).await {
            Ok(letters) => letters,
            Err(_) => Err(QueueError::Unconfirmed { attempted: "list the dead letters" }),
        }
    }

    /// Closes letters, and gives what closed the first of them: where that is not `how`, another ingress was there before,
    /// and sees to the rest. Stops at the first that could not be closed.
    ///
    /// # Errors
    /// When one could not be closed in time: the rest is open.
    pub(crate) async fn close(&self, letters: &[DeadLetter], how: &Closed) -> Result<Closed, QueueError> {
        for letter in letters {
            let closed = match timeout(CLOSE_WITHIN, self.queue.close_letter(letter.id, how.clone())).await {
                Ok(closed) => closed?,
                Err(_) => return Err(QueueError::Unconfirmed { attempted: "close a dead letter" }),
            };
            self.closings.fetch_add(1, Ordering::Relaxed);
            id_in(letter).into_iter().for_each(|id| self.note_closed(id));
            if closed != *how {
                return Ok(closed);
            }
        }
        Ok(how.clone())
    }

    /// How many letters were closed here since the start.
    pub(crate) fn closings(&self) -> u64 {
        self.closings.load(Ordering::Relaxed)
    }

    /// Whether a letter of the job was closed here, not long ago.
    pub(crate) fn was_closed(&self, id: JobId) -> bool {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    fn note_closed(&self, id: JobId) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.push_back(id);
        let excess = closed.len().saturating_sub(MOST_CLOSED);
        closed.drain(..excess);
    }
}

/// Whether an id, as it is written, stands anywhere in a letter: of thousands few are taken to pieces to find one.
fn mentions(letter: &DeadLetter, id: &str) -> bool {
    std::str::from_utf8(&letter.body).is_ok_and(|body| body.contains(id))
}

/// Whether `name` means the letter; `id` is of the job in the letter that it names, where there is one.
fn is_meant(letter: &DeadLetter, id: Option<JobId>, name: JobName) -> bool {
    match (id, name) {
        (Some(id), _) => id_in(letter) == Some(id),
        (None, JobName::Letter(LetterName(number))) => letter.id.0 == number,
        (None, JobName::Job(_)) => false,
    }
}

/// The name of a letter.
pub(crate) fn name_of(letter: &DeadLetter) -> LetterName {
    LetterName(letter.id.0)
}

/// The id of the job in a letter, also of one that only a newer version can read.
pub(crate) fn id_in(letter: &DeadLetter) -> Option<JobId> {
    match letter.job() {
        Some(job) => Some(job.id),
        None => field(letter, "id"),
    }
}

/// That the job in a letter is dead, where the letter tells whose job it was.
pub(crate) fn death_in(letter: &DeadLetter) -> Option<Event> {
    let mut event = match letter.job() {
        Some(job) => Event::of(&job, State::Dead, letter.attempts, 0),
        // Of one that only a newer version can read there is the name alone.
        None => {
            let (id, target): (JobId, TargetName) = (field(letter, "id")?, field(letter, "target")?);
            Event::of_name(id, &target, (State::Dead, letter.attempts, 0))
        }
    };
    event.data.reason = Some(letter.reason.clone());
    Some(event)
}

fn field<T: std::str::FromStr>(letter: &DeadLetter, name: &str) -> Option<T> {
    // Whoever may write to the intake could name a job of others, and have it told dead.
    if letter.submitted {
        return None;
    }
    let body: Value = serde_json::from_slice(&letter.body).ok()?;
    body.get(name)?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proto::{Reason, Timestamp, reason};
    use queue::LetterId;

    use super::*;
    use crate::view::samples;

    fn letter(number: u64, body: impl Into<Vec<u8>>) -> DeadLetter {
        DeadLetter {
            id: LetterId(number),
            body: body.into().into(),
            pool: None,
            attempts: 2,
            reason: Reason::new(reason::GIVEN_UP, "no more"),
            died_at: Timestamp::UNIX_EPOCH,
            submitted: false,
            left_by: None,
        }
    }

    fn newer(id: JobId) -> String {
        format!("{{\"version\":9,\"id\":\"{id}\",\"target\":\"office/web\"}}")
    }

    #[test]
    fn a_job_is_named_by_its_id_and_by_each_of_its_letters() {
        let job = samples::job(JobId::mint(Timestamp::now(), None), "web");
        let other = JobId::mint(Timestamp::now(), Some(job.id));
        let all =
            [letter(1, job.encode()), letter(2, newer(other)), letter(5, job.encode()), letter(7, "no")];
        let numbers = |name: &str| -> Vec<u64> {
            let name: JobName = name.parse().unwrap();
            let id = match name {
                JobName::Job(id) => Some(id),
                JobName::Letter(LetterName(number)) => {
                    all.iter().find(|letter| letter.id.0 == number).and_then(id_in)
                }
            };
            let meant: Vec<_> = all.iter().filter(|letter| is_meant(letter, id, name)).collect();
            // What is left out unread is none that is meant.
            let text = id.map(|id| id.to_string());
            assert!(meant.iter().all(|letter| text.as_deref().is_none_or(|text| mentions(letter, text))));
            meant.into_iter().map(|letter| letter.id.0).collect()
        };
        assert_eq!(numbers(&job.id.to_string()), [1, 5]);
        assert_eq!(numbers("letter-5"), [1, 5]);
        assert_eq!(numbers(&other.to_string()), [2]);
        assert_eq!((numbers("letter-2"), numbers("letter-7")), (vec![2], vec![7]));
        assert_eq!(numbers("letter-3"), [0; 0]);
        assert_eq!(numbers(&JobId::mint(Timestamp::now(), Some(other)).to_string()), [0; 0]);
    }

    #[test]
    fn what_came_in_over_the_intake_names_no_job_of_others() {
        let job = samples::job(JobId::mint(Timestamp::now(), None), "web");
        for body in [job.encode(), newer(job.id).into_bytes()] {
            let forged = DeadLetter { submitted: true, ..letter(1, body) };
            assert_eq!((id_in(&forged), death_in(&forged)), (None, None));
        }
    }

    #[test]
    fn a_death_is_told_with_all_that_can_be_read() {
        let job = samples::job(JobId::mint(Timestamp::now(), None), "web");
        let whole = death_in(&letter(1, job.encode())).unwrap();
        assert_eq!((whole.job(), whole.state(), whole.data.attempt), (Some(&job), State::Dead, 2));
        assert_eq!(whole.data.reason.unwrap().code, reason::GIVEN_UP);
        let named = death_in(&letter(2, newer(job.id))).unwrap();
        assert_eq!(
            (named.job_id(), named.job(), named.subject.to_string()),
            (job.id, None, "office/web".into())
        );
        // The same utterance, whoever says it.
        assert_eq!(named.id, whole.id);
        for silent in
            ["no json", "{}", &format!("{{\"id\":\"{}\"}}", job.id), "{\"id\":7,\"target\":\"web\"}"]
        {
            assert_eq!(death_in(&letter(3, silent)), None, "{silent}");
        }
    }
}
