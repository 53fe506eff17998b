//! As whom the fleet logs in. The broker compares the property `user_id` of every message with its publisher's login, and
//! keeps it when it lays the message aside: so a message that names one of these was published by the fleet.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use lapin::{message::Delivery, types::ShortString};

use crate::AmqpSettings;

/// The names under which Longshore's own processes log in to the broker, or once did.
#[derive(Debug)]
pub(super) struct Logins {
    own: String,
    others: Vec<String>,
    /// Of whom it was said that they are none of these.
    strangers: Mutex<BTreeSet<String>>,
}

/// Of how many others it is said: there may be as many as the broker has users.
const MOST_STRANGERS: usize = 16;

impl Logins {
    pub(super) fn of(settings: &AmqpSettings) -> Logins {
        Logins { own: settings.user.clone(), others: settings.logins.clone(), strangers: Mutex::default() }
    }

    /// As whom this process publishes.
    pub(super) fn own(&self) -> &str {
        &self.own
    }

    /// Whether it is a name of the fleet's.
    pub(super) fn knows(&self, user: &str) -> bool {
        user == self.own || self.others.iter().any(|other| other == user)
    }

    /// Tells the log, once of each, that somebody else wrote what only the fleet writes: where it is one of the fleet
    /// after all, nothing that dies in their hands can be replayed, and that is better known before it does.
    pub(super) fn note_writer(&self, delivery: &Delivery, wrote: &'static str) {
        let user = delivery.properties.user_id().as_ref().map(ShortString::as_str);
        let Some(user) = user.filter(|user| !self.knows(user)) else { return };
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.len() < MOST_STRANGERS && strangers.insert(user.to_owned()) {
            tracing::warn!(
                user,
                wrote,
                "a user of the broker writes as Longshore does, and is none of `queue: {{user, logins}}`: if a process of \
                 Longshore logs in as that user, write the name into `logins` and start this process again; until then no \
                 dead job that it leaves can be replayed"
            );
        }
    }

    /// Whether one of the fleet published the message, as the broker attests.
    pub(super) fn sent(&self, delivery: &Delivery) -> bool {
        delivery.properties.user_id().as_ref().map(ShortString::as_str).is_some_and(|user| self.knows(user))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn logins(own: &str, others: &[&str]) -> Logins {
        Logins {
            own: own.to_owned(),
            others: others.iter().map(|&other| other.to_owned()).collect(),
            strangers: Mutex::default(),
        }
    }
}
