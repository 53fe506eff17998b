//! What was said of a job, or of its target, while another one was at it.

use proto::CauseKind;

use super::*;

#[test]
fn what_ended_before_a_job_began_was_read_by_it_whatever_the_clocks_say() {
    let (mine, before, meanwhile) = (job(5, "a:1"), job(3, "b:1"), job(4, "c:1"));
    let index = Index::new(Timestamp::UNIX_EPOCH);
    let far_ahead = Timestamp::now() + Duration::from_secs(600);
    for (position, job, state, time) in [
        (1, &before, State::Started, far_ahead),
        (2, &before, State::Succeeded, far_ahead),
        (3, &mine, State::Started, Timestamp::now()),
        (4, &meanwhile, State::Started, Timestamp::UNIX_EPOCH),
        (5, &meanwhile, State::Succeeded, Timestamp::UNIX_EPOCH),
        // Said again by one who had not heard of it: the first counts.
        (6, &mine, State::Started, Timestamp::now()),
        (7, &before, State::Succeeded, far_ahead),
    ] {
        let event = Event { time, ..Event::of(job, state, 1, 0) };
        hear(&index, position, event);
    }
    let beside: Vec<JobId> = index.succeeded_since_begun(&mine).iter().map(|job| job.id).collect();
    assert_eq!(beside, [meanwhile.id]);
}

#[test]
fn what_was_called_off_while_it_was_held_is_not_let_go_behind_that() {
    let older = job(1, "a:1");
    let after = |former: &Job| Job { id: former.id.successor(), ..job(1, "a:2") };
    let held = after(&older);
    let let_go = |kind, former: &Job| {
        let mut made = Job { replays: Some(held.id), ..after(former) };
        made.cause.kind = kind;
        made
    };
    for kind in [CauseKind::Approve, CauseKind::Release] {
        let before = let_go(kind, &held);
        let mut cancel = after(&before);
        cancel.operation = Operation::Cancel { job: held.id };
        cancel.slots = cancel.operation.slots();
        let behind = let_go(kind, &cancel);
        let index = index(&[&older, &held, &before, &behind].map(|job| (job, State::Accepted)));
        assert_eq!(index.cancelled_by(behind.id), None);
        tell(&index, &cancel, State::Accepted, None);
        assert_eq!(index.cancelled_by(behind.id), Some(cancel.id));
        assert_eq!(index.cancelled_by(before.id), None, "it came too late for that one");
        assert_eq!(index.newer_than(&older), Some(before.id), "what will never run takes nobody's place");
        tell(&index, &cancel, State::Rejected, None);
        assert_eq!(index.cancelled_by(behind.id), None, "it came to nothing");
        // One that died is wished anew, whoever called it off in vain.
        let again = let_go(CauseKind::Hook, &behind);
        tell(&index, &again, State::Accepted, None);
        assert_eq!(index.cancelled_by(again.id), None);
    }
}
