//! What a wish says beside its target and operation: from when and until when, and in which version of these words.

use std::time::Duration;

use proto::{Job, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    gates,
    problem::{Kind, Problem},
    route::Wish,
    source::without_mark,
};

/// What a caller may say.
const KEYS: [&str; 8] =
    ["target", "operation", "image", "service", "not_before", "deadline", "now", "version"];
/// What else a job has when it is shown. It follows from the rest, or is Longshore's to say.
const OURS: [&str; 11] = [
    "id",
    "chain",
    "slots",
    "cause",
    "accepted_at",
    "gates",
    "replays",
    "traceparent",
    "state",
    "events",
    "held",
];
/// How long after it may run a job may be carried out at most: workers remember no longer what was wished.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The JSON of a body.
pub(super) fn json(body: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(without_mark(body))
        .map_err(|error| Kind::NotJson.with(format!("the body is not JSON: {error}")))
}

/// A body that may be left out, and may say `known` and nothing else.
pub(super) fn optional<T: DeserializeOwned + Default>(
    what: &str,
    body: &[u8],
    known: &[&str],
) -> Result<T, Problem> {
    if body.is_empty() {
        return Ok(T::default());
    }
    let value = json(body)?;
    let Value::Object(keys) = &value else {
        return Err(Kind::BadJob.with("the body is not an object"));
    };
    only_keys(what, keys, known)?;
    serde_json::from_value(value)
        .map_err(|error| Kind::BadJob.with(format!("{what} cannot be read: {error}")))
}

/// Refuses what nothing would be made of: a misspelled key would deploy something else than was meant.
pub(crate) fn only_keys(what: &str, keys: &Map<String, Value>, known: &[&str]) -> Result<(), Problem> {
    let Some(unknown) = keys.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let problem = Kind::BadJob.with(format!("{what} has no key `{unknown:.100}`"));
    let known = known.join("`, `");
    Err(problem.hint(format!("leave `{unknown:.100}` out, or correct it: {what} may have `{known}`")))
}

/// Refuses what is not the caller's to say, also where it was copied from a job that is shown.
pub(super) fn only_the_callers(keys: &Map<String, Value>) -> Result<(), Problem> {
    let Some(ours) = OURS.iter().find(|ours| keys.contains_key(**ours)) else {
        return only_keys("a job", keys, &KEYS);
    };
    let problem = Kind::BadJob.with(format!("a job's `{ours}` is given by Longshore"));
    Err(problem.hint(match *ours {
        "id" => "leave it out; a header Idempotency-Key has the same request taken once".to_owned(),
        ours => format!("leave `{ours}` out: whoever asks may say `{}`", KEYS.join("`, `")),
    }))
}

/// Refuses a job in words that may mean something else than is known here.
pub(super) fn version(given: Option<&Value>) -> Result<(), Problem> {
    match given.filter(|given| !given.is_null()) {
        None => Ok(()),
        Some(given) if given.as_u64() == Some(Job::VERSION.into()) => Ok(()),
        Some(_) => {
            let problem = Kind::BadJob.with("the job is of a version that is not known here");
            Err(problem.hint(format!("write `\"version\":{}`, or leave it out", Job::VERSION)))
        }
    }
}

/// Until when a job may be carried out.
pub(super) fn deadline(given: Option<&Value>, wish: &Wish) -> Result<Option<Timestamp>, Problem> {
    let Some(deadline) = time(given, "deadline")? else { return Ok(None) };
    let from = gates::may_run_from(wish, Timestamp::now());
    let hint =
        "give from a second to 24 hours, counted from when it may run; left out, it is what the target says";
    if deadline <= from {
        let text = format!("the `deadline` is over before the job may run, which is from {from} on");
        return Err(Kind::BadJob.with(text).hint(hint));
    }
    if deadline.duration_since(from).unsigned_abs() > LONGEST {
        let text =
            format!("the `deadline` is more than 24 hours after the job may run, which is from {from} on");
        return Err(Kind::BadJob.with(text).hint(hint));
    }
    Ok(Some(deadline))
}

fn time(given: Option<&Value>, key: &str) -> Result<Option<Timestamp>, Problem> {
    let Some(given) = given.filter(|given| !given.is_null()) else { return Ok(None) };
    let time: Option<Timestamp> = given.as_str().and_then(|text| text.parse().ok());
    time.map(Some).ok_or_else(|| {
        Kind::BadJob.with(format!("`{key}` is no time")).hint("write it as in `2026-12-24T20:00:00+01:00`")
    })
}

/// When a job may run at the earliest. What is past is no matter; further ahead than any hold, the history would
/// forget it.
pub(super) fn not_before(given: Option<&Value>) -> Result<Option<Timestamp>, Problem> {
    let Some(time) = time(given, "not_before")? else { return Ok(None) };
    let latest = Timestamp::now() + Job::LONGEST_HOLD;
    if time > latest {
        return Err(Kind::BadJob.with(format!("`not_before` is more than seven days ahead, after {latest}")));
    }
    Ok(Some(time))
}

/// Whether the target's window and minimum age are passed over.
pub(super) fn at_once(given: Option<&Value>) -> Result<bool, Problem> {
    match given {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(now)) => Ok(*now),
        Some(Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Kind::BadJob.with("`now` is neither true nor false").hint(
                "leave `now` out, or write `\"now\":true` to pass over the target's window and minimum age",
            ))
        }
    }
}
