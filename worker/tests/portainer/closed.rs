//! A Portainer that answers and does nothing: nobody made an administrator in time, or a backup holds up every write.

use std::time::Duration;

use proto::{Event, Operation, State};

use crate::{
    fake_portainer::{PASSWORD, USERNAME},
    lab::{FILE, Lab, set},
    stage::{Stage, text, wish},
};

const PATIENCE: Duration = Duration::from_secs(150);

/// Waits until a write was refused: whoever asked has gone on to something else.
async fn until_refused(lab: &Lab) {
    let asks = async {
        loop {
            let requests = lab.portainer.requests();
            let write = requests.iter().position(|line| !line.starts_with("GET"));
            if write.is_some_and(|write| requests.len() > write + 1) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asks).await.expect("nothing was written");
}

/// It sends everybody away until it is started again, which says nothing of the address or of the job.
#[tokio::test]
async fn one_that_lacks_an_administrator_is_waited_for() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    lab.portainer.lack_administrator(true);
    let job = set("acme/web:2");
    stage.accept(&job).await;
    let waits = stage.until_said(&job, State::Retrying).await;
    assert!(text(&waits).contains("started without an administrator"), "{}", text(&waits));
    let told = worker::connect(&stage.settings(&lab.configuration(""))).await.unwrap();
    assert!(told[0].missing.concat().contains("started without an administrator"), "{told:?}");
    assert_eq!(lab.portainer.puts(), []);
    lab.portainer.lack_administrator(false);
    let end = stage.end(&job).await;
    assert_eq!((end.state(), lab.writes_of("acme/web:2")), (State::Succeeded, 1), "{end:?}");
}

/// Whatever is to be written, a login too.
#[tokio::test]
async fn what_a_backup_holds_up_is_written_once_it_is_done() {
    let login = format!("username: {USERNAME}, password: '{PASSWORD}', environment: production");
    for (is_login, job) in [
        (false, set("acme/web:2")),
        (true, set("acme/web:2")),
        (false, wish(Operation::Restart)),
        (false, wish(Operation::Stop)),
    ] {
        let lab = Lab::swarm(FILE);
        let configuration = if is_login { lab.configured(&login, "") } else { lab.configuration("") };
        let stage = Stage::new(&configuration).await;
        lab.portainer.back_up(true);
        stage.accept(&job).await;
        until_refused(&lab).await;
        lab.portainer.back_up(false);
        let is_end = |event: &Event| event.state().is_end();
        let events = stage.until_within(PATIENCE, &job, |events| events.iter().any(is_end)).await;
        let end = events.into_iter().find(is_end).expect("an end");
        assert_eq!(end.state(), State::Succeeded, "{:?}: {end:?}", job.operation);
        assert!(lab.writes_of("acme/web:2") <= 1, "{:?}", lab.portainer.puts());
    }
}
