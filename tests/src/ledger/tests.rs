//! Made-up histories, each with one thing that is wrong.

use proto::Job;
use serde_json::json;

use super::*;

const OLD: u64 = 1;
const NEW: u64 = 2;

fn id(n: u64) -> JobId {
    format!("0199f000-0000-7000-8000-{n:012x}").parse().unwrap()
}

fn job(n: u64, target: &str, slot: &str) -> Job {
    serde_json::from_value(json!({
        "version": 1, "id": id(n), "chain": id(n), "target": format!("default/{target}"),
        "operation": {"type": "set-image", "image": "acme/web:2", "service": slot},
        "slots": [format!("image:{slot}")],
        "cause": {"kind": "api"},
        "accepted_at": "2026-11-21T10:00:00Z", "deadline": "2026-11-21T11:00:00Z",
    }))
    .unwrap()
}

fn web(n: u64, state: State) -> Event {
    Event::of(&job(n, "web", "web"), state, u32::from(state != State::Accepted), 0)
}

/// Both jobs were accepted; `history` is what both readers read.
fn account(history: &[Event]) -> Account {
    account_of(history, history)
}

fn account_of(history: &[Event], read_again: &[Event]) -> Account {
    let mut ledger = Ledger::default();
    for n in [OLD, NEW] {
        ledger.accept("default/web".parse().unwrap(), id(n));
    }
    ledger.account(history, read_again)
}

fn accepted() -> Vec<Event> {
    vec![web(OLD, State::Accepted), web(NEW, State::Accepted)]
}

fn and(mut events: Vec<Event>, more: impl IntoIterator<Item = Event>) -> Vec<Event> {
    events.extend(more);
    events
}

#[test]
fn the_newer_after_the_older_is_clean() {
    let account = account(&and(accepted(), [web(OLD, State::Succeeded), web(NEW, State::Succeeded)]));
    account.assert_clean();
    assert_eq!(
        account.to_string(),
        "accepted 2 / ended 2 / lost 0 / duplicated 0 / out-of-order 0 / told differently 0 / \
         never ended 0 / unexplained 0 / unanswered 0 (2 succeeded)"
    );
}

fn superseded(n: u64, by: Option<u64>) -> Event {
    let mut event = web(n, State::Superseded);
    event.data.by = by.map(id);
    event
}

#[test]
fn superseded_by_a_newer_one_that_ended_before_is_clean() {
    let history = and(accepted(), [web(NEW, State::Succeeded), superseded(OLD, Some(NEW))]);
    account(&history).assert_clean();
}

#[test]
fn superseded_by_an_older_one_or_by_none_is_out_of_order() {
    for by in [Some(OLD), Some(NEW), None] {
        let account = account(&and(accepted(), [web(OLD, State::Succeeded), superseded(NEW, by)]));
        assert_eq!(account.out_of_order, [id(NEW)], "{by:?}");
        assert!(!account.is_clean());
    }
}

#[test]
fn the_older_after_the_newer_is_out_of_order() {
    let account = account(&and(accepted(), [web(NEW, State::Succeeded), web(OLD, State::Succeeded)]));
    assert_eq!(account.out_of_order, [id(OLD)]);
    assert!(!account.is_clean());
}

#[test]
fn a_repeat_word_for_word_is_a_duplicate_and_no_more() {
    let ends = [web(OLD, State::Succeeded), web(NEW, State::Succeeded), web(OLD, State::Succeeded)];
    let account = account(&and(accepted(), ends));
    account.assert_clean();
    assert_eq!(account.duplicated, [id(OLD)]);
}

#[test]
fn a_void_success_of_another_attempt_is_out_of_order() {
    let second = Event::of(&job(OLD, "web", "web"), State::Succeeded, 2, 0);
    let ends = [web(OLD, State::Succeeded), web(NEW, State::Succeeded), second];
    assert_eq!(account(&and(accepted(), ends)).out_of_order, [id(OLD)]);
}

#[test]
fn other_slots_and_targets_do_not_compete() {
    for other in [job(OLD, "web", "api"), job(OLD, "blog", "web")] {
        let of_other = |state| Event::of(&other, state, 1, 0);
        let history = [
            web(NEW, State::Accepted),
            of_other(State::Accepted),
            web(NEW, State::Succeeded),
            of_other(State::Succeeded),
        ];
        account(&history).assert_clean();
    }
}

