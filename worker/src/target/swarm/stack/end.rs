//! What many services come to as one. No I/O.

use proto::{ImageRef, JobId, PutOnHold, Reason, Tasks, ask::TargetNow, reason};

use super::{converged, gather::sum};
use crate::target::{End, Outcome, Standing};

/// Lines that a terminal event carries at most; each service keeps its last ones.
const MOST_LINES: usize = 40;

/// Where a job stands on services that each have a mark of their own: open as long as one of them is, superseded
/// only where all are.
pub(in crate::target) fn standing_of_all(standings: impl Iterator<Item = Standing>) -> Standing {
    let all: Vec<Standing> = standings.collect();
    if all.contains(&Standing::Open) {
        return Standing::Open;
    }
    if all.contains(&Standing::Applied) {
        return Standing::Applied;
    }
    if all.contains(&Standing::RolledBack) {
        return Standing::RolledBack;
    }
    let newest = all.into_iter().filter_map(|standing| match standing {
        Standing::Newer(job) => Some(job),
        Standing::Open | Standing::Applied | Standing::RolledBack => None,
    });
    newest.max().map_or(Standing::Open, Standing::Newer)
}

/// The image that all have; none where they differ.
pub(in crate::target::swarm) fn same_for_all(
    mut images: impl Iterator<Item = Option<ImageRef>>,
) -> Option<ImageRef> {
    let first = images.next()??;
    images.all(|image| image.as_ref() == Some(&first)).then_some(first)
}

/// Adds how it stands with one service.
pub(in crate::target::swarm) fn add(all: &mut TargetNow, (name, one): (&str, TargetNow)) {
    for image in one.images {
        all.parts.insert(name.to_owned(), image.clone());
        if !all.images.contains(&image) {
            all.images.push(image);
        }
    }
    all.running |= one.running;
    all.tasks = match (all.tasks, one.tasks) {
        (Some(a), Some(b)) => Some(sum([a, b].iter())),
        (a, b) => a.or(b),
    };
    all.last_job = all.last_job.max(one.last_job);
    all.on_hold = all.on_hold.max(one.on_hold);
    let named = |held| PutOnHold { part: Some(name.to_owned()), ..held };
    all.held_images.extend(one.held_images.into_iter().map(named));
    all.trouble.extend(one.trouble);
}

/// The one end. Whatever went wrong with one service went wrong with all; what a newer job took over of some of them
/// is no fault of the rest. `newer`: the services that a newer job had before.
pub(in crate::target::swarm) fn end_of_all(
    outcomes: Vec<(String, Outcome)>,
    newer: Vec<(String, JobId)>,
) -> Outcome {
    let output = lines(&outcomes, &newer);
    let tasks: Vec<Tasks> = outcomes.iter().filter_map(|(_, outcome)| outcome.tasks).collect();
    let tasks = (!tasks.is_empty()).then(|| sum(tasks.iter()));
    let notes = notes(&outcomes);
    let put_on_hold = outcomes.iter().flat_map(put_on_hold).collect();
    Outcome { end: worst(&outcomes, &newer), tasks, output, notes, put_on_hold }
}

/// What is on hold on one of them, with its name.
fn put_on_hold((name, outcome): &(String, Outcome)) -> impl Iterator<Item = PutOnHold> {
    outcome.put_on_hold.iter().map(|noted| PutOnHold { part: Some(name.clone()), ..noted.clone() })
}

/// Those of each service, with its name.
fn notes(outcomes: &[(String, Outcome)]) -> Vec<Reason> {
    let of = |(name, outcome): &(String, Outcome)| {
        let named = |note: &Reason| Reason { text: format!("{name}: {}", note.text), ..note.clone() };
        outcome.notes.iter().map(named).collect::<Vec<_>>()
    };
    outcomes.iter().flat_map(of).collect()
}

