//! Texts that would bring an image that is on hold for one of their services: they are held like a wish for that image
//! alone, and nothing of them is written meanwhile.

use proto::{CauseKind, Job, Operation, Reason, reason};

use crate::{
    bad_image::{LOOK_ONCE_MORE, expired, held_already},
    conclusion::Conclusion,
    execute::{Executor, Step},
    schedule::{left_until, pause_while_held},
    target::{BadPart, Found, TargetError},
};

impl Executor {
    /// Before the target is written. The outer error: a registry cannot be asked.
    pub(crate) async fn no_text_on_hold(
        &self,
        job: &Job,
        found: &dyn Found,
    ) -> Result<Step<()>, TargetError> {
        // Half of a wish is nobody's wish; and who releases one has seen what became of it.
        let passes = job.cause.kind == CauseKind::Release || found.stands_in_part(job.id);
        if passes || !matches!(job.operation, Operation::DeployStack(_)) {
            return Ok(Ok(()));
        }
        let bad = found.bad_parts(job.id).await?;
        if bad.is_empty() {
            return Ok(Ok(()));
        }
        Ok(self.called_off(job).and_then(|()| Err(self.text_held(job, &bad))))
    }

    /// Whether it was said last of a text that it is held for an image.
    pub(crate) fn is_text_on_hold(&self, job: &Job) -> bool {
        matches!(job.operation, Operation::DeployStack(_))
            && self.index.is_held_for(job.id, reason::BAD_IMAGE)
    }

    fn text_held(&self, job: &Job, bad: &[BadPart]) -> Conclusion {
        let until = job.held_until();
        let left = left_until(until);
        let all: Vec<String> =
            bad.iter().map(|BadPart { part, image }| format!("{} to `{part}`", image.familiar())).collect();
        let what = format!("it would bring what is on hold here: {}", all.join(", "));
        if left.is_zero() {
            return expired(job, until, &what);
        }
        let text = format!("{what} (rolled back before, or put on hold by name)");
        let hint = format!(
            "deploy a newer image, or have this very text tried again: `longshore target release {}`",
            job.target
        );
        let reason = Reason::new(reason::BAD_IMAGE, text).hint(hint);
        if let Some(earlier) = self.index.same_text_held(job) {
            return held_already(earlier, &reason);
        }
        let told = self.index.is_held(job.id, &reason);
        let pause = pause_while_held(left);
        let after = if told { pause } else { pause.min(LOOK_ONCE_MORE) };
        Conclusion::Held { after, reason, image: None, told }
    }
}
