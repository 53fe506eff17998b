//! How far the services of a stack are, told as one.

use std::time::Duration;

use proto::Tasks;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::target::Progress;

/// At most two utterances a second, however many services there are.
const PAUSE: Duration = Duration::from_millis(500);

/// A sender for each service, and the work of telling what comes from them. That ends once all senders are dropped.
pub(in crate::target::swarm) fn gather<'a>(
    names: &'a [String],
    to: &'a mpsc::Sender<Progress>,
) -> (Vec<mpsc::Sender<Progress>>, impl Future<Output = ()> + 'a) {
    let (senders, receivers): (Vec<_>, Vec<_>) = names.iter().map(|_| mpsc::channel(8)).unzip();
    let (merged, changes) = mpsc::channel(8);
    let forwarding = receivers.into_iter().enumerate().map(move |(at, mut from)| {
        let merged = merged.clone();
        async move {
            while let Some(progress) = from.recv().await {
                if merged.send((at, progress)).await.is_err() {
                    return;
                }
            }
        }
    });
    let forwarding = futures::future::join_all(forwarding.collect::<Vec<_>>());
    let telling = tell(names, changes, to);
    (senders, async move {
        tokio::join!(forwarding, telling);
    })
}

async fn tell(names: &[String], mut changes: mpsc::Receiver<(usize, Progress)>, to: &mpsc::Sender<Progress>) {
    let mut last: Vec<Option<Tasks>> = vec![None; names.len()];
    let mut waiting: Option<String> = None;
    let mut due = Instant::now();
    loop {
        tokio::select! {
            change = changes.recv() => {
                let Some((at, progress)) = change else { return };
                let (Some(slot), Some(name)) = (last.get_mut(at), names.get(at)) else { continue };
                *slot = Some(progress.tasks);
                waiting = Some(format!("{name}: {}", progress.line));
            }
            () = sleep_until(due), if waiting.is_some() => {
                if let Some(line) = waiting.take() {
                    // Nobody waits for progress: where the reader lags, a step is left out.
                    let _ = to.try_send(Progress { tasks: sum(last.iter().flatten()), line });
                }
                due = Instant::now() + PAUSE;
            }
        }
    }
}

pub(in crate::target::swarm) fn sum<'a>(tasks: impl Iterator<Item = &'a Tasks>) -> Tasks {
    tasks.fold(Tasks { running: 0, wanted: 0 }, |sum, tasks| Tasks {
        running: sum.running + tasks.running,
        wanted: sum.wanted + tasks.wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_from_many_is_told_as_one_and_not_too_often() {
        let names = ["api".to_owned(), "web".to_owned()];
        let (to, mut told) = mpsc::channel(16);
        let (senders, gathering) = gather(&names, &to);
        let saying = async move {
            for running in 0..5 {
                for sender in &senders {
                    let tasks = Tasks { running, wanted: 4 };
                    sender.send(Progress { tasks, line: format!("{running} run") }).await.unwrap();
                }
            }
            tokio::time::sleep(PAUSE + PAUSE / 2).await;
        };
        tokio::join!(gathering, saying);
        drop(to);
        let mut lines = Vec::new();
        while let Some(progress) = told.recv().await {
            lines.push(progress);
        }
        assert!(lines.len() <= 3, "{lines:?}");
        let last = lines.last().unwrap();
        assert_eq!((last.tasks, last.line.as_str()), (Tasks { running: 8, wanted: 8 }, "web: 4 run"));
    }
}
