//! What the index makes of a history.

use proto::{Event, Operation, Reason, StackText, reason};
use queue::Position;

use super::*;
use crate::testing::job;

mod meanwhile;

fn index(events: &[(&Job, State)]) -> Index {
    let index = Index::new(Timestamp::UNIX_EPOCH);
    for (job, state) in events {
        tell(&index, job, *state, None);
    }
    index
}

fn tell(index: &Index, job: &Job, state: State, reason: Option<Reason>) {
    let mut event = Event::of(job, state, 1, 0);
    event.data.reason = reason;
    hear(index, 0, event);
}

fn hear(index: &Index, position: u64, event: Event) {
    index.read(&Recorded { position: Position(position), entry: Entry::Event(Box::new(event)) });
}

#[test]
fn the_newest_wish_of_a_slot_is_known_from_its_accepted_on() {
    let (old, new, other) = (job(1, "a:1"), job(2, "a:2"), job(3, "b:1"));
    let index = index(&[(&new, State::Accepted), (&old, State::Accepted), (&other, State::Accepted)]);
    assert_eq!(index.newer_than(&old), Some(new.id));
    assert_eq!(index.newer_than(&new), None);
}

#[test]
fn a_rollback_of_everything_takes_the_place_of_every_older_image_and_of_nothing_else() {
    let (old, other, mut back) = (job(1, "a:1"), job(2, "b:1"), job(3, "a:1"));
    back.operation = Operation::Rollback { service: None, job: None, image: None };
    back.slots = back.operation.slots();
    let mut restart = job(1, "a:1");
    restart.operation = Operation::Restart;
    restart.slots = restart.operation.slots();
    let newer = job(4, "a:2");
    let index = index(&[(&back, State::Accepted), (&newer, State::Accepted)]);
    assert_eq!(index.newer_than(&old), Some(newer.id));
    assert_eq!(index.newer_than(&other), Some(back.id));
    assert_eq!(index.newer_than(&restart), None);
    // One image is not all that it brings.
    assert_eq!(index.newer_than(&back), None);
    tell(&index, &back, State::Succeeded, None);
    assert_eq!(index.newer_carried_out(&other), Some(back.id));
}

#[test]
fn a_wish_whose_accepted_was_lost_is_known_from_its_started() {
    let (old, new) = (job(1, "a:1"), job(2, "a:2"));
    assert_eq!(index(&[(&new, State::Started)]).newer_than(&old), Some(new.id));
}

#[test]
fn a_cancelled_or_rejected_wish_supersedes_nobody() {
    let (old, new) = (job(1, "a:1"), job(2, "a:2"));
    for end in [State::Cancelled, State::Rejected] {
        let index = index(&[(&old, State::Accepted), (&new, State::Accepted), (&new, end)]);
        assert_eq!(index.newer_than(&old), None);
    }
    let index = index(&[(&old, State::Accepted), (&new, State::Accepted), (&new, State::Failed)]);
    assert_eq!(index.newer_than(&old), Some(new.id));
}

#[test]
fn a_wish_that_is_called_off_before_it_began_supersedes_nobody() {
    let (old, new, mut cancel) = (job(1, "a:1"), job(2, "a:2"), job(3, "a:2"));
    cancel.operation = Operation::Cancel { job: new.id };
    cancel.slots = cancel.operation.slots();
    let events = [(&old, State::Accepted), (&new, State::Accepted), (&cancel, State::Accepted)];
    let index = index(&events);
    assert_eq!(index.newer_than(&old), None);
    tell(&index, &new, State::Retrying, Some(Reason::new(reason::BUSY, "busy")));
    assert_eq!(index.newer_waiting(&old), None);
    // Called off too late, it may have reached its target.
    tell(&index, &new, State::Started, None);
    assert_eq!(index.newer_than(&old), Some(new.id));
}

#[test]
fn the_first_end_counts() {
    let job = job(1, "a:1");
    let index = index(&[(&job, State::Started), (&job, State::Succeeded), (&job, State::Failed)]);
    assert_eq!(index.end_of(job.id), Some(State::Succeeded));
}

