//! The webhook plugin of Woodpecker, which sends what Drone's does; the server itself sends nothing.

use super::{Message, Reading, Rules, Unreadable, drone};

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    drone::read(message, rules)
}
