//! Whether a deploy that was refused changed anything. A refusal by the docker command alone, or a pull that failed, touches
//! nothing: there is nothing to put back, and of the image nothing is known.

use proto::JobId;

use super::{PortainerStack, ground::Ground, live::Live, objects::Status};
use crate::target::{End, Outcome, Wanted};

/// What is said of it.
const UNTOUCHED: &str = "nothing was changed";

impl PortainerStack {
    /// The outcome with that said, where it is so.
    ///
    /// # Errors
    /// The outcome as it was, where something may have been touched.
    pub(super) async fn untouched(&self, wanted: &Wanted, outcome: Outcome) -> Result<Outcome, Outcome> {
        let End::Failed(why) = &outcome.end else { return Err(outcome) };
        let Ok(ground) = self.ground(&wanted.job.operation).await else { return Err(outcome) };
        let Ok(live) = self.live(&ground.stack).await else { return Err(outcome) };
        // What the newest call failed may have come half-way, and then put its file back.
        if ground.stack.status == Status::Error
            || wrote(&ground, wanted.job.id)
            || !runs_as_written(&ground, &live)
        {
            return Err(outcome);
        }
        let mut why = why.clone();
        why.text = format!("{}; {UNTOUCHED}", why.text);
        Ok(Outcome { end: End::Failed(why), ..outcome })
    }
}

/// Whether the file is the job's. Versions before 2.16 keep what they refused.
fn wrote(ground: &Ground, job: JobId) -> bool {
    ground.marks.stack == Some(job) || ground.marks.services.values().any(|mark| mark.job == job)
}

/// Whether all that the file names runs.
fn runs_as_written(ground: &Ground, live: &Live) -> bool {
    ground.file.services().all(|service| match ground.image(service) {
        Some(image) => live.runs(&ground.stack, service, &image) && live.is_running(service),
        // Built there: nobody knows what it is called.
        None => true,
    })
}
