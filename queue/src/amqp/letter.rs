//! One dead letter as a message: what we write into its headers, and what is made of it when it is read.

use std::borrow::Cow;

use bytes::Bytes;
use jiff::Timestamp;
use lapin::{
    message::Delivery,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use proto::{Job, PoolName, Reason, reason};
use uuid::Uuid;

use super::{
    envelope::SENDER,
    ladder::{attempt_of, number},
    logins::Logins,
    message::Message,
    names::job_key,
};
use crate::{DeadLetter, LetterId, Position};

const REASON: &str = "longshore-reason";
const REASON_TEXT: &str = "longshore-reason-text";
const REASON_HINT: &str = "longshore-reason-hint";
const POOL: &str = "longshore-pool";
const ATTEMPTS: &str = "longshore-attempts";
const DIED_AT: &str = "longshore-died-at";

/// Bytes of a text at most. All headers of a message go in one frame, which cannot be split: a larger one makes the
/// broker close the connection, with all that is under way on it.
const LONGEST_TEXT: usize = 2048;

/// What stands at the end of a text that was cut.
const CUT: &str = " …";

/// Why the broker itself dead-lettered a message, and out of which queue.
const BROKERS_REASON: &str = "x-first-death-reason";
const BROKERS_QUEUE: &str = "x-first-death-queue";

/// Adds what a letter says beside its body.
pub(super) fn say(headers: &mut FieldTable, pool: Option<&PoolName>, attempts: u32, reason: &Reason) {
    let mut text = |name: &str, text: &str| {
        headers.insert(name.into(), AMQPValue::LongString(LongString::from(shortened(text).as_ref())));
    };
    text(REASON, &reason.code);
    text(REASON_TEXT, &reason.text);
    reason.hint.iter().for_each(|hint| text(REASON_HINT, hint));
    pool.into_iter().for_each(|pool| text(POOL, pool.as_str()));
    text(DIED_AT, &Timestamp::now().to_string());
    headers.insert(ATTEMPTS.into(), AMQPValue::LongLongInt(attempts.into()));
}

/// As much of a text as goes into a header.
fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST_TEXT {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(LONGEST_TEXT - CUT.len());
    Cow::Owned(format!("{}{CUT}", &text[..end]))
}

/// A letter for a job that nobody has in hand.
pub(super) fn message(dead: &str, body: Bytes, pool: &PoolName, attempts: u32, reason: &Reason) -> Message {
    let job = Job::decode(&body).ok();
    let key = job.as_ref().map_or_else(|| format!("{pool}.unknown"), |job| job_key(&job.target));
    let id = job.map_or_else(|| Uuid::now_v7().to_string(), |job| job.id.to_string());
    let mut headers = FieldTable::default();
    say(&mut headers, Some(pool), attempts, reason);
    let mut message = Message::new(dead, &key, &id, body);
    message.properties = message.properties.with_headers(headers);
    message
}

/// By what a message that the fleet published is told from others.
#[derive(Clone, Copy)]
pub(super) struct Ours<'a> {
    /// As whom the fleet logs in.
    pub(super) logins: &'a Logins,
    /// The queue of what is for ingresses.
    pub(super) intake: &'a str,
}

/// The letter in a message of the stream; `not_before` is a time at which it had not died yet.
pub(super) fn letter_of(
    position: Position,
    delivery: Delivery,
    not_before: Timestamp,
    fleet: Ours<'_>,
) -> DeadLetter {
    let left_by = fleet.left_by(&delivery);
    if left_by.is_some() {
        fleet.logins.note_writer(&delivery, "a dead letter");
    }
    let submitted = left_by.is_some() || fleet.was_submitted(&delivery);
    let ours = text(&delivery, REASON).is_some();
    let attempts = number(&delivery, ATTEMPTS).and_then(|attempts| u32::try_from(attempts).ok());
    let died_at = text(&delivery, DIED_AT).and_then(|time| time.parse().ok());
    DeadLetter {
        id: LetterId(position.0),
        pool: pool_of(&delivery).filter(|_| !submitted),
        submitted,
        left_by,
        attempts: attempts.filter(|_| ours).unwrap_or_else(|| attempt_of(&delivery)),
        reason: reason_of(&delivery),
        died_at: died_at.filter(|_| ours).unwrap_or_else(|| given_up_at(&delivery).max(not_before)),
        body: delivery.data.into(),
    }
}

