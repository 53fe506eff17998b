//! SIGHUP: the configuration is read again, and everything goes on with it; or nothing does, and the log says why.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use config::process::Hangups;
use queue::Queue;
use tokio::sync::{mpsc, watch};

use crate::{
    configuration::{Common, Reading},
    failure::{Failure, with_causes},
    process::{self, Grace},
};

/// The log of this module, which `up` shows though it shows little else.
pub(crate) const LOG: &str = "cli::reload=info";

/// What a running process goes by, and the ways to its parts.
pub(crate) struct Reload {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) fixed: Fixed,
    pub(crate) ingress: Option<IngressSide>,
    pub(crate) worker: Option<WorkerSide>,
}

/// What a process is bound to for as long as it runs. What the command line gives instead is not looked at.
#[derive(Debug, Clone)]
pub(crate) struct Fixed {
    listen: Option<SocketAddr>,
    data: Option<PathBuf>,
    queue: queue::Settings,
    spool: Option<queue::SpoolSettings>,
    /// What the ingress began with.
    ingress: Option<ingress::Settings>,
}

/// The way to a running ingress.
pub(crate) struct IngressSide {
    pub(crate) settings: watch::Sender<ingress::Settings>,
    pub(crate) at_home: AtHome,
}

/// Gives settings as they are read what belongs to this process: its directory, and the token in it.
pub(crate) type AtHome = Arc<dyn Fn(ingress::Settings) -> Result<ingress::Settings, Failure> + Send + Sync>;

/// The way to a running worker.
pub(crate) struct WorkerSide {
    pub(crate) prepared: mpsc::Sender<worker::Prepared>,
    /// Those in use.
    pub(crate) settings: worker::Settings,
    pub(crate) grace: Grace,
    /// Where the process itself opens the pools, see [`process::open_pools`].
    pub(crate) queue: Arc<dyn Queue>,
}

/// A configuration that was read and can be used, with what it is bound to.
struct Read {
    common: Common,
    ingress: Option<ingress::Settings>,
    worker: Option<(worker::Settings, worker::Prepared)>,
}

impl Reload {
    /// Reads the files again at each signal, until it is dropped.
    pub(crate) async fn follow(mut self, mut hangups: Hangups) {
        while hangups.next().await {
            match self.once().await {
                Ok(()) => tracing::info!("SIGHUP: the configuration was read again and is in use"),
                Err(failure) => complain(&failure),
            }
        }
    }

    async fn once(&mut self) -> Result<(), Failure> {
        if self.files.is_empty() {
            return Err(Failure::setup(
                "there is no file to read again",
                "name one with --config at the next start",
            ));
        }
        let mut read = self.read_again().await?;
        self.fixed.is_kept_by(&read)?;
        if let (Some(side), Some(settings)) = (&self.ingress, read.ingress.take()) {
            read.ingress = Some((side.at_home)(settings)?);
        }
        // From here on nothing is refused: all parts go on with it.
        if let (Some(side), Some((settings, prepared))) = (&mut self.worker, read.worker) {
            let new = settings.pools().difference(&side.settings.pools()).cloned().collect();
            process::open_pools(&read.common.queue, &side.queue, new).await?;
            side.grace.promise(settings.grace());
            side.settings = settings;
            let ended = |_| Failure::Process { text: "the worker has ended".to_owned() };
            side.prepared.send(prepared).await.map_err(ended)?;
        }
        if let (Some(side), Some(settings)) = (&self.ingress, read.ingress) {
            side.settings.send_replace(settings);
        }
        Ok(())
    }

    /// Secrets may lie on slow disks: nobody waits for them who does not have to.
    async fn read_again(&self) -> Result<Read, Failure> {
        let (files, wants_ingress) = (self.files.clone(), self.ingress.is_some());
        let data = self.worker.as_ref().map(|side| side.settings.data().to_owned());
        let read = tokio::task::spawn_blocking(move || read(&files, wants_ingress, data));
        read.await.map_err(|error| Failure::Process { text: with_causes(&error) })?
    }
}

fn read(files: &[PathBuf], wants_ingress: bool, data: Option<PathBuf>) -> Result<Read, Failure> {
    let mut reading = Reading::of(files)?;
    let common = reading.common();
    let ingress = if wants_ingress { reading.ingress().map(Some) } else { Some(None) };
    let worker = if data.is_some() { reading.worker().map(Some) } else { Some(None) };
    let all = common.zip(ingress).zip(worker);
    let ((common, ingress), worker) = reading.finish(all)?;
    let Some((settings, data)) = worker.zip(data) else { return Ok(Read { common, ingress, worker: None }) };
    let settings = settings.with_data(&data);
    let prepared = worker::Prepared::new(&settings).map_err(|error| {
        Failure::setup(with_causes(&error), "mend the system in the configuration, then send SIGHUP again")
    })?;
    Ok(Read { common, ingress, worker: Some((settings, prepared)) })
}