#[test]
fn who_waits_at_the_lock_is_known_until_it_starts() {
    let (old, new) = (job(1, "a:1"), job(2, "a:2"));
    let index = index(&[(&old, State::Started), (&new, State::Accepted)]);
    assert_eq!(index.newer_waiting(&old), None);
    tell(&index, &new, State::Retrying, Some(Reason::new(reason::BUSY, "busy")));
    assert_eq!(index.newer_waiting(&old), Some(new.id));
    tell(&index, &new, State::Started, None);
    assert_eq!(index.newer_waiting(&old), None);
}

#[test]
fn why_a_job_waits_is_known_until_something_else_is_said_of_it() {
    let (job, why) = (job(1, "a:1"), Reason::new(reason::BUSY, "busy"));
    let other = Reason::new(reason::SYSTEM_BUSY, "busy");
    let index = index(&[(&job, State::Accepted)]);
    let waits = |counted: bool| {
        let mut event = Event::of(&job, State::Retrying, 1, 7);
        event.data.counted = Some(counted);
        event.data.reason = Some(why.clone());
        hear(&index, 0, event);
    };
    let long_ago = Timestamp::now() - Duration::from_secs(600);
    assert!(!index.waits_for(job.id, &why, long_ago));
    for after in [State::Started, State::Held] {
        waits(false);
        assert!(index.waits_for(job.id, &why, long_ago) && !index.waits_for(job.id, &other, long_ago));
        let later = Timestamp::now() + Duration::from_secs(600);
        assert!(!index.waits_for(job.id, &why, later), "it was said long ago");
        tell(&index, &job, after, None);
        assert!(!index.waits_for(job.id, &why, long_ago), "{after}");
    }
    waits(true);
    assert!(!index.waits_for(job.id, &why, long_ago), "that is an attempt which failed");
}

#[test]
fn reading_twice_changes_nothing() {
    let (old, new) = (job(1, "a:1"), job(2, "a:2"));
    let twice = [(&old, State::Accepted), (&new, State::Accepted), (&new, State::Cancelled)];
    let index = index(&[twice, twice].concat());
    assert_eq!(index.newer_than(&old), None);
    assert_eq!(index.end_of(new.id), Some(State::Cancelled));
}

#[test]
fn a_started_that_nothing_came_after_is_a_crash() {
    let job = job(1, "a:1");
    let index = Index::new(Timestamp::UNIX_EPOCH);
    let say = |mut event: Event, alone: bool, answers: Option<EventId>| {
        event.data.alone = alone;
        event.data.started = answers;
        hear(&index, 0, event.clone());
        event.id
    };
    let first = say(Event::of(&job, State::Started, 1, 1), false, None);
    say(Event::of(&job, State::Started, 1, 2), false, None);
    assert_eq!(index.crashes(job.id, |_| false), Crashes { in_company: 2, alone: 0 });
    assert_eq!(index.crashes(job.id, |started| started == first), Crashes { in_company: 1, alone: 0 });
    // An answer may come late, and heals the count.
    say(Event::of(&job, State::Retrying, 1, 3), false, Some(first));
    assert_eq!(index.crashes(job.id, |_| false), Crashes { in_company: 1, alone: 0 });
    say(Event::of(&job, State::Started, 1, 4), true, None);
    assert_eq!(index.crashes(job.id, |_| false), Crashes { in_company: 1, alone: 1 });
}

#[test]
fn the_newest_success_of_a_slot_is_kept_whole() {
    let (first, second, third) = (job(1, "a:1"), job(2, "a:2"), job(3, "a:3"));
    let index = index(&[
        (&first, State::Started),
        (&third, State::Started),
        (&second, State::Started),
        (&second, State::Succeeded),
        (&first, State::Succeeded),
        (&third, State::Failed),
    ]);
    assert_eq!(index.succeeded(&first).unwrap().id, second.id);
    assert_eq!(index.newer_ended(&first), Some(third.id));
}