fn reason_of(delivery: &Delivery) -> Reason {
    if let Some(code) = text(delivery, REASON) {
        return Reason {
            code: code.into(),
            text: text(delivery, REASON_TEXT).unwrap_or_default(),
            hint: text(delivery, REASON_HINT),
        };
    }
    let text = match text(delivery, BROKERS_REASON).as_deref() {
        Some("delivery_limit") => "it came back to its queue more often than the broker allows".to_owned(),
        Some(other) => format!("the broker put it aside as `{other}`"),
        None => "it was put among the dead letters without a word why".to_owned(),
    };
    Reason::new(reason::GIVEN_UP, text)
        .hint("look into the workers' logs for what kept them from it, and replay it then")
}

impl Ours<'_> {
    /// Whether it is no job of ours, whatever its body says. Jobs and their letters are published by the fleet alone, and
    /// the broker attests it; a publisher writes the other headers as it likes. What the fleet published for an
    /// ingress, or on behalf of somebody who did, names who sent it, no pool, or the intake as its queue.
    fn was_submitted(self, delivery: &Delivery) -> bool {
        !self.logins.sent(delivery) || self.was_for_an_ingress(delivery)
    }

    /// Who left what would be a letter of a job's if they were one of the fleet: its processes may log in under names of
    /// their own that nobody wrote down here.
    fn left_by(self, delivery: &Delivery) -> Option<String> {
        let user = delivery.properties.user_id().as_ref().map(ShortString::as_str)?;
        let is_like_a_job = !self.was_for_an_ingress(delivery) && Job::decode(&delivery.data).is_ok();
        (!self.logins.knows(user) && is_like_a_job).then(|| user.to_owned())
    }

    fn was_for_an_ingress(self, delivery: &Delivery) -> bool {
        let on_behalf = header(delivery, SENDER).is_some();
        let of_no_pool = text(delivery, REASON).is_some() && text(delivery, POOL).is_none();
        let first = text(delivery, BROKERS_QUEUE);
        let mut died_in = first.into_iter().chain(queues_it_died_in(delivery));
        on_behalf || of_no_pool || died_in.any(|queue| is_of(&queue, self.intake))
    }
}

