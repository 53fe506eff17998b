//! What succeeded on a target while another job was at it.

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
