//! A living worker answers for what it began, whatever becomes of its broker: nobody is suspected of a crash.

use anyhow::{Context, Result, ensure};
use proto::{JobId, State};
use tests::fault_proxy::FaultProxy;
use tests::fleet::Engine;
use tests::own_broker::OwnBroker;
use tests::process::{Process, longshore};

use super::stage::{LONG, Stage, lines, no_mark_stays, nobody_is_suspected, webs};

/// Jobs that are under way when something happens.
const BATCH: usize = 12;

/// Whatever happens to a fleet without anybody crashing.
#[derive(Debug, Clone, Copy)]
enum Fault {
    ConnectionsClosed,
    BrokerRestarted,
    WorkerRestarted,
}

#[tokio::test]
async fn restarts_of_broker_and_workers_leave_no_mark() {
    use Fault::{BrokerRestarted, ConnectionsClosed, WorkerRestarted};
    let faults = [
        ConnectionsClosed,
        WorkerRestarted,
        BrokerRestarted,
        WorkerRestarted,
        ConnectionsClosed,
        BrokerRestarted,
        ConnectionsClosed,
        WorkerRestarted,
    ];
    let targets = lines(0..faults.len() * BATCH, "takes: 6s");
    let mut broker = OwnBroker::start().await.unwrap();
    let mut stage = Stage::prepare_on(broker.broker(), "at_once: 64, grace: 500ms", &targets).await.unwrap();
    let _ingress = stage.ingress().unwrap();
    let mut workers = [stage.worker().unwrap(), stage.worker().unwrap()];
    for (round, fault) in faults.into_iter().enumerate() {
        stage.is_ready().await.unwrap();
        let jobs = stage.deploy(webs(round * BATCH..(round + 1) * BATCH)).await.unwrap();
        stage.until_begun(&jobs).await.unwrap();
        let worker = &mut workers[round % 2];
        happens(fault, &mut broker, &stage, worker).await.unwrap();
    }
    let (_, account) = stage.history().await.unwrap();
    account.assert_clean();
    assert!(account.ends.keys().eq([&State::Succeeded]), "{account}");
    let history = no_mark_stays(&stage).await.unwrap();
    nobody_is_suspected(&history).unwrap();
    let retried = history.iter().filter(|event| event.state() == State::Retrying).count();
    assert!(retried >= BATCH, "hardly anything was interrupted: {retried}");
    assert!(history.iter().all(|event| event.data.counted != Some(true)), "an outage counts as an attempt");
}

async fn happens(fault: Fault, broker: &mut OwnBroker, stage: &Stage, worker: &mut Process) -> Result<()> {
    println!("{fault:?}");
    match fault {
        Fault::ConnectionsClosed => broker.close_all_connections().await,
        Fault::BrokerRestarted => {
            broker.stop().await?;
            broker.start_again().await
        }
        Fault::WorkerRestarted => {
            let status = worker.stop(LONG).await?;
            ensure!(status.code() == Some(0), "{status}:\n{}", worker.lines().join("\n"));
            *worker = stage.worker()?;
            Ok(())
        }
    }
}

/// The job is taken up by another worker, and ended there, before the first one knows that it lives.
#[tokio::test]
async fn a_worker_cut_off_from_the_broker_answers_once_it_is_back() {
    let mut stage =
        Stage::prepare(Engine::Broker, "at_once: 8", &lines(0..BATCH, "takes: 4s")).await.unwrap();
    let _ingress = stage.ingress().unwrap();
    let mut proxy = FaultProxy::start(&stage.fleet.broker.as_ref().unwrap().host().unwrap()).await.unwrap();
    let far = worker_through(&stage, &proxy).unwrap();
    stage.is_ready().await.unwrap();
    let jobs = stage.deploy(webs(0..BATCH / 2)).await.unwrap();
    stage.until(&jobs, State::Started).await.unwrap();
    let _near = stage.worker().unwrap();
    proxy.refuse().await;
    proxy.cut();
    far.wait_for_line("lost the broker", LONG).await.unwrap();
    stage.until(&jobs, State::Succeeded).await.unwrap();
    let (history, _) = stage.history().await.unwrap();
    let open: Vec<JobId> = super::stage::marks(&history).into_iter().map(|(job, _)| job).collect();
    assert_eq!(open.len(), jobs.len(), "the far worker can say nothing yet: {open:?}");

    proxy.restore().unwrap();
    let history = no_mark_stays(&stage).await.unwrap();
    nobody_is_suspected(&history).unwrap();
    let (_, account) = stage.history().await.unwrap();
    account.assert_clean();
    assert_eq!(account.ends.into_iter().collect::<Vec<_>>(), [(State::Succeeded, jobs.len())]);
}

/// The same worker, asked to stop when the broker has just come back: what it owes is said first.
#[tokio::test]
async fn a_worker_that_is_stopped_right_after_an_outage_of_the_broker_answers_first() {
    let mut stage =
        Stage::prepare(Engine::Broker, "at_once: 8, grace: 1s", &lines(0..BATCH, "takes: 4s")).await.unwrap();
    let _ingress = stage.ingress().unwrap();
    let mut proxy = FaultProxy::start(&stage.fleet.broker.as_ref().unwrap().host().unwrap()).await.unwrap();
    let mut far = worker_through(&stage, &proxy).unwrap();
    stage.is_ready().await.unwrap();
    let jobs = stage.deploy(webs(0..BATCH / 2)).await.unwrap();
    stage.until(&jobs, State::Started).await.unwrap();
    proxy.refuse().await;
    proxy.cut();
    far.wait_for_line("left, it comes again", LONG).await.unwrap();
    proxy.restore().unwrap();
    assert_eq!(far.stop(LONG).await.unwrap().code(), Some(0));

    let _near = stage.worker().unwrap();
    let history = no_mark_stays(&stage).await.unwrap();
    nobody_is_suspected(&history).unwrap();
    stage.history().await.unwrap().1.assert_clean();
}

/// A worker of the same configuration that reaches the broker through the proxy only.
fn worker_through(stage: &Stage, proxy: &FaultProxy) -> Result<Process> {
    let folder = stage.fleet.folder();
    let broker = stage.fleet.broker.as_ref().context("find the broker")?;
    let text = std::fs::read_to_string(folder.join("longshore.yaml")).context("read the configuration")?;
    let host = broker.host()?;
    ensure!(text.contains(&host), "{host} is not in {text}");
    let file = folder.join("far.yaml");
    std::fs::write(&file, text.replace(&host, &proxy.address())).context("write a configuration")?;
    let mut command = longshore("longshore-worker")?;
    command.arg("--config").arg(file);
    Process::start(command)
}
