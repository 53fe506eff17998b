//! What the commands that run on have in common: a queue, a listener, parts that end together.

use std::{
    any::Any,
    collections::BTreeSet,
    io,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use config::process::Endings;
use proto::PoolName;
use queue::{Queue, QueueError, SpoolSettings, Spooling};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    configuration::Common,
    exit::Exit,
    failure::{Failure, with_causes},
};

/// How long parts may take to end once they are asked to, unless one was promised more.
const END_WITHIN: Duration = Duration::from_secs(30);

/// What a worker gets beyond the grace of its jobs, to say what became of them.
const TO_SAY_SO: Duration = Duration::from_secs(10);

/// How long parts may take once they are asked to end at once.
const END_AT_ONCE_WITHIN: Duration = Duration::from_secs(2);

/// The parts of a process. When one ends, all end.
pub(crate) struct Parts {
    running: JoinSet<Result<(), String>>,
    stop: worker::Stop,
    grace: Grace,
    beside: JoinSet<()>,
    kept: Vec<Box<dyn Any + Send>>,
}

/// The grace that jobs were promised; a configuration that is read again may promise another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grace(Arc<Mutex<Duration>>);

impl Grace {
    /// Jobs get so much grace from now on.
    pub(crate) fn promise(&self, grace: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = grace;
    }

    /// What jobs get now.
    pub(crate) fn promised(&self) -> Duration {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long all parts may take to end.
    fn end_within(&self) -> Duration {
        END_WITHIN.max(self.promised().saturating_add(TO_SAY_SO))
    }
}

impl Parts {
    pub(crate) fn new() -> Parts {
        Parts {
            running: JoinSet::new(),
            stop: worker::Stop::default(),
            grace: Grace::default(),
            beside: JoinSet::new(),
            kept: Vec::new(),
        }
    }

    /// Tells a part when to end.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.asked.clone()
    }

    /// Tells a worker when to end, whose jobs get so much grace.
    pub(crate) fn stop_with_grace(&mut self, grace: Duration) -> worker::Stop {
        self.grace.promise(grace);
        self.stop.clone()
    }

    /// Where another grace can be promised.
    pub(crate) fn grace(&self) -> Grace {
        self.grace.clone()
    }

    /// Starts a part that ends only when it is asked to.
    pub(crate) fn start_worker(&mut self, part: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn(async move {
            part.await;
            Ok(())
        });
    }

    /// Starts what ends with the process, and nothing with it.
    pub(crate) fn start_beside(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.beside.spawn(work);
    }

    /// Keeps what is to go on until every part has ended.
    pub(crate) fn keep(&mut self, work: impl Any + Send) {
        self.kept.push(Box::new(work));
    }