#[test]
fn of_texts_that_ended_only_the_newest_success_is_kept() {
    let text = |n| {
        let mut job = job(n, "a:1");
        job.operation = Operation::DeployStack(StackText::of(format!("services: {{}} # {n}")));
        job.slots = job.operation.slots();
        job
    };
    let (first, second) = (text(1), text(2));
    let index = index(&[(&first, State::Started), (&first, State::Succeeded)]);
    assert_eq!(index.succeeded(&second).as_deref(), Some(&first));
    tell(&index, &second, State::Started, None);
    tell(&index, &second, State::Failed, None);
    assert_eq!(index.succeeded(&second).as_deref(), Some(&first));
    let kept = |job: &Job| index.book().job(job.id).unwrap().text().map(str::to_owned);
    assert_eq!([kept(&first), kept(&second)], [Some(String::new()), Some(String::new())]);
}

#[test]
fn a_held_job_may_be_ended_by_others_until_it_begins_or_what_was_made_of_it_does() {
    let held = job(1, "a:1");
    let index = index(&[(&held, State::Accepted)]);
    assert_eq!(index.held_and_untouched(held.id), None);
    tell(&index, &held, State::Held, Some(Reason::new(reason::NOT_BEFORE, "it waits")));
    assert_eq!(index.held_and_untouched(held.id).as_deref(), Some(&held));
    let mut made = job(2, "a:1");
    made.replays = Some(held.id);
    tell(&index, &made, State::Accepted, None);
    assert_eq!(index.held_and_untouched(held.id), None, "what was approved stands for it");
    let other = job(3, "b:1");
    tell(&index, &other, State::Held, Some(Reason::new(reason::NOT_BEFORE, "it waits")));
    assert!(index.held_and_untouched(other.id).is_some());
    tell(&index, &other, State::Started, None);
    assert_eq!(index.held_and_untouched(other.id), None);
}

#[test]
fn a_job_with_gates_counts_from_its_started_on() {
    let (old, mut new) = (job(1, "a:1"), job(2, "a:2"));
    let gates: [fn(&mut Job); 2] = [
        |job| job.gates.approve = true,
        |job| job.not_before = Some(job.accepted_at + Duration::from_secs(60)),
    ];
    for gate in gates {
        gate(&mut new);
        let index = index(&[(&old, State::Accepted), (&new, State::Accepted), (&new, State::Held)]);
        let why = |text: &str| Reason::new(reason::WINDOW, text);
        let mut held = Event::of(&new, State::Held, 0, 9);
        held.data.reason = Some(why("it waits"));
        hear(&index, 9, held);
        assert!(index.is_held(new.id, &why("it waits")) && index.knows(new.id));
        assert!(!index.is_held(new.id, &why("it waits longer")) && !index.is_under_way(new.id));
        assert_eq!(index.newer_than(&old), None);
        tell(&index, &new, State::Started, None);
        assert_eq!(index.newer_than(&old), Some(new.id));
        assert!(index.is_under_way(new.id));
    }
}

#[test]
fn what_is_held_again_after_it_was_started_supersedes_nobody() {
    let (old, mut new) = (job(1, "a:1"), job(2, "a:2"));
    new.gates.approve = true;
    let index = index(&[(&old, State::Accepted), (&new, State::Accepted), (&new, State::Started)]);
    assert_eq!(index.newer_than(&old), Some(new.id));
    let mut held = Event::of(&new, State::Held, 0, 9);
    held.data.reason = Some(Reason::new(reason::WINDOW, "it waits"));
    hear(&index, 9, held);
    assert_eq!(index.newer_than(&old), None);
    assert!(index.has_started(new.id) && !index.is_under_way(new.id));
}

