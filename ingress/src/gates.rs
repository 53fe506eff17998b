//! What stands between a wish and its deploy.

use std::time::Duration;

use jiff::Timestamp;
use proto::{Gates, Operation};

use crate::route::Wish;

/// The gates of its target that a wish has to pass that is accepted at `accepted_at`.
pub(crate) fn of(wish: &Wish, accepted_at: Timestamp) -> Gates {
    if !is_held(&wish.operation) {
        return Gates::default();
    }
    let target = &wish.target;
    let window = target.window.as_deref().filter(|_| !wish.now);
    let gates = Gates {
        approve: target.gates.approve,
        hold_until: None,
        window: window.cloned().map(Box::new),
        upward: wish.upward,
    };
    let until = target.hold_for.filter(|_| !gates.is_open()).map(|hold| accepted_at.checked_add(hold));
    Gates { hold_until: until.map(|until| until.unwrap_or(Timestamp::MAX)), ..gates }
}

/// When a wish that is accepted at `accepted_at` may be carried out at the earliest: as was asked for, and not before
/// its image has the age that its target wants.
pub(crate) fn not_before(wish: &Wish, accepted_at: Timestamp) -> Option<Timestamp> {
    let age = wish.target.gates.min_age_s.filter(|_| !wish.now && brings_an_image(&wish.operation));
    let aged = age.and_then(|seconds| accepted_at.checked_add(Duration::from_secs(seconds)).ok());
    wish.not_before.max(aged)
}

/// When a wish that is accepted at `accepted_at` may be carried out, as far as that is known beforehand: an approval may
/// take longer, and so may a window that does not open.
pub(crate) fn may_run_from(wish: &Wish, accepted_at: Timestamp) -> Timestamp {
    let from = not_before(wish, accepted_at).map_or(accepted_at, |at| at.max(accepted_at));
    of(wish, accepted_at).window.and_then(|window| window.opens(from)).unwrap_or(from)
}

/// Whether gates hold it: whatever may bring another image, and what takes all away. Who stops, starts or rolls back
/// mends something, and must not have to wait.
fn is_held(operation: &Operation) -> bool {
    brings_an_image(operation)
        || matches!(operation, Operation::RemoveStack { .. } | Operation::Migrate { .. })
}

fn brings_an_image(operation: &Operation) -> bool {
    match operation {
        Operation::SetImage { .. }
        | Operation::Redeploy
        | Operation::DeployStack(_)
        | Operation::DeployGit(_) => true,
        Operation::Start
        | Operation::Stop
        | Operation::Restart
        | Operation::Rollback { .. }
        | Operation::RemoveStack { .. }
        | Operation::Migrate { .. }
        | Operation::PruneImages { .. }
        | Operation::Hold { .. }
        | Operation::Release { .. }
        | Operation::Cancel { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proto::TargetGates;

    use super::*;
    use crate::{route::Target, windows::Windows};

    fn wish(operation: Operation) -> Wish {
        let night = serde_json::json!([{"from": "20:00", "to": "06:00", "zone": "UTC"}]);
        let windows = Windows::new([("nights".to_owned(), serde_json::from_value(night).unwrap())].into());
        let gates = TargetGates { approve: true, min_age_s: Some(7200), ..TargetGates::default() };
        let window = Some(Arc::new(windows.named("nights").unwrap()));
        let target = Target { gates, window, ..Target::sample("web", &["web:*"]) };
        Wish {
            target: Arc::new(target),
            operation,
            not_before: None,
            deadline: None,
            now: false,
            upward: false,
            delivery: None,
        }
    }

    fn set_image() -> Operation {
        Operation::SetImage { image: "web:1".parse().unwrap(), service: None }
    }

    #[test]
    fn what_may_bring_another_image_passes_every_gate_and_what_mends_none() {
        let now = Timestamp::now();
        let (held, later) = (|wish: &Wish| of(wish, now), now + Duration::from_secs(7200));
        for operation in [set_image(), Operation::Redeploy] {
            let wish = wish(operation);
            assert!(held(&wish).approve && held(&wish).window.is_some());
            assert_eq!(not_before(&wish, now), Some(later));
        }
        let rollback = Operation::Rollback { service: None, job: None, image: None };
        for operation in [Operation::Start, Operation::Stop, Operation::Restart, rollback] {
            let wish = wish(operation);
            assert_eq!((held(&wish), not_before(&wish, now)), (Gates::default(), None));
        }
    }

    #[test]
    fn a_stack_is_not_taken_away_without_approval_though_no_image_has_to_age() {
        let wish = wish(Operation::RemoveStack { force: false });
        assert!(of(&wish, Timestamp::now()).approve);
        assert_eq!(not_before(&wish, Timestamp::now()), None);
    }

    #[test]
    fn who_says_now_waits_for_no_time_but_for_the_approval() {
        let now = Timestamp::now();
        let urgent = Wish { now: true, ..wish(set_image()) };
        assert_eq!(of(&urgent, now), Gates { approve: true, ..Gates::default() });
        assert_eq!(not_before(&urgent, now), None);
        let asked = now + Duration::from_secs(9000);
        let later = Wish { not_before: Some(asked), ..wish(set_image()) };
        assert_eq!(not_before(&later, now), Some(asked), "the later of the two");
        assert_eq!(not_before(&Wish { now: true, ..later }, now), Some(asked));
    }
    #[test]
    fn what_is_held_waits_as_long_as_its_target_says() {
        let (now, fortnight) = (Timestamp::now(), Duration::from_secs(14 * 24 * 3600));
        let held = wish(set_image());
        assert_eq!(of(&held, now).hold_until, None);
        let target = Target { hold_for: Some(fortnight), ..Target::clone(&held.target) };
        let held = Wish { target: Arc::new(target.clone()), ..held };
        assert_eq!(of(&held, now).hold_until, Some(now + fortnight));
        // What waits for nothing is not held.
        assert_eq!(of(&Wish { operation: Operation::Start, ..held.clone() }, now), Gates::default());
        let free = Target { gates: TargetGates::default(), window: None, ..target };
        assert_eq!(of(&Wish { target: Arc::new(free), ..held }, now), Gates::default());
    }
}
