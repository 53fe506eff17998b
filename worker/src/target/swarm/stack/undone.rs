//! What a rollback of a whole stack takes back. No I/O.

use proto::{ImageRef, JobId};

use crate::target::swarm::{
    lifecycle::{Concern, UNDONE, brought},
    service::Service,
    stood::way_back,
};

/// The job whose images a rollback of the whole stack takes back: the last one that brought any. What other services
/// run is not of it. Half-way through, the services that were rolled back tell which it was. An `id` that follows at once
/// on a job's is there to undo that one.
///
/// None where a text came after it that brought no image: what that changed is not undone by another image, and what
/// an earlier job brought is not what it changed.
pub(super) fn undone(
    all: &[Service],
    is_mine: impl Fn(&Service) -> bool,
    id: Option<JobId>,
) -> Option<JobId> {
    let mut mine = all.iter().filter(|service| is_mine(service)).peekable();
    if mine.peek().is_some() {
        return mine.find_map(|service| service.label(UNDONE)?.parse().ok());
    }
    let jobs = || all.iter().filter_map(brought);
    if let Some(late) = jobs().find(|job| Some(job.successor()) == id) {
        return Some(late);
    }
    jobs().max().filter(|last| Some(*last) >= newest_text(all))
}

/// Whether a text was deployed after every other job that brought an image.
pub(super) fn is_by_text(all: &[Service]) -> bool {
    let text = newest_text(all);
    text.is_some() && text >= all.iter().filter_map(brought).max()
}

fn newest_text(all: &[Service]) -> Option<JobId> {
    all.iter().filter_map(|service| Concern::Stack.mark(service)).max()
}

/// What a rollback meant here: what ran well before, with the digest it was pinned to when it was written.
pub(super) fn rolled_back_to(service: &Service) -> Option<ImageRef> {
    let good = way_back(service)?;
    let pinned = service.image().filter(|image| image.by_tag() == good.by_tag());
    Some(pinned.filter(|_| good.digest().is_none()).unwrap_or(good))
}
