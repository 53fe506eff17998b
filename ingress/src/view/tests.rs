use proto::{Operation, StackText};

use super::*;
use crate::mint::Mint;

fn said(position: u64, job: &Job, state: State) -> Recorded {
    let event = Event::of(job, state, 1, position);
    Recorded { position: Position(position), entry: Entry::Event(Box::new(event)) }
}

fn jobs(count: usize) -> Vec<Job> {
    let ids = Mint::default().mint(proto::Timestamp::now(), count);
    let target = |index: usize| if index.is_multiple_of(2) { "even" } else { "odd" };
    ids.into_iter().enumerate().map(|(index, id)| samples::job(id, target(index))).collect()
}

#[test]
fn the_first_end_stands_and_a_late_accepted_changes_nothing() {
    let (view, job) = (View::new(), &jobs(1)[0]);
    view.take_in(&said(3, job, State::Started));
    view.take_in(&said(5, job, State::Accepted));
    assert_eq!(view.state(job.id), Some(State::Started));
    view.take_in(&said(6, job, State::Failed));
    view.take_in(&said(9, job, State::Succeeded));
    assert_eq!(view.get(job.id), Some((job.clone(), State::Failed)));
    assert_eq!(view.place(job.id), Some(Place::From(Position(3))));
    assert_eq!(view.head(), Some(Position(9)));
}

#[test]
fn an_end_that_was_told_before_the_job_is_its_end() {
    let (view, job) = (View::new(), &jobs(1)[0]);
    view.take_in(&said(3, job, State::Superseded));
    view.take_in(&said(4, job, State::Cancelled));
    assert_eq!(view.state(job.id), None);
    view.take_in(&said(5, job, State::Accepted));
    assert_eq!(view.state(job.id), Some(State::Superseded));
    assert_eq!(view.place(job.id), Some(Place::From(Position(3))));
    assert!(view.jobs().ends.is_empty());
}

#[test]
fn ends_of_unknown_jobs_are_kept_within_bounds() {
    let (view, jobs) = (View::new(), jobs(MOST_ENDS + 1));
    for (job, position) in jobs.iter().zip(1..) {
        view.take_in(&said(position, job, State::Failed));
    }
    assert_eq!(view.jobs().ends.len(), MOST_ENDS);
    view.enter(&jobs[MOST_ENDS]);
    assert_eq!(view.state(jobs[MOST_ENDS].id), Some(State::Failed));
}

#[test]
fn texts_are_kept_within_bounds_and_the_oldest_are_sought_in_the_history() {
    let (view, mut jobs) = (View::new(), jobs(200));
    let text = "x".repeat(StackText::LARGEST);
    for job in &mut jobs {
        job.operation = Operation::DeployStack(StackText::of(text.clone()));
        job.slots = job.operation.slots();
        view.enter(job);
    }
    let kept = jobs.iter().filter(|job| view.state(job.id).is_some()).count();
    assert_eq!(kept, MOST_TEXT / StackText::LARGEST);
    assert_eq!(view.state(jobs[0].id), None);
    assert_eq!(view.get(jobs[199].id).map(|(job, _)| job), Some(jobs[199].clone()));
}

#[test]
fn progress_goes_on_after_a_late_retrying_of_an_earlier_attempt() {
    let (view, job) = (View::new(), &jobs(1)[0]);
    let mut feed = view.listen();
    view.take_in(&said(3, job, State::Started));
    let mut late = Event::of(job, State::Retrying, 1, 4);
    late.data.started = Some(Event::of(job, State::Started, 1, 2).id);
    view.take_in(&Recorded { position: Position(4), entry: Entry::Event(Box::new(late)) });
    view.pass_on(Event::of(job, State::Progress, 1, 1));
    let heard: Vec<_> = std::iter::from_fn(|| feed.try_recv().ok()).map(|said| said.event.state()).collect();
    assert_eq!(heard, [State::Started, State::Retrying, State::Progress]);
}

#[test]
fn a_published_job_is_known_before_the_history_tells_of_it() {
    let (view, job) = (View::new(), &jobs(1)[0]);
    view.enter(job);
    assert_eq!((view.state(job.id), view.place(job.id)), (Some(State::Accepted), Some(Place::Nowhere)));
    view.take_in(&said(3, job, State::Accepted));
    assert_eq!(view.place(job.id), Some(Place::From(Position(3))));
}

