//! The processor time of programs: beside rates it says who took the time, and a noisy neighbour changes it little.

use std::time::Duration;

use anyhow::{Context, Result};

/// What a program of RabbitMQ is called.
const BROKER: &str = "beam.smp";

/// Units of it in a second, on every Linux.
const TICKS: u64 = 100;

/// Processor time of a program and of the broker.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    own: Duration,
    broker: Duration,
}

impl Spent {
    /// By the process and by all brokers until now.
    pub(crate) fn by(process: u32) -> Result<Spent> {
        Ok(Spent { own: of(process)?, broker: of_brokers()? })
    }

    /// What came since.
    pub(crate) fn since(self, before: Spent) -> Spent {
        Spent { own: self.own.saturating_sub(before.own), broker: self.broker.saturating_sub(before.broker) }
    }

    /// What comes on each of so many hooks, in words.
    pub(crate) fn on_each_of(self, hooks: usize) -> String {
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / hooks as f64;
        format!("{:.0} µs and {:.0} µs of the broker", micros(self.own), micros(self.broker))
    }
}

impl std::ops::AddAssign for Spent {
    fn add_assign(&mut self, other: Spent) {
        self.own += other.own;
        self.broker += other.broker;
    }
}

fn of(process: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).context("read a process's times")?;
    // The name, in brackets, may hold spaces.
    let (_, fields) = stat.rsplit_once(')').context("a process without a name")?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let mut next = || ticks.next().context("a process without times")?.context("read a process's times");
    let (user, system) = (next()?, next()?);
    Ok(Duration::from_millis((user + system) * 1000 / TICKS))
}

fn of_brokers() -> Result<Duration> {
    let mut all = Duration::ZERO;
    for entry in std::fs::read_dir("/proc").context("look at the processes")? {
        let entry = entry.context("look at a process")?;
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if name.trim() == BROKER {
            all += of(process)?;
        }
    }
    Ok(all)
}
