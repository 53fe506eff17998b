//! One swarm by two addresses.

use proto::Catalogue;
use queue::{Entry, Since};

use crate::{
    lab::{PATIENCE, environment, unique_name},
    poll::Fleet,
    wire::Wire,
};

/// Nobody can tell by their addresses that both lead to one engine.
fn configuration(wire: &Wire, service: &str) -> String {
    format!(
        "systems:\n  socket: {{kind: swarm, host: '{}'}}\n  port: {{kind: swarm, host: '{}'}}\n\
         targets:\n  one: {{at: socket, service: {service}}}\n  two: {{at: port, service: {service}}}\n  \
         three: {{at: port, service: another}}\n",
        environment("LONGSHORE_TEST_DOCKER"),
        wire.host
    )
}

const TOLD: &str = "the target `default/two` is the same as `default/one`";

#[tokio::test]
async fn targets_over_one_service_are_told_before_the_first_deploy() {
    let wire = Wire::lay().await;
    let document = config::Document::parse("test.yaml", &configuration(&wire, &unique_name())).unwrap();
    let mut faults = config::Faults::new();
    let settings = worker::Settings::read(&document, &mut faults).unwrap_or_else(|| panic!("{faults}"));
    let folder = tempfile::tempdir().unwrap();
    let connected = worker::connect(&settings.with_data(folder.path())).await.unwrap();
    let missing = |system: &str| {
        let told = connected.iter().find(|told| told.name == system).unwrap();
        told.missing
            .iter()
            .filter(|line| line.contains("one swarm by two addresses"))
            .cloned()
            .collect::<Vec<_>>()
    };
    let told = missing("port");
    assert!(told.len() == 1 && told[0].contains(TOLD) && told[0].contains("keep one"), "{connected:?}");
    assert_eq!(missing("socket"), Vec::<String>::new());
}

#[tokio::test]
async fn targets_over_one_service_are_told_among_the_targets() {
    let wire = Wire::lay().await;
    let fleet = Fleet::start(1, &configuration(&wire, &unique_name())).await;
    let mut history = fleet.queue.history(Since::Start).await.unwrap();
    let is_told = |catalogue: &Catalogue| {
        catalogue.data.faults.iter().any(|fault| fault.text.contains(TOLD) && fault.hint.contains("keep one"))
    };
    let told = async {
        loop {
            let entry = history.next().await.unwrap().entry;
            if matches!(&entry, Entry::Catalogue(catalogue) if is_told(catalogue)) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("nobody tells");
    fleet.queue.close().await;
}