#[test]
fn events_of_forgotten_jobs_are_passed_on_but_not_kept() {
    let (view, job) = (View::new(), &jobs(1)[0]);
    let mut feed = view.listen();
    view.take_in(&said(3, job, State::Retrying));
    assert_eq!(view.state(job.id), None);
    assert_eq!(feed.try_recv().unwrap().position, Some(Position(3)));
}

#[test]
fn progress_is_passed_on_between_the_start_and_the_end() {
    let (view, job) = (View::new(), &jobs(1)[0]);
    let mut feed = view.listen();
    let mut heard = || feed.try_recv().map(|said| said.event.state());
    view.take_in(&said(3, job, State::Accepted));
    view.pass_on(Event::of(job, State::Progress, 1, 1));
    view.take_in(&said(4, job, State::Started));
    view.pass_on(Event::of(job, State::Progress, 1, 2));
    view.take_in(&said(5, job, State::Succeeded));
    view.pass_on(Event::of(job, State::Progress, 1, 3));
    let all: Vec<_> = std::iter::from_fn(|| heard().ok()).collect();
    assert_eq!(all, [State::Accepted, State::Started, State::Progress, State::Succeeded]);
}

#[test]
fn pages_go_from_new_to_old_through_the_filter() {
    let (view, jobs) = (View::new(), jobs(5));
    for (job, position) in jobs.iter().zip(1..) {
        view.take_in(&said(position, job, State::Started));
    }
    view.take_in(&said(9, &jobs[2], State::Failed));
    let ids = |filter: &Filter, limit| {
        let (page, more) = view.page(filter, limit);
        (
            page.iter().map(|(job, _)| jobs.iter().position(|j| j.id == job.id).unwrap()).collect::<Vec<_>>(),
            more,
        )
    };
    assert_eq!(ids(&Filter::default(), 2), (vec![4, 3], true));
    let before = Filter { before: Some(jobs[3].id), ..Filter::default() };
    assert_eq!(ids(&before, 3), (vec![2, 1, 0], false));
    let even = Filter { target: Some("even".parse().unwrap()), ..Filter::default() };
    assert_eq!(ids(&even, 2), (vec![4, 2], true));
    let failed = Filter { states: vec![State::Failed, State::Dead], ..Filter::default() };
    assert_eq!(ids(&failed, 9), (vec![2], false));
}

#[test]
fn the_oldest_are_forgotten_with_their_deliveries() {
    let (view, mut jobs) = (View::keeping(3), jobs(5));
    for job in &mut jobs {
        job.cause.delivery = Some("d".to_owned());
        view.enter(job);
    }
    let kept = view.of_delivery(&jobs[0].cause);
    assert_eq!(kept, jobs[2..].to_vec());
    assert_eq!(view.state(jobs[1].id), None);
    let mut other = jobs[0].cause.clone();
    other.source = Some("other".to_owned());
    assert!(view.of_delivery(&other).is_empty());
    other.delivery = None;
    assert!(view.of_delivery(&other).is_empty());
    assert_eq!(view.jobs().by_delivery.len(), 1);
}

#[test]
fn what_is_held_stays_however_old_it_is() {
    let (view, jobs) = (View::keeping(3), jobs(6));
    let held = |job: &Job| {
        let mut event = Event::of(job, State::Held, 0, 1);
        event.data.reason = Some(Reason::new("needs-approval", "it waits"));
        event
    };
    for (job, position) in jobs[1..4].iter().zip(10..) {
        view.take_in(&said(position, job, State::Accepted));
    }
    // Read from before the history was followed, when there is no room for more.
    view.remember(Position(2), &held(&jobs[0]));
    let known = |job: &Job| view.state(job.id);
    assert_eq!((known(&jobs[0]), known(&jobs[1])), (Some(State::Held), None));
    assert_eq!(view.place(jobs[0].id), Some(Place::From(Position(2))));
    assert_eq!(view.why_held(jobs[0].id).unwrap().text, "it waits");
    for (job, position) in jobs[4..].iter().zip(20..) {
        view.take_in(&said(position, job, State::Accepted));
    }
    assert_eq!((known(&jobs[0]), known(&jobs[3])), (Some(State::Held), None));
    // What is known better is left as it is.
    view.take_in(&said(30, &jobs[0], State::Started));
    view.remember(Position(2), &held(&jobs[0]));
    assert_eq!((known(&jobs[0]), view.why_held(jobs[0].id)), (Some(State::Started), None));
    view.take_in(&said(31, &jobs[0], State::Succeeded));
    view.enter(&jobs[1]);
    assert_eq!(known(&jobs[0]), None);
}
