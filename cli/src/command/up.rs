//! `longshore up`: everything in one process.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use config::process::Hangups;
use proto::{Event, Timestamp};
use queue::{Chronicle, Entry, Queue, Since, Spooling};
use tokio::sync::{mpsc, watch};

use crate::{
    arguments::Up,
    configuration::{Common, Reading},
    directory::Directory,
    exit::Exit,
    failure::{Failure, with_causes},
    follow::Seen,
    greeting::Greeting,
    output::{Output, Teller, count, line},
    process::{self, Parts, Started},
    reload::{self, AtHome, Fixed, IngressSide, Reload, WorkerSide},
    server::url_at,
};

/// How far back jobs are remembered that have not ended: the longest deadline.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// What is to run.
struct Wanted {
    common: Common,
    ingress: ingress::Settings,
    worker: worker::Settings,
    greeting: Greeting,
}

pub(crate) async fn run(up: Up, output: Output) -> Result<Exit, Failure> {
    // What happens to deploys is printed anyway; how the queue and what is kept beside it fare is not.
    config::process::init_logging_at(&format!("warn,{},queue=info", reload::LOG));
    process::run(start(up, output)).await
}

async fn start(up: Up, output: Output) -> Result<Started<impl FnOnce()>, Failure> {
    let hangups = Hangups::listen();
    let wanted = read(&up)?;
    let directory = Directory::prepare(up.data.as_deref().unwrap_or(&wanted.common.data))?;
    let queue = process::open_queue(&wanted.common.queue, directory.path()).await?;
    let (intake, spool) =
        process::beside_a_spool(&wanted.common, Arc::clone(&queue), directory.path(), true).await?;
    process::open_pools(&wanted.common.queue, &queue, wanted.worker.pools()).await?;
    let listeners = process::listen_for(&wanted.ingress, up.listen).await?;
    let address = listeners.all.local_addr().map_err(|error| Failure::Process { text: error.to_string() })?;
    directory.note_url(&url_at(address))?;

    let fixed = Fixed::of(&wanted.common, up.data.as_deref());
    let fixed = fixed.and_ingress(&wanted.common, &wanted.ingress, up.listen);
    let at_home = at_home(&directory);
    let ingress = watch::Sender::new(at_home(wanted.ingress)?);
    let worker = wanted.worker.with_data(directory.path());
    let first =
        worker::Prepared::new(&worker).map_err(|error| Failure::Process { text: with_causes(&error) })?;
    let (prepared, changes) = mpsc::channel(1);
    let mut parts = Parts::new();
    let running = Arc::new(AtomicUsize::new(0));
    parts.keep(tell(Arc::clone(&queue), output, Arc::clone(&running)));
    let (settings, stop, past) = (ingress.subscribe(), parts.stop(), spool.clone());
    parts.start(ingress::run_following(settings, Arc::clone(&intake), spool, listeners, stop));
    let stop = parts.stop_with_grace(worker.grace());
    let working = Arc::clone(&queue);
    parts.start_worker(async move {
        if knows_all(past, &stop).await {
            worker::run_following(first, changes, working, stop).await;
        }
    });
    let grace = parts.grace();
    let reload = Reload {
        files: up.files.config.clone(),
        fixed,
        ingress: Some(IngressSide { settings: ingress, at_home }),
        worker: Some(WorkerSide { prepared, settings: worker, grace: grace.clone(), queue }),
    };
    parts.start_beside(reload.follow(hangups));
    greet(&wanted.greeting, address, &directory, output);
    let asked = move || eprintln!("{}", stopping(running.load(Ordering::Relaxed), grace.promised()));
    Ok(Started { parts, queue: intake, asked })
}

/// Waits until the broker knows what was done in this directory before, so that nothing it kept since then is carried
/// out over something newer; not when it is to stop meanwhile.
async fn knows_all(spool: Option<Arc<Spooling>>, stop: &worker::Stop) -> bool {
    let Some(spool) = spool else { return true };
    tokio::select! {
        () = spool.has_told_its_past() => true,
        () = stop.asked.cancelled() => false,
    }
}

/// What is read has the token and the files of this directory.
fn at_home(directory: &Directory) -> AtHome {
    let directory = directory.clone();
    Arc::new(move |settings| {
        Ok(settings.with_admin_token(directory.admin_token()?).with_data(directory.path()))
    })
}

fn read(up: &Up) -> Result<Wanted, Failure> {
    let demo = up.files.config.is_empty();
    let mut reading = if demo { Reading::of_the_demo()? } else { Reading::of(&up.files.config)? };
    let (common, ingress, worker) = (reading.common(), reading.ingress(), reading.worker());
    let greeting = Greeting::of(reading.root(), up);
    let wanted = || Some(Wanted { common: common?, ingress: ingress?, worker: worker?, greeting });
    let wanted = wanted();
    Ok(reading.finish(wanted)?)
}

fn greet(greeting: &Greeting, address: SocketAddr, directory: &Directory, output: Output) {
    let text = greeting.text(address, directory);
    if output.is_json() {
        eprintln!("{text}");
    } else {
        line(&text);
    }
    if let Some(warning) = greeting.warning(address) {
        eprintln!("{warning}\n");
    }
}

/// What is said at once when a signal asks for the end.
fn stopping(running: usize, grace: Duration) -> String {
    match running {
        0 => "stopping".to_owned(),
        running => format!(
            "stopping: {} at work, up to {} to leave off (Ctrl-C again stops at once; what is unfinished goes on at \
             the next start)",
            count(running, "job"),
            config::Span(grace)
        ),
    }
}

/// Prints a line for each state of each deploy from now on, and keeps count of those at work.
fn tell(queue: Arc<dyn Queue>, output: Output, running: Arc<AtomicUsize>) -> Chronicle {
    let (began, mut seen, mut teller) = (Timestamp::now(), Seen::default(), Teller::default());
    let mut print = move |event: &Event| {
        if event.time < began {
            // What waits since the last run is told with its image.
            teller.remember(event);
            return;
        }
        if !seen.is_new(event.id) {
            return;
        }
        let text = teller.tell(event);
        running.store(teller.at_work(), Ordering::Relaxed);
        line(&if output.is_json() { String::from_utf8_lossy(&event.encode()).into_owned() } else { text });
    };
    Chronicle::follow(queue, Since::Time(began - REMEMBERED), move |recorded| match &recorded.entry {
        Entry::Event(event) => print(event),
        Entry::Catalogue(_) | Entry::Marker(_) | Entry::Unreadable(_) => {}
    })
}
