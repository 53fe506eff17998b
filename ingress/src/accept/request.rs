//! Who asks for what, and how the same request is known again.

use proto::{Cause, ChainId, Operation, TargetName, Timestamp};
use serde::Serialize;

use crate::{route::Wish, view::as_named};

/// Who asks, and how much at a time.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) cause: Cause,
    pub(crate) traceparent: Option<String>,
    /// The wishes belong together: what is refused by a pool that took nothing yet stops the rest.
    pub(crate) whole: bool,
}

/// The key of this delivery was given to other wishes before.
#[derive(Debug, thiserror::Error)]
#[error("the delivery `{0}` has brought other wishes before")]
pub(crate) struct KeyReused(pub(crate) String);

/// What makes a request the same when it is sent again, whatever became of the first sending.
#[derive(Serialize)]
struct Name<'a> {
    by: &'a Cause,
    asked: Vec<String>,
}

/// One wish, as the request says it.
#[derive(Serialize)]
struct Asked<'a>(&'a TargetName, &'a Operation, [Option<Timestamp>; 2], bool);

impl Request {
    /// The chain of the jobs of a request that is taken whole under one name. It is made of all that is asked for, so
    /// that jobs tell whether the same name brought the same request, or half of it, or another. None where the wishes
    /// have no name, or each its own.
    pub(super) fn chain(&self, wishes: &[Wish]) -> Option<ChainId> {
        let first = wishes.first().filter(|first| self.whole && first.delivery.is_some())?;
        if wishes.iter().any(|wish| wish.delivery != first.delivery) {
            return None;
        }
        let asked = |wish: &Wish| {
            serde_json::to_string(&Asked(
                &wish.target.name,
                &wish.operation,
                [wish.not_before, wish.deadline],
                wish.now,
            ))
            .ok()
        };
        let mut asked: Vec<String> = wishes.iter().map(asked).collect::<Option<_>>()?;
        // The order says nothing: each is for a target of its own, or the later of two for one.
        asked.sort();
        let name = serde_json::to_vec(&Name { by: &as_named(&cause_of(first, self)), asked }).ok()?;
        Some(ChainId::named(&name))
    }
}

pub(super) fn cause_of(wish: &Wish, request: &Request) -> Cause {
    Cause { delivery: wish.delivery.clone(), ..request.cause.clone() }
}
