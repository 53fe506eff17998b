//! `longshore init` on a machine with a swarm: what it writes can be used, and names what runs.

use std::process::Command;

use tests::engine::Engine;
use tests::process::longshore;

#[tokio::test]
async fn the_services_of_the_swarm_are_written_down() {
    let engine = Engine::of_the_run().unwrap();
    let name = format!("init-{}", std::process::id());
    let image = engine.base_image().to_owned();
    let service = engine.create_service(&name, &image, &["--entrypoint", "sleep 3600"]).await;
    let service = service.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = longshore("longshore").unwrap();
    let run = |words: &str| {
        let mut command = Command::new(program.as_std().get_program());
        command.args(words.split(' ')).current_dir(folder.path()).env("DOCKER_HOST", engine.host());
        let ran = command.output().unwrap();
        let text = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "longshore {words}: {text}");
        text
    };
    let told = run("init");
    assert!(told.contains("wrote longshore.yaml") && told.contains("services at /"), "{told}");
    let text = std::fs::read_to_string(folder.path().join("longshore.yaml")).unwrap();
    let line = format!("  # {0}: {{at: swarm, service: \"{0}\", follow: ", service.name);
    assert!(text.contains(&line), "{line} is missing in:\n{text}");
    assert!(run("check --config longshore.yaml").contains("can be used"));
    // The example as it stands, without its mark.
    std::fs::write(folder.path().join("longshore.yaml"), text.replace(&line, &line.replace("# ", "")))
        .unwrap();
    let connected = run("check --config longshore.yaml --connect");
    assert!(connected.contains(&format!("target `default/{}`", service.name)), "{connected}");
}
