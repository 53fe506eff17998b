//! A clock of a program's own, ahead or behind: Debian's faketime, which stands between the program and the
//! kernel. Time spans stay right, as they do on a machine whose clock is set.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;
use tokio::time::sleep;

/// Where Debian puts it, below a directory for the machine's kind.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// Programs look at the file again after so many seconds.
const LOOKS_EVERY: u64 = 1;

/// What differs from the machine's clock, by so much as was set last.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    file: tempfile::NamedTempFile,
}

impl Clock {
    /// A clock that differs by `offset`, as faketime writes it: `-30s`, `+365d`, `+0`.
    pub fn with_offset(offset: &str) -> Result<Self> {
        let clock = Self {
            library: library()?,
            file: tempfile::NamedTempFile::new().context("make a file for a clock")?,
        };
        clock.write(offset)?;
        Ok(clock)
    }

    /// Sets it, and waits until the programs that run by it have noticed.
    pub async fn set(&self, offset: &str) -> Result<()> {
        self.write(offset)?;
        sleep(Duration::from_secs(2 * LOOKS_EVERY)).await;
        Ok(())
    }

    /// Makes `command` run by it.
    pub fn give_to(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", self.file.path())
            .env("FAKETIME_CACHE_DURATION", LOOKS_EVERY.to_string())
            .env("DONT_FAKE_MONOTONIC", "1");
    }

    fn write(&self, offset: &str) -> Result<()> {
        std::fs::write(self.file.path(), format!("{offset}\n")).context("set a clock")
    }
}

fn library() -> Result<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").context("list /usr/lib")?;
    let mut found = folders.filter_map(|folder| Some(folder.ok()?.path().join(LIBRARY)));
    found.find(|path| Path::exists(path)).context("find faketime: it is installed by tests/run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_runs_by_the_clock_it_was_given() {
        let clock = Clock::with_offset("+365d").unwrap();
        let mut command = Command::new("date");
        command.arg("+%s");
        clock.give_to(&mut command);
        let output = command.output().await.unwrap();
        let told: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        assert!(told > now + 364 * 86_400, "{told} {now}");
    }
}