impl Fixed {
    /// What every process is bound to; `data` is what the command line gives instead.
    pub(crate) fn of(common: &Common, data: Option<&Path>) -> Fixed {
        let data = data.is_none().then(|| common.data.clone());
        Fixed { listen: None, data, queue: common.queue.clone(), spool: None, ingress: None }
    }

    /// What one with an ingress is bound to besides.
    pub(crate) fn and_ingress(
        mut self,
        common: &Common,
        settings: &ingress::Settings,
        listen: Option<SocketAddr>,
    ) -> Fixed {
        self.listen = listen.is_none().then(|| settings.listen());
        self.spool = Some(common.spool);
        self.ingress = Some(settings.clone());
        self
    }

    /// Refuses a configuration that changes what only a start can change.
    fn is_kept_by(&self, read: &Read) -> Result<(), Failure> {
        let listen = read.ingress.as_ref().map(ingress::Settings::listen);
        let Common { data, queue, spool } = &read.common;
        let changed: Vec<&str> = [
            ("`listen`", self.listen.is_some() && self.listen != listen),
            ("`data`", self.data.as_ref().is_some_and(|known| known != data)),
            ("`queue`", self.queue != queue.clone().keeping(self.queue.keep())),
            ("`keep`", self.queue.keep() != queue.keep()),
            ("`spool`", self.spool.is_some_and(|known| known != *spool)),
        ]
        .into_iter()
        .filter_map(|(name, is_other)| is_other.then_some(name))
        .chain(self.ingress.iter().zip(&read.ingress).flat_map(|(known, new)| known.needs_a_start_for(new)))
        .collect();
        if changed.is_empty() {
            return Ok(());
        }
        Err(Failure::setup(
            format!("{} cannot change while the process runs", changed.join(", ")),
            "restart the process to change it, or put it back as it was and send SIGHUP again",
        ))
    }
}

/// Says each fault in a line of its own.
fn complain(failure: &Failure) {
    tracing::error!("SIGHUP: the configuration was not taken; the one in use stays");
    match failure {
        Failure::Configuration(faults) | Failure::Variables(faults) => {
            for fault in faults.iter() {
                tracing::error!("{}", fault.to_string().replace("\n  hint: ", "; hint: "));
            }
        }
        Failure::Setup { .. } | Failure::Client(_) | Failure::Process { .. } => {
            let hint = failure.hint().map(|hint| format!("; hint: {hint}")).unwrap_or_default();
            tracing::error!("{failure}{hint}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Read {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("l.yaml");
        std::fs::write(&file, text).unwrap();
        read(&[file], true, None).unwrap()
    }

    const TEXT: &str =
        "listen: 127.0.0.1:1\ndata: a\nqueue: {amqp: mq, user: u, password: p}\nspool: {jobs: 5}\n";

    fn bound(listen: Option<SocketAddr>, data: Option<&str>) -> Fixed {
        let first = read_text(TEXT);
        let fixed = Fixed::of(&first.common, data.map(Path::new));
        fixed.and_ingress(&first.common, &first.ingress.unwrap(), listen)
    }

    #[test]
    fn what_only_a_start_can_change_is_named() {
        let fixed = bound(None, None);
        assert!(fixed.is_kept_by(&read_text(&format!("{TEXT}public_url: http://x\n"))).is_ok());
        for (from, to, named) in [
            ("127.0.0.1:1", "127.0.0.1:2", "`listen`"),
            ("data: a", "data: b", "`data`"),
            ("password: p", "password: q", "`queue`"),
            ("spool:", "keep: {letters: {age: 60d}}\nspool:", "`keep`"),
            ("jobs: 5", "jobs: 6", "`spool`"),
        ] {
            let told = fixed.is_kept_by(&read_text(&TEXT.replace(from, to))).unwrap_err().to_string();
            assert_eq!(told, format!("{named} cannot change while the process runs"));
        }
    }

    #[test]
    fn what_the_command_line_gives_instead_may_change_in_the_file() {
        let other = read_text(&TEXT.replace("127.0.0.1:1", "127.0.0.1:2").replace("data: a", "data: b"));
        let fixed = bound(Some(SocketAddr::from(([127, 0, 0, 1], 3))), Some("c"));
        assert!(fixed.is_kept_by(&other).is_ok());
    }
}
