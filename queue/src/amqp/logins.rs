//! As whom the fleet logs in. The broker compares the property `user_id` of every message with its publisher's login, and
//! keeps it when it lays the message aside: so a message that names one of these was published by the fleet.

use lapin::{message::Delivery, types::ShortString};

use crate::AmqpSettings;

/// The names under which Longshore's own processes log in to the broker, or once did.
#[derive(Debug, Clone)]
pub(super) struct Logins {
    own: String,
    others: Vec<String>,
}

impl Logins {
    pub(super) fn of(settings: &AmqpSettings) -> Logins {
        Logins { own: settings.user.clone(), others: settings.logins.clone() }
    }

    /// As whom this process publishes.
    pub(super) fn own(&self) -> &str {
        &self.own
    }

    /// Whether it is a name of the fleet's.
    pub(super) fn knows(&self, user: &str) -> bool {
        user == self.own || self.others.iter().any(|other| other == user)
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
        Logins { own: own.to_owned(), others: others.iter().map(|&other| other.to_owned()).collect() }
    }
}
