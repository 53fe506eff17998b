//! What people are told to do about a rollout that did not hold.

use proto::{ImageRef, Reason, TargetName, reason};

use super::Undone;
use crate::target::{
    Wanted, rolled_back,
    swarm::{lifecycle::Concern, service::same_image},
};

/// What to do about an image of which nothing bad is known.
pub(super) const DEPLOY_AGAIN: &str = "nothing is known against the image itself: deploy it again";

/// What to do about what was rolled back.
pub(super) fn what_next(undone: &Undone<'_>) -> String {
    let target = &undone.wanted.job.target;
    match Concern::of(&undone.wanted.job.operation) {
        Concern::Stack => mend_the_text(target),
        Concern::Image | Concern::Running | Concern::Redeploy | Concern::Nothing
            if undone.why.code == reason::NO_SUITABLE_NODE =>
        {
            "make room or mend the service's placement, then deploy the image again".to_owned()
        }
        Concern::Image | Concern::Running | Concern::Redeploy | Concern::Nothing if !undone.is_bad => {
            DEPLOY_AGAIN.to_owned()
        }
        Concern::Image | Concern::Running | Concern::Redeploy | Concern::Nothing => {
            rolled_back::what_next(target, undone.image)
        }
    }
}

/// The same of a whole text.
pub(in crate::target::swarm) fn mend_the_text(target: &TargetName) -> String {
    format!(
        "mend the compose file, then deploy it again; `longshore stack show {target}` tells what runs now"
    )
}

/// What can be done about a rollout that failed and is not taken back by itself.
pub(super) fn with_the_way_back(
    why: Reason,
    good: Option<&ImageRef>,
    (wanted, image): (&Wanted, &ImageRef),
) -> Reason {
    let good = good.filter(|good| !same_image(good, image));
    match (&why.hint, good) {
        (None, Some(good)) => {
            let target = &wanted.job.target;
            let hint = format!("`longshore target rollback {target}` runs {} again", good.familiar());
            why.hint(hint)
        }
        (Some(_), _) | (None, None) => why,
    }
}