#[test]
fn what_was_carried_out_is_told_from_what_only_ended() {
    let (held, run, dead) = (job(1, "a:1"), job(2, "a:2"), job(3, "a:3"));
    let index = index(&[(&held, State::Accepted), (&run, State::Accepted), (&dead, State::Accepted)]);
    assert_eq!(index.newer_carried_out(&held), None);
    tell(&index, &dead, State::Dead, None);
    assert_eq!(index.newer_carried_out(&held), None);
    tell(&index, &run, State::Failed, None);
    assert_eq!(index.newer_carried_out(&held), Some(run.id));
    assert_eq!(index.newer_carried_out(&run), None);
}

#[test]
fn a_late_write_gives_way_to_what_ran_well_and_never_to_what_is_older_alone() {
    let (good, late, given_way, run) = (job(1, "a:1"), job(2, "a:2"), job(3, "a:3"), job(4, "a:4"));
    let index = index(&[(&good, State::Started), (&good, State::Succeeded), (&late, State::Started)]);
    let stands = |index: &Index| index.stands_instead_of(&late).map(|(best, by)| (best.id, by));
    tell(&index, &given_way, State::Accepted, None);
    tell(&index, &given_way, State::Superseded, None);
    assert_eq!(index.newer_ended(&late), Some(given_way.id));
    assert_eq!(stands(&index), None, "nothing newer was ever there");
    tell(&index, &run, State::Started, None);
    tell(&index, &run, State::RolledBack, None);
    assert_eq!(stands(&index), Some((good.id, run.id)), "it went back to that");
    let last = job(5, "a:5");
    tell(&index, &last, State::Started, None);
    tell(&index, &last, State::Succeeded, None);
    assert_eq!(stands(&index), Some((last.id, last.id)));
}

#[test]
fn the_history_of_one_target_can_be_read_further_back() {
    let now = Timestamp::now();
    let (index, target) = (Index::new(now), "demo".parse().unwrap());
    let earlier = now - Duration::from_secs(60);
    assert!(index.reaches_back_to(&target, now) && !index.reaches_back_to(&target, earlier));
    index.reached_back(&target, earlier);
    assert!(index.reaches_back_to(&target, earlier));
    assert!(!index.reaches_back_to(&"other".parse().unwrap(), earlier));
}

#[test]
fn a_job_that_an_ingress_gave_up_has_its_letter() {
    for (code, expected) in [("no-worker", true), ("no-end", true), ("deadline", false)] {
        let job = job(1, "a:1");
        let index = index(&[(&job, State::Accepted)]);
        let mut dead = Event::of(&job, State::Dead, 0, 0);
        dead.data.reason = Some(Reason { code: code.into(), text: String::new(), hint: None });
        hear(&index, 7, dead);
        // A later end is void, whatever it says.
        let mut late = Event::of(&job, State::Dead, 1, 0);
        late.data.reason = Some(Reason::new("no-end", ""));
        hear(&index, 8, late);
        assert_eq!(index.is_laid_aside(job.id), expected, "{code}");
    }
}

#[test]
fn a_held_image_stands_for_the_same_on_the_same_service_alone() {
    let digest: Digest = format!("sha256:{}", "1".repeat(64)).parse().unwrap();
    let image = job(1, "a:1").operation.image().unwrap().with_digest(digest.clone());
    let wish = |seconds, service: Option<&str>| {
        let mut wish = job(seconds, "a:1");
        wish.operation = Operation::SetImage { image: image.clone(), service: service.map(str::to_owned) };
        wish.slots = wish.operation.slots();
        wish
    };
    let hold = |index: &Index, held: &Job| {
        let mut event = Event::of(held, State::Held, 1, 0);
        event.data.reason = Some(Reason::new(reason::BAD_IMAGE, "it did not hold"));
        event.data.image = Some(ImageChange { from: None, to: Some(image.clone()) });
        hear(index, 0, event);
    };
    let [first, second] = [1, 2].map(|seconds| wish(seconds, Some("web")));
    let index = index(&[(&first, State::Accepted), (&second, State::Accepted)]);
    hold(&index, &second);
    assert_eq!(index.held_for(&wish(3, Some("web")), &digest), Some(second.id));
    assert_eq!(index.held_for(&first, &digest), Some(second.id), "it is not held yet");
    assert_eq!(index.held_for(&wish(3, Some("api")), &digest), None);
    // Both were said to be held in the same moment: one of them stays.
    hold(&index, &first);
    assert_eq!(index.held_for(&second, &digest), Some(first.id));
    assert_eq!(index.held_for(&first, &digest), None);
    tell(&index, &first, State::Cancelled, None);
    assert_eq!(index.held_for(&second, &digest), None);
}