fn worst(outcomes: &[(String, Outcome)], newer: &[(String, JobId)]) -> End {
    let reasons = |of: fn(&End) -> Option<&Reason>| -> Option<Reason> {
        let told: Vec<(&str, &Reason)> =
            outcomes.iter().filter_map(|(name, outcome)| Some((name.as_str(), of(&outcome.end)?))).collect();
        let (_, first) = told.first()?;
        let text: Vec<String> =
            told.iter().map(|(name, reason)| format!("{name}: {}", reason.text)).collect();
        let others = outcomes.iter().filter(|(_, outcome)| converged(outcome));
        let well: Vec<&str> = others.map(|(name, _)| name.as_str()).collect();
        let well = if well.is_empty() { String::new() } else { format!("; as wished: {}", well.join(", ")) };
        Some(Reason { text: format!("{}{well}", text.join("; ")), ..(*first).clone() })
    };
    if let Some(reason) = reasons(|end| match end {
        End::Failed(reason) => Some(reason),
        End::Converged | End::RolledBack(_) | End::Superseded { .. } => None,
    }) {
        return End::Failed(reason);
    }
    if let Some(reason) = reasons(|end| match end {
        End::RolledBack(reason) => Some(reason),
        End::Converged | End::Failed(_) | End::Superseded { .. } => None,
    }) {
        return End::RolledBack(reason);
    }
    let elsewhere = reasons(|end| match end {
        End::Superseded { by: None, reason } => Some(reason),
        End::Converged | End::Failed(_) | End::RolledBack(_) | End::Superseded { by: Some(_), .. } => None,
    });
    if let Some(reason) = elsewhere {
        return End::Superseded { by: None, reason };
    }
    if outcomes.iter().any(|(_, outcome)| converged(outcome)) {
        return End::Converged;
    }
    let taken = outcomes.iter().filter_map(|(_, outcome)| match &outcome.end {
        End::Superseded { by, .. } => *by,
        End::Converged | End::Failed(_) | End::RolledBack(_) => None,
    });
    let by = taken.chain(newer.iter().map(|(_, job)| *job)).max();
    let reason = Reason::new(reason::NEWER_WISH, "newer jobs changed every service that it concerns");
    End::Superseded { by, reason }
}

fn lines(outcomes: &[(String, Outcome)], newer: &[(String, JobId)]) -> Vec<String> {
    let each = MOST_LINES.saturating_sub(newer.len()).checked_div(outcomes.len()).unwrap_or(0).max(1);
    let told = outcomes.iter().flat_map(|(name, outcome)| {
        let last = outcome.output.len().saturating_sub(each);
        outcome.output.iter().skip(last).map(move |line| format!("{name}: {line}"))
    });
    let left = newer.iter().map(|(name, job)| format!("{name}: left as the newer job {job} made it"));
    told.chain(left).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, end: End) -> (String, Outcome) {
        let tasks = Some(Tasks { running: 1, wanted: 2 });
        (name.to_owned(), Outcome { tasks, output: vec!["first".into(), "last".into()], ..Outcome::of(end) })
    }

    fn reason(text: &str) -> Reason {
        Reason::new(reason::ROLLOUT_FAILED, text)
    }

    /// The same at every call: minting draws.
    fn job() -> JobId {
        "018bcfe5-6800-7b9c-8bec-704934f35d8b".parse().unwrap()
    }

    #[test]
    fn one_that_fails_fails_them_all_and_the_others_are_told() {
        let all = vec![
            outcome("api", End::Converged),
            outcome("web", End::Failed(reason("exit 1"))),
            outcome("worker", End::RolledBack(reason("went back"))),
        ];
        let end = end_of_all(all, Vec::new());
        let End::Failed(Reason { text, .. }) = end.end else { panic!("{end:?}") };
        assert_eq!(text, "web: exit 1; as wished: api");
        assert_eq!(end.tasks, Some(Tasks { running: 3, wanted: 6 }));
        assert_eq!(end.output[..2], ["api: first", "api: last"]);
    }

    #[test]
    fn what_a_newer_job_took_is_no_fault_unless_it_took_everything() {
        let newer = || End::Superseded { by: Some(job()), reason: reason("newer") };
        let some = end_of_all(vec![outcome("api", End::Converged), outcome("web", newer())], Vec::new());
        assert_eq!(some.end, End::Converged);
        let all = end_of_all(vec![outcome("web", newer())], vec![("api".into(), job().successor())]);
        assert!(
            matches!(all.end, End::Superseded { by: Some(by), .. } if by == job().successor()),
            "{all:?}"
        );
        let elsewhere = End::Superseded { by: None, reason: reason("somebody") };
        let end = end_of_all(vec![outcome("api", End::Converged), outcome("web", elsewhere)], Vec::new());
        assert!(matches!(end.end, End::Superseded { by: None, .. }), "{end:?}");
    }

    #[test]
    fn a_job_is_open_while_one_service_is() {
        use Standing as S;
        let of = |all: &[Standing]| standing_of_all(all.iter().copied());
        assert_eq!(of(&[S::Applied, S::Open, S::Newer(job())]), S::Open);
        assert_eq!(of(&[S::Applied, S::Newer(job()), S::RolledBack]), S::Applied);
        assert_eq!(of(&[S::RolledBack, S::Newer(job())]), S::RolledBack);
        let newer = job().successor();
        assert_eq!(of(&[S::Newer(job()), S::Newer(newer)]), S::Newer(newer));
    }

    #[test]
    fn an_image_is_told_where_all_have_it() {
        let image = |text: &str| Some(text.parse::<ImageRef>().unwrap());
        assert_eq!(same_for_all([image("a:1"), image("a:1")].into_iter()), image("a:1"));
        assert_eq!(same_for_all([image("a:1"), image("a:2")].into_iter()), None);
        assert_eq!(same_for_all([None, image("a:1")].into_iter()), None);
    }
}
