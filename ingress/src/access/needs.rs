//! What a wish asks of whoever wishes it, whichever way it comes in.

use proto::{Operation, TargetName};

use crate::{route::Wish, view::View};

/// An operation that has to be allowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) operation: &'static str,
    /// On which target; none for whatever there is.
    pub(crate) target: Option<TargetName>,
}

/// All that has to be allowed for a wish.
pub(crate) fn needs(wish: &Wish, view: &View) -> Vec<Need> {
    let operation = wish.operation.type_name();
    let of = |operation, target: &TargetName| Need { operation, target: Some(target.clone()) };
    let mut needs = vec![of(operation, &wish.target.name)];
    let gates = &wish.target.gates;
    if wish.now && (gates.window.is_some() || gates.min_age_s.is_some()) {
        // Whoever may deploy at their hours may not thereby deploy at all hours.
        needs.push(of("approve", &wish.target.name));
    }
    if let Operation::Cancel { job } = &wish.operation {
        // A job is called off by its id alone, wherever its target is.
        needs.push(match view.get(*job) {
            Some((job, _)) => of(operation, &job.target),
            None => Need { operation, target: None },
        });
    }
    needs
}
