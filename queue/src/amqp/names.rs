//! The names on the broker, which people outside rely on.

use std::time::Duration;

use proto::{Catalogue, Event, PoolName, State, TargetName};

use crate::line::LineName;

/// Names everything on the broker after one prefix.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Names {
        Names { prefix: prefix.to_owned() }
    }

    /// The exchange that only the pools' queues are bound to.
    pub(super) fn jobs(&self) -> String {
        format!("{}.jobs", self.prefix)
    }

    pub(super) fn events(&self) -> String {
        format!("{}.events", self.prefix)
    }

    pub(super) fn history(&self) -> String {
        format!("{}.history", self.prefix)
    }

    /// The exchange of the dead letters, and the stream behind it.
    pub(super) fn dead(&self) -> String {
        format!("{}.dead", self.prefix)
    }

    pub(super) fn pool(&self, pool: &PoolName) -> String {
        format!("{}.jobs.{}", self.prefix, pool.as_str())
    }

    /// The exchange of what is for ingresses, and the queue behind it.
    pub(super) fn intake(&self) -> String {
        format!("{}.intake", self.prefix)
    }

    /// The queue behind a line.
    pub(super) fn line(&self, line: &LineName) -> String {
        match line {
            LineName::Pool(pool) => self.pool(pool),
            LineName::Intake => self.intake(),
        }
    }

    /// A rung's exchange, and the queue behind it.
    pub(super) fn rung(&self, line: &LineName, wait: Duration) -> String {
        match line {
            LineName::Pool(pool) => format!("{}.retry.{}.{}", self.prefix, pool.as_str(), short(wait)),
            LineName::Intake => format!("{}.intake.retry.{}", self.prefix, short(wait)),
        }
    }

    pub(super) fn lock(&self, target: &TargetName) -> String {
        format!("{}.lock.{}.{}", self.prefix, target.pool().as_str(), target.name())
    }

    /// The questions put to a pool.
    pub(super) fn ask(&self, pool: &PoolName) -> String {
        format!("{}.ask.{}", self.prefix, pool.as_str())
    }

    /// A queue of one listener.
    pub(super) fn listener(&self) -> String {
        format!("{}.live.{}", self.prefix, uuid::Uuid::now_v7().simple())
    }
}

/// The routing key of a job for this target.
pub(super) fn job_key(target: &TargetName) -> String {
    format!("{}.{}", target.pool().as_str(), target.name())
}

/// Every routing key of a job for this pool.
pub(super) fn pool_key(pool: &PoolName) -> String {
    format!("{}.*", pool.as_str())
}

/// The routing key of an event.
pub(super) fn event_key(event: &Event) -> String {
    format!("{}.{}.{}", event.state(), event.subject.pool().as_str(), event.subject.name())
}

/// The routing key of a catalogue. A system's name may hold what would split a key.
pub(super) fn catalogue_key(catalogue: &Catalogue) -> String {
    let system = catalogue.data.system.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "-");
    format!("catalogue.{}.{system}", catalogue.data.pool)
}

/// Every routing key of a catalogue.
pub(super) const CATALOGUE_KEY: &str = "catalogue.#";

/// The routing key of a sighting.
pub(super) const SIGHTING_KEY: &str = "sighting";

/// Every routing key of an event of this state.
pub(super) fn state_key(state: State) -> String {
    format!("{state}.#")
}

/// A wait as it stands in names: `5s`, `2m`, `250ms`.
fn short(wait: Duration) -> String {
    let ms = wait.as_millis();
    match (ms % 60_000, ms % 1_000) {
        (0, _) => format!("{}m", ms / 60_000),
        (_, 0) => format!("{}s", ms / 1_000),
        (_, _) => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_contract() {
        let names = Names::new("longshore");
        let target: TargetName = "office/web".parse().unwrap();
        assert_eq!(names.jobs(), "longshore.jobs");
        assert_eq!(names.events(), "longshore.events");
        assert_eq!(names.history(), "longshore.history");
        assert_eq!(names.dead(), "longshore.dead");
        assert_eq!(names.pool(target.pool()), "longshore.jobs.office");
        assert_eq!(names.lock(&target), "longshore.lock.office.web");
        assert_eq!(names.ask(target.pool()), "longshore.ask.office");
        assert_eq!(names.intake(), "longshore.intake");
        let intake_rung = names.rung(&LineName::Intake, Duration::from_secs(5));
        assert_eq!(intake_rung, "longshore.intake.retry.5s");
        assert_eq!(job_key(&target), "office.web");
        let rungs = crate::AmqpSettings::RUNGS.map(|rung| names.rung(&target.pool().into(), rung));
        let expected = ["5s", "30s", "2m", "10m"].map(|wait| format!("longshore.retry.office.{wait}"));
        assert_eq!(rungs, expected);
    }

    #[test]
    fn waits_are_named_in_the_largest_whole_unit() {
        assert_eq!(short(Duration::from_millis(250)), "250ms");
        assert_eq!(short(Duration::from_secs(90)), "90s");
    }
}