#[test]
fn what_was_seen_in_a_registry_is_told_again_where_its_job_died_long_ago() {
    let mut seen = job(1, "a:1");
    seen.cause.kind = proto::CauseKind::Poll;
    let image: ImageRef = "a:1".parse().unwrap();
    let index = index(&[(&seen, State::Started)]);
    assert!(!index.died_long_ago(&seen.target, &image));
    let died = |index: &Index, minutes: i64| {
        let mut event = Event::of(&seen, State::Dead, 1, 0);
        event.time = Timestamp::now() - jiff::SignedDuration::from_mins(minutes);
        hear(index, 0, event);
        index.died_long_ago(&seen.target, &image)
    };
    assert!(!died(&index, 30), "at most once an hour");
    let other: ImageRef = "a:2".parse().unwrap();
    let long_ago = Index::new(Timestamp::UNIX_EPOCH);
    tell(&long_ago, &seen, State::Started, None);
    assert!(died(&long_ago, 61) && !long_ago.died_long_ago(&seen.target, &other));
    let again = Job { id: seen.id.successor(), ..seen.clone() };
    tell(&long_ago, &again, State::Accepted, None);
    assert!(!long_ago.died_long_ago(&seen.target, &image), "it was told again");
}

#[test]
fn what_waits_for_its_target_supersedes_nobody_and_keeps_the_deadline_that_was_said() {
    let (old, mut new) = (job(1, "a:1"), job(2, "a:2"));
    let index = index(&[(&old, State::Accepted), (&new, State::Started)]);
    tell(&index, &new, State::Held, Some(Reason::new(reason::ON_HOLD, "it waits")));
    assert!(index.is_held_for(new.id, reason::ON_HOLD) && !index.is_held_for(new.id, reason::BAD_IMAGE));
    assert_eq!(index.newer_than(&old), None);
    let later = new.deadline + Duration::from_secs(3600);
    new.deadline = later;
    tell(&index, &new, State::Started, None);
    assert_eq!(index.deadline_said(new.id), Some(later));
    assert!(!index.is_held_for(new.id, reason::ON_HOLD));
}

#[test]
fn a_lower_version_takes_nobodys_place_before_it_has_ended_and_waits_for_the_higher() {
    let (higher, mut lower) = (job(1, "a:1.5.0"), job(2, "a:1.4.3"));
    lower.gates.upward = true;
    let index = index(&[(&higher, State::Accepted), (&lower, State::Accepted)]);
    tell(&index, &lower, State::Retrying, Some(Reason::new(reason::BUSY, "busy")));
    assert_eq!((index.newer_than(&higher), index.newer_waiting(&higher)), (None, None));
    assert_eq!(index.newer_than(&job(0, "a:1.4.2")), Some(lower.id), "of what is lower it does");
    assert_eq!(index.higher_waiting(&lower), None, "one that does not wait may never come");
    tell(&index, &higher, State::Retrying, Some(Reason::new(reason::BUSY, "busy")));
    assert_eq!(index.higher_waiting(&lower), Some(higher.id));
    assert_eq!(index.higher_waiting(&job(3, "a:1.4.3")), None, "whoever may go down waits for nobody");
    tell(&index, &higher, State::Started, None);
    assert_eq!(index.higher_waiting(&lower), None);
    tell(&index, &lower, State::Succeeded, None);
    assert_eq!(index.newer_than(&higher), Some(lower.id), "it was carried out");
}