    /// Starts a part.
    pub(crate) fn start<E>(&mut self, part: impl Future<Output = Result<(), E>> + Send + 'static)
    where
        E: std::error::Error + Send + 'static,
    {
        self.running.spawn(async move { part.await.map_err(|error| with_causes(&error)) });
    }

    /// Runs until a signal or until a part ends, and ends the others in good order.
    /// `asked` is called once when a signal asks for it, before anything is waited for.
    pub(crate) async fn run(
        mut self,
        queue: Arc<dyn Queue>,
        endings: &mut Endings,
        asked: impl FnOnce(),
    ) -> Result<Exit, Failure> {
        let ended = tokio::select! {
            () = endings.next() => None,
            part = self.running.join_next() => part,
        };
        if ended.is_none() {
            asked();
        }
        let rest = self.end(endings).await;
        queue.close().await;
        match ended.map(|part| part.unwrap_or_else(|error| Err(error.to_string()))) {
            Some(Err(text)) => Err(Failure::Process { text }),
            Some(Ok(())) => {
                Err(Failure::Process { text: "a part of the process ended on its own".to_owned() })
            }
            None => rest
                .into_iter()
                .find_map(Result::err)
                .map_or(Ok(Exit::Succeeded), |text| Err(Failure::Process { text })),
        }
    }

    /// Runs until `work` is done, and ends the parts.
    ///
    /// # Errors
    /// When a part ends before it.
    pub(crate) async fn until<T>(
        mut self,
        queue: Arc<dyn Queue>,
        work: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let done = tokio::select! {
            done = work => Ok(done),
            part = self.running.join_next() => Err(part),
        };
        self.end(&mut Endings::listen()).await;
        queue.close().await;
        done.map_err(|part| {
            let part = part.map(|part| part.unwrap_or_else(|error| Err(error.to_string())));
            let why = part.and_then(Result::err);
            Failure::Process {
                text: why.unwrap_or_else(|| "a part of the process ended on its own".to_owned()),
            }
        })
    }

    /// Ends the parts in good order; at once when that takes too long or is asked for a second time. Whatever is
    /// unfinished goes on at another worker, or at the next start.
    async fn end(&mut self, again: &mut Endings) -> Vec<Result<(), String>> {
        let mut ended = Vec::new();
        self.beside.abort_all();
        self.stop.asked.cancel();
        tokio::select! {
            () = all_end(&mut self.running, &mut ended) => return ended,
            () = tokio::time::sleep(self.grace.end_within()) => {}
            () = again.next() => {}
        }
        self.stop.at_once.cancel();
        // What still hangs hangs on something outside, and is left.
        let _ = tokio::time::timeout(END_AT_ONCE_WITHIN, all_end(&mut self.running, &mut ended)).await;
        ended
    }
}

async fn all_end(running: &mut JoinSet<Result<(), String>>, ended: &mut Vec<Result<(), String>>) {
    while let Some(part) = running.join_next().await {
        ended.push(part.unwrap_or_else(|error| Err(error.to_string())));
    }
}

/// Runs a process from its start on. Whoever asks it to end while it still starts, with a broker that does not answer or
/// a long history to read, is heard at once: nothing of it has begun.
pub(crate) async fn run<A: FnOnce()>(
    start: impl Future<Output = Result<Started<A>, Failure>>,
) -> Result<Exit, Failure> {
    let mut endings = Endings::listen();
    let started = tokio::select! {
        // What has started is ended in good order, also by who asked in the same moment.
        biased;
        started = start => started?,
        () = endings.next() => return Ok(Exit::Succeeded),
    };
    started.parts.run(started.queue, &mut endings, started.asked).await
}

/// A process that has started.
pub(crate) struct Started<A> {
    pub(crate) parts: Parts,
    /// Closed last.
    pub(crate) queue: Arc<dyn Queue>,
    /// Called once when a signal asks for the end, before anything is waited for.
    pub(crate) asked: A,
}

/// Opens the queue, and tells what keeps it from opening.
pub(crate) async fn open_queue(settings: &queue::Settings, data: &Path) -> Result<Arc<dyn Queue>, Failure> {
    queue::open(settings, data).await.map_err(|error| not_open(&error, data))
}

/// The queue as an ingress uses it: with a broker that may be away, beside a directory that keeps what comes in
/// meanwhile. The embedded queue is never away. `follows`: it may be the embedded queue's directory one day.
pub(crate) async fn beside_a_spool(
    common: &Common,
    queue: Arc<dyn Queue>,
    data: &Path,
    follows: bool,
) -> Result<(Arc<dyn Queue>, Option<Arc<Spooling>>), Failure> {
    let keep = match &common.queue {
        queue::Settings::Embedded(_) => return Ok((queue, None)),
        queue::Settings::Amqp(amqp) => amqp.keep,
    };
    let settings = SpoolSettings { follows, keep, ..common.spool };
    let spooling = Spooling::open(queue, data, settings).await.map_err(|error| not_open(&error, data))?;
    let queue: Arc<dyn Queue> = Arc::clone(&spooling) as Arc<dyn Queue>;
    Ok((queue, Some(spooling)))
}

/// What to do where the broker refuses something, beside what its answer says.
const WRONG_ON_THE_BROKER: &str = "mend it as it says; `longshore check --connect` tells of everything that stands on the \
     broker otherwise, `longshore broker setup --print` of the rights that its users need";

fn not_open(error: &QueueError, data: &Path) -> Failure {
    let hint = match error {
        QueueError::Storage { .. } if queue::embedded::says_what_to_do(error) => {
            "docs/data-directory.md tells of its files; nothing was changed"
        }
        QueueError::InUse(_) => {
            "another Longshore runs on this directory: stop it, or choose another directory with --data"
        }
        QueueError::Storage { source, .. } if is_of_the_disk(source.as_ref()) => {
            "look at the directory's owner and at the space left on its disk"
        }
        QueueError::Storage { .. } => {
            "move the directory aside, and Longshore starts with an empty one; docs/data-directory.md tells what is lost"
        }
        QueueError::Topology { .. } => WRONG_ON_THE_BROKER,
        QueueError::Settings(_) => "look at `queue` in the configuration",
        QueueError::NoPool(_)
        | QueueError::Full
        | QueueError::Unavailable { .. }
        | QueueError::Unconfirmed { .. }
        | QueueError::NobodyAlive(_)
        | QueueError::NoAnswer { .. }
        | QueueError::NotOurs
        | QueueError::Closed => "start again in a moment",
    };
    let place = match error {
        QueueError::Storage { .. } => format!(" in {}", data.display()),
        QueueError::NoPool(_)
        | QueueError::InUse(_)
        | QueueError::Topology { .. }
        | QueueError::Settings(_)
        | QueueError::Full
        | QueueError::Unavailable { .. }
        | QueueError::Unconfirmed { .. }
        | QueueError::NobodyAlive(_)
        | QueueError::NoAnswer { .. }
        | QueueError::NotOurs
        | QueueError::Closed => String::new(),
    };
    Failure::setup(format!("cannot open the queue{place}: {}", with_causes(error)), hint)
}

/// Whether the machine refused to read or write; otherwise the file's content is at fault.
fn is_of_the_disk(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut failures = causes.filter_map(|error| error.downcast_ref::<io::Error>());
    failures.any(|error| error.raw_os_error().is_some()) || error.to_string().contains("(os error ")
}

/// Makes the pools known before the first request comes in: without a worker that served it once, a pool takes no
/// job.
pub(crate) async fn open_pools(
    settings: &queue::Settings,
    queue: &Arc<dyn Queue>,
    pools: BTreeSet<PoolName>,
) -> Result<(), Failure> {
    match settings {
        queue::Settings::Amqp(_) => return require_pools(&**queue, pools).await,
        queue::Settings::Embedded(_) => {}
    }
    for pool in pools {
        let taken = queue.take(&pool, 1).await;
        drop(taken.map_err(|error| Failure::Process { text: with_causes(&error) })?);
    }
    Ok(())
}

/// Declares the pools that a worker of this process is to serve. Where the broker holds something else under their names
/// that is told before anything begins; a broker that is away is waited for later.
pub(crate) async fn require_pools(queue: &dyn Queue, pools: BTreeSet<PoolName>) -> Result<(), Failure> {
    for pool in pools {
        if !queue.is_readable() {
            return Ok(());
        }
        // What else goes wrong passes, or is told when the jobs are taken.
        if let Err(error @ QueueError::Topology { .. }) = queue.declare(&pool).await {
            let text = format!("cannot take the jobs of the pool `{pool}`: {}", with_causes(&error));
            return Err(Failure::setup(text, WRONG_ON_THE_BROKER));
        }
    }
    Ok(())
}

/// Why an address cannot be listened on, and what to do about it.
const REFUSED: [(io::ErrorKind, &str, &str); 3] = [
    (
        io::ErrorKind::AddrInUse,
        "another process listens there",
        "stop it, or choose another port, as in `--listen 127.0.0.1:8081`",
    ),
    (
        io::ErrorKind::AddrNotAvailable,
        "this machine has no such address",
        "listen on `127.0.0.1` or `0.0.0.0`",
    ),
    (
        io::ErrorKind::PermissionDenied,
        "this user may not",
        "choose a port above 1023, as in `--listen 127.0.0.1:8080`",
    ),
];

/// Listens, and tells what keeps it from listening.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let known = REFUSED.into_iter().find(|(kind, ..)| *kind == error.kind());
        let (why, hint) = match known {
            Some((_, why, hint)) => (why.to_owned(), hint),
            None => (error.to_string(), "choose another address"),
        };
        Failure::setup(format!("cannot listen on {address}: {why}"), hint)
    })
}

/// Listens where an ingress does: for everything, at `address`, and for hooks alone where that is wanted.
pub(crate) async fn listen_for(
    settings: &ingress::Settings,
    address: Option<SocketAddr>,
) -> Result<ingress::Listeners, Failure> {
    let all = listen(address.unwrap_or(settings.listen())).await?;
    let hooks = match settings.hooks_listen() {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    Ok(ingress::Listeners { all, hooks })
}

/// A process of its own shares its work with others, which only RabbitMQ lets it.
pub(crate) fn require_broker(settings: &queue::Settings) -> Result<(), Failure> {
    match settings {
        queue::Settings::Amqp(_) => Ok(()),
        queue::Settings::Embedded(_) => Err(Failure::setup(
            "the queue `embedded` serves one process, and this is one of several",
            "run `longshore up` with this configuration, or name a RabbitMQ as its `queue`",
        )),
    }
}
