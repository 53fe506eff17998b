//! What a job waits for that may not run yet, in words.

use proto::{Hold, Job, Reason, Timestamp, reason};

use crate::schedule::left_until;

/// What becomes of a job that is held.
pub(crate) enum Why {
    /// It goes on waiting.
    Waits(Reason),
    /// It waited too long.
    Expired(Reason),
}

/// Why `hold` keeps `job`, and what opens it.
pub(crate) fn why(job: &Job, hold: Hold) -> Why {
    match hold {
        Hold::Until(time) => Why::Waits(by_itself(
            job,
            Reason::new(reason::NOT_BEFORE, format!("it may not run before {}", moment(time))),
        )),
        Hold::ForApproval(until) if left_until(until).is_zero() => {
            Why::Expired(expired(job, format!("nobody approved it until {}", moment(until))))
        }
        Hold::ForApproval(until) => {
            let text = format!("it waits to be approved, until {}", moment(until));
            let hint = format!("approve it: `longshore job approve {}`", job.id);
            Why::Waits(Reason::new(reason::NEEDS_APPROVAL, text).hint(hint))
        }
        Hold::ForWindow { until, .. } if left_until(until).is_zero() => {
            let text =
                format!("the window {} was closed when its time was over, at {}", window(job), moment(until));
            Why::Expired(expired(job, text))
        }
        Hold::ForWindow { opens: Some(opens), .. } => {
            let text = format!("the window {} is closed until {}", window(job), shown(job, opens));
            Why::Waits(by_itself(job, Reason::new(reason::WINDOW, text)))
        }
        Hold::ForWindow { opens: None, until } => {
            let text = format!(
                "the window {} does not open before {}, when this is given up",
                window(job),
                moment(until)
            );
            Why::Waits(Reason::new(reason::WINDOW, text).hint(at_once(job)))
        }
    }
}

fn by_itself(job: &Job, reason: Reason) -> Reason {
    reason.hint(format!("it goes on by itself then; {}", at_once(job)))
}

fn at_once(job: &Job) -> String {
    match job.operation.image() {
        Some(image) => {
            let image = image.familiar();
            format!("to deploy it at once: `longshore deploy {} --image {image} --now`", job.target)
        }
        None => format!(
            "to have it at once, ask for it again with `--now`; to call it off: `longshore job cancel {}`",
            job.id
        ),
    }
}

fn expired(job: &Job, text: String) -> Reason {
    let hint = format!("deploy `{}` again if it is still wanted", job.target);
    Reason::new(reason::HOLD_EXPIRED, text).hint(hint)
}

fn window(job: &Job) -> String {
    job.gates.window.as_ref().map(|window| format!("`{}`", window.name)).unwrap_or_default()
}

/// A time, and what the clocks of the window show then.
fn shown(job: &Job, time: Timestamp) -> String {
    let zone = job.gates.window.as_ref().and_then(|window| window.periods.first()).map(|period| &period.zone);
    match zone.map(|zone| zone.shown(time)).filter(|shown| !shown.ends_with(" UTC")) {
        Some(shown) => format!("{} ({shown})", moment(time)),
        None => moment(time),
    }
}

/// A time to the second: no fraction of it matters to who waits.
fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