/// The intake itself, or a rung of its ladder.
fn is_of(queue: &str, intake: &str) -> bool {
    queue.strip_prefix(intake).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// All of them: some brokers believe what a publisher says of earlier ones, and add the true one to it.
fn queues_it_died_in(delivery: &Delivery) -> Vec<String> {
    let Some(AMQPValue::FieldArray(deaths)) = header(delivery, "x-death") else { return Vec::new() };
    let named = |death: &AMQPValue| {
        let AMQPValue::FieldTable(death) = death else { return None };
        let AMQPValue::LongString(queue) = death.inner().get("queue")? else { return None };
        Some(String::from_utf8_lossy(queue.as_bytes()).into_owned())
    };
    deaths.as_slice().iter().filter_map(named).collect()
}

/// The pool that the letter names, or else its job's key does: `<pool>.<target>`.
fn pool_of(delivery: &Delivery) -> Option<PoolName> {
    let said = text(delivery, POOL).and_then(|pool| pool.parse().ok());
    said.or_else(|| delivery.routing_key.as_str().split_once('.')?.0.parse().ok())
}

/// When the broker gave it up: what it says itself, which some brokers leave out of streams, or else when the
/// job was accepted.
fn given_up_at(delivery: &Delivery) -> Timestamp {
    let accepted = || Job::decode(&delivery.data).ok().map(|job| job.accepted_at);
    brokers_time(delivery).or_else(accepted).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn brokers_time(delivery: &Delivery) -> Option<Timestamp> {
    let AMQPValue::FieldArray(deaths) = header(delivery, "x-death")? else { return None };
    let AMQPValue::FieldTable(newest) = deaths.as_slice().first()? else { return None };
    let AMQPValue::Timestamp(seconds) = newest.inner().get("time")? else { return None };
    Timestamp::from_second(i64::try_from(*seconds).ok()?).ok()
}

fn text(delivery: &Delivery, name: &str) -> Option<String> {
    if let AMQPValue::LongString(text) = header(delivery, name)? {
        return Some(String::from_utf8_lossy(text.as_bytes()).into_owned());
    }
    None
}

fn header<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a AMQPValue> {
    delivery.properties.headers().as_ref()?.inner().get(name)
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::{super::logins::tests::logins, *};

    fn letter(headers: &[(&str, &str)]) -> DeadLetter {
        letter_from(Some("longshore"), headers)
    }

    fn letter_from(user: Option<&str>, headers: &[(&str, &str)]) -> DeadLetter {
        letter_with(b"{}", user, headers)
    }

    fn letter_with(body: &[u8], user: Option<&str>, headers: &[(&str, &str)]) -> DeadLetter {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), AMQPValue::LongString((*value).into()));
        }
        let mut delivery = Delivery::mock(1, "".into(), "office.web".into(), false, body.to_vec());
        delivery.properties = BasicProperties::default().with_headers(table);
        if let Some(user) = user {
            delivery.properties = delivery.properties.with_user_id(user.into());
        }
        let fleet = logins("longshore", &["dockers"]);
        let ours = Ours { logins: &fleet, intake: "longshore.intake" };
        letter_of(Position(7), delivery, Timestamp::UNIX_EPOCH, ours)
    }

    #[test]
    fn what_was_for_an_ingress_is_told_from_jobs() {
        let told = |headers: &[(&str, &str)]| {
            let letter = letter(headers);
            (letter.submitted, letter.pool.map(|pool| pool.to_string()))
        };
        let office = || Some("office".to_owned());
        assert_eq!(told(&[(REASON, "undecodable"), (POOL, "office")]), (false, office()));
        assert_eq!(told(&[(REASON, "undecodable")]), (true, None));
        assert_eq!(told(&[(BROKERS_QUEUE, "longshore.intake")]), (true, None));
        assert_eq!(told(&[(BROKERS_QUEUE, "longshore.jobs.office")]), (false, office()));
        assert_eq!(told(&[(REASON, "x"), (POOL, "office"), (SENDER, "ci")]), (true, None));
        assert_eq!(told(&[(SENDER, "")]), (true, None), "published by us for somebody who gave no name");
    }

    #[test]
    fn only_what_the_fleet_published_is_a_job_of_ours() {
        let forged = [(REASON, "unreachable"), (POOL, "office"), (BROKERS_QUEUE, "longshore.jobs.office")];
        let submitted = |user| letter_from(user, &forged).submitted;
        assert_eq!([Some("longshore"), Some("dockers")].map(submitted), [false, false]);
        assert_eq!([None, Some("ci"), Some("")].map(submitted), [true, true, true]);
    }

    #[test]
    fn who_left_what_reads_like_a_job_of_ours_is_named() {
        let job = crate::contract::job(&"office".parse().unwrap(), "web").encode();
        let worked = [(REASON, "unreachable"), (POOL, "office")];
        let left_by = |user, headers: &[(&str, &str)]| letter_with(&job, user, headers).left_by;
        assert_eq!(left_by(Some("uw"), &worked).as_deref(), Some("uw"));
        assert_eq!(left_by(Some("uw"), &[(BROKERS_QUEUE, "longshore.jobs.office")]).as_deref(), Some("uw"));
        for ours in ["longshore", "dockers"] {
            assert_eq!(left_by(Some(ours), &worked), None);
        }
        assert_eq!(left_by(None, &worked), None, "nobody to be named");
        assert_eq!(left_by(Some("ci"), &[(BROKERS_QUEUE, "longshore.intake")]), None);
        assert_eq!(left_by(Some("ci"), &[(REASON, "undecodable")]), None, "laid aside by an ingress");
        assert_eq!(letter_with(b"{}", Some("uw"), &worked).left_by, None, "no job is in it");
        let letter = letter_with(&job, Some("uw"), &worked);
        assert!(letter.submitted && letter.job().is_none() && letter.pool.is_none());
        assert_eq!(letter.left_behind().map(|(job, user)| (job.encode(), user)), Some((job.clone(), "uw")));
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_between_letters_and_says_so() {
        for letter in ["x", "ü", "€", "🚢"] {
            let long = letter.repeat(LONGEST_TEXT);
            let short = shortened(&long);
            let kept = short.strip_suffix(CUT).unwrap_or(&short);
            assert!(short.len() <= LONGEST_TEXT && long.starts_with(kept), "{short}");
            assert!(short.len() > LONGEST_TEXT - 8, "{}", short.len());
        }
        let fits = "x".repeat(LONGEST_TEXT);
        assert_eq!(shortened(&fits), fits);
    }
}