#[test]
fn one_the_history_does_not_know_is_lost() {
    let account = account(&[web(NEW, State::Accepted), web(NEW, State::Succeeded)]);
    assert_eq!((account.lost.as_slice(), account.ended), ([id(OLD)].as_slice(), 1));
    assert_eq!(account.never_ended, []);
    assert!(!account.is_clean());
}

#[test]
fn one_without_an_end_never_ended() {
    let account = account(&and(accepted(), [web(OLD, State::Retrying), web(NEW, State::Failed)]));
    assert_eq!((account.never_ended.as_slice(), account.lost.len()), ([id(OLD)].as_slice(), 0));
    assert!(!account.is_clean());
}

#[test]
fn readers_that_name_different_ends_disagree() {
    let (dead, succeeded) = (web(OLD, State::Dead), web(OLD, State::Succeeded));
    let begin = and(accepted(), [web(NEW, State::Failed)]);
    let one = and(begin.clone(), [dead.clone(), succeeded.clone()]);
    let other = and(begin.clone(), [succeeded, dead]);
    assert_eq!(account_of(&one, &other).disagreed, [id(OLD)]);
    assert_eq!(account_of(&one, &begin).disagreed, [id(OLD)]);
    assert_eq!(account_of(&begin, &one).disagreed, [id(OLD)]);
    assert!(!account_of(&one, &other).is_clean());
    assert_eq!(account_of(&one, &one).disagreed, []);
}

#[test]
fn an_ingress_that_shows_another_end_or_none_disagrees() {
    let history = and(accepted(), [web(OLD, State::Superseded), web(NEW, State::Succeeded)]);
    let told = |shown: &[(u64, State)], kept: usize| {
        let shown = shown.iter().map(|(n, state)| (id(*n), *state)).collect();
        Ledger::default().account_as_shown(&history, (&shown, kept)).disagreed
    };
    let (old, new) = ((OLD, State::Superseded), (NEW, State::Succeeded));
    assert_eq!(told(&[old, new], 2), []);
    assert_eq!(told(&[(OLD, State::Dead), new], 2), [id(OLD)]);
    assert_eq!(told(&[old, (NEW, State::Started)], 2), [id(NEW)]);
    assert_eq!(told(&[new], 2), [id(OLD)]);
    assert_eq!(told(&[new], 1), [], "it keeps no more");
    assert_eq!(told(&[old, new, (3, State::Accepted)], 2), [id(3)]);
}

#[test]
fn one_whose_answer_was_lost_must_end_too() {
    let ended = and(accepted(), [web(OLD, State::Failed), web(NEW, State::Failed)]);
    let stranger = account(&and(ended.clone(), [web(3, State::Accepted)]));
    assert_eq!((stranger.unanswered, stranger.never_ended.as_slice()), (1, [id(3)].as_slice()));
    account(&and(ended, [web(3, State::Accepted), web(3, State::Rejected)])).assert_clean();
}

#[test]
fn a_success_of_which_nothing_was_said_before_is_unexplained() {
    let account = account(&[web(OLD, State::Succeeded), web(NEW, State::Accepted), web(NEW, State::Failed)]);
    assert_eq!(account.unexplained, [id(OLD)]);
    assert!(!account.is_clean());
}

#[test]
fn answers_are_noted_job_by_job() {
    let mut ledger = Ledger::default();
    let job = |n: u64, target: &str| json!({"id": id(n), "target": target, "status_url": "/v1/jobs/x"});
    let answer = json!({"chain": id(NEW), "jobs": [job(NEW, "default/web"), job(OLD, "default/web")]});
    assert_eq!(ledger.accept_answer(&answer).unwrap(), [id(NEW), id(OLD)]);
    assert_eq!(ledger.ids().collect::<Vec<_>>(), [id(OLD), id(NEW)]);
    assert_eq!(ledger.newest(), BTreeMap::from([("default/web".parse().unwrap(), id(NEW))]));
    assert!(ledger.accept_answer(&json!({"status": 503})).is_err());
}
