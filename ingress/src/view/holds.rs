//! What is held on a target, as far as its jobs tell.

use proto::{Job, Operation, State, TargetName, reason};

use super::{View, row::Row};

/// What a release may mean.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Held {
    /// The target, or one image, is about to be released by this job.
    UnderWay(Job),
    /// The target is on hold: by this job, or this job waits because it is.
    Target(Job),
    /// This job put an image on hold.
    Image(Job),
    /// This job waits since its image was rolled back before.
    Waits(Job),
    /// This job was rolled back, and nothing was released since.
    RolledBack(Job),
}

impl View {
    /// What is held on `target`, the newest first.
    pub(crate) fn held_on(&self, target: &TargetName) -> Vec<Held> {
        let jobs = self.jobs();
        let of_target = jobs.rows.iter().rev().filter(|(_, row)| row.target() == target);
        let (mut held, mut released) = (Vec::new(), Vec::new());
        for (id, row) in of_target {
            let job = || row.job(*id);
            match (row.operation(), row.state()) {
                (Operation::Release { .. }, state) if !state.is_end() => held.push(Held::UnderWay(job())),
                (Operation::Release { image }, State::Succeeded) => released.push(image.clone()),
                (Operation::Hold { image: Some(image) }, State::Succeeded) => {
                    let is_it = |other: &proto::ImageRef| other.by_tag() == image.by_tag();
                    if !released.iter().flatten().any(is_it) {
                        held.push(Held::Image(job()));
                    }
                }
                (Operation::Hold { image: None }, state) if may_stand(state) && !released.contains(&None) => {
                    held.push(Held::Target(job()));
                }
                (_, State::Held) if waits_for(row, reason::ON_HOLD) && !released.contains(&None) => {
                    held.push(Held::Target(job()));
                }
                (_, State::Held) if waits_for(row, reason::BAD_IMAGE) => held.push(Held::Waits(job())),
                (_, State::RolledBack) if released.is_empty() => held.push(Held::RolledBack(job())),
                _ => {}
            }
        }
        held
    }
}

fn waits_for(row: &Row, code: &str) -> bool {
    row.why_held().is_some_and(|why| why.code == code)
}

/// Whether a hold in this state stands on its target, or is about to.
fn may_stand(state: State) -> bool {
    match state {
        State::Accepted
        | State::Held
        | State::Started
        | State::Progress
        | State::Retrying
        | State::Succeeded => true,
        State::RolledBack
        | State::Failed
        | State::Dead
        | State::Superseded
        | State::Rejected
        | State::Cancelled => false,
    }
}
