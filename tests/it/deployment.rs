//! The files that put the fleet on one machine hold what they promise.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{MetadataCommand, Target};
use tests::receiver::Receiver;
use tokio::process::Command;
use tokio::time::timeout;

/// Compose 1.29 is what Debian 12 carries, and stricter than its successor; `tests/run` installs it.
#[tokio::test]
async fn compose_1_29_reads_the_compose_file_without_a_complaint() {
    let normal = composed().await.unwrap();
    for service in ["rabbitmq", "ingress", "worker"] {
        assert!(service_of(&normal, service).is_some(), "{service} is missing in:\n{normal}");
    }
}

#[tokio::test]
async fn only_the_worker_reaches_the_docker_socket() {
    let normal = composed().await.unwrap();
    let with_socket = |service: &&str| service_of(&normal, service).unwrap().contains("docker.sock");
    let found: Vec<_> = ["rabbitmq", "ingress", "worker"].into_iter().filter(with_socket).collect();
    assert_eq!(found, ["worker"]);
}

#[tokio::test]
async fn only_the_ingress_is_published_and_on_loopback() {
    let normal = composed().await.unwrap();
    for closed in ["rabbitmq", "worker"] {
        assert!(!service_of(&normal, closed).unwrap().contains("ports:"), "{closed} is published");
    }
    let ingress = service_of(&normal, "ingress").unwrap();
    let (_, ports) = ingress.split_once("    ports:\n").unwrap();
    let ports: Vec<_> = ports.lines().take_while(|line| line.starts_with("    - ")).collect();
    assert_eq!(ports, ["    - 127.0.0.1:8080:8080/tcp"]);
}

/// A whole build takes minutes and reaches registries; what would end it after those minutes is seen here.
#[tokio::test]
async fn the_image_is_made_of_what_is_there() {
    let recipe = std::fs::read_to_string(root().join("Dockerfile")).unwrap().replace("\\\n", " ");
    let (mut stages, mut installed, mut built) = (Vec::new(), Vec::new(), Vec::new());
    for line in recipe.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        built.extend(words.iter().filter_map(|word| word.strip_prefix("target/release/")).map(str::to_owned));
        match words.as_slice() {
            ["FROM", _, "AS", stage] => stages.push((*stage).to_owned()),
            ["COPY", from, .., to] if from.starts_with("--from=") => {
                let from = from.trim_start_matches("--from=");
                assert!(stages.iter().any(|stage| stage == from) || from.contains(':'), "{line}");
                installed.push((*to).to_owned());
            }
            ["COPY", path, to] => {
                assert!(root().join(path).exists(), "{line}");
                installed.push((*to).to_owned());
            }
            _ => {}
        }
    }
    built.sort();
    assert_eq!(built, programs().unwrap());

    let normal = composed().await.unwrap();
    let called = normal.lines().filter_map(|line| line.strip_prefix("    - longshore"));
    let called: Vec<_> = called.map(|rest| format!("longshore{rest}")).collect();
    assert!(called.len() >= 2, "{normal}");
    for program in called {
        let there = built.contains(&program) || installed.contains(&format!("/usr/local/bin/{program}"));
        assert!(there, "{program} is not in the image");
    }
}

/// The names of the workspace's programs.
fn programs() -> Result<Vec<String>> {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml")).no_deps().other_options(["--offline".to_owned()]);
    let packages = command.exec().context("run cargo metadata")?.packages;
    let targets = packages.into_iter().flat_map(|package| package.targets);
    let mut names: Vec<_> = targets.filter(Target::is_bin).map(|target| target.name).collect();
    names.sort();
    Ok(names)
}

/// The user every RabbitMQ begins with would be open to anybody who reaches the broker.
#[test]
fn no_password_stands_in_the_files() {
    for file in ["docker-compose.yml", ".env.example", "deploy/longshore.yaml"] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        for line in text.lines().map(str::to_lowercase) {
            assert!(!line.contains("guest"), "{file}: {line}");
            assert!(!line.contains("password: ") && !line.contains("pass="), "{file}: {line}");
        }
    }
}

#[tokio::test]
async fn the_secrets_are_made_once_and_closed_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("secrets.sh");
    std::fs::copy(root().join("deploy/secrets.sh"), &script).unwrap();
    run(Command::new("sh").arg(&script)).await.unwrap();
    let secrets = directory.path().join("secrets");
    let read = |name: &str| std::fs::read_to_string(secrets.join(name)).unwrap();
    let (password, broker) = (read("rabbitmq_password"), read("rabbitmq.conf"));
    assert!(password.len() > 30 && password.chars().all(|c| c.is_ascii_alphanumeric()), "{password}");
    assert_eq!(broker, format!("default_user = longshore\ndefault_pass = {password}\n"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&secrets.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);

    run(Command::new("sh").arg(&script)).await.unwrap();
    assert_eq!(read("rabbitmq_password"), password);
}

#[tokio::test]
async fn the_health_check_of_the_image_tells_an_answer_from_none() {
    let check = root().join("deploy/healthy");
    let receiver = Receiver::start().await.unwrap();
    let address = receiver.url().trim_start_matches("http://").to_owned();
    run(Command::new(&check).arg(&address)).await.unwrap();

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert!(run(Command::new(&check).arg(&nobody)).await.is_err());
}

async fn composed() -> Result<String> {
    let mut command = Command::new("docker-compose");
    // Without the environment and the .env of the machine.
    command.env_clear().env("PATH", std::env::var_os("PATH").context("read PATH")?);
    command.args(["--env-file", ".env.example", "-f", "docker-compose.yml", "config"]).current_dir(root());
    run(&mut command).await.context("read docker-compose.yml (tests/run installs docker-compose)")
}

async fn run(command: &mut Command) -> Result<String> {
    let output = timeout(Duration::from_secs(60), command.kill_on_drop(true).output()).await??;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && errors.is_empty(), "{}: {errors}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The text of one service in what `docker-compose config` prints, which is sorted and always indented alike.
fn service_of<'a>(normal: &'a str, service: &str) -> Option<&'a str> {
    let (_, services) = normal.split_once("\nservices:")?;
    let (_, from_here) = services.split_once(&format!("\n  {service}:\n"))?;
    let length =
        from_here.split_inclusive('\n').take_while(|line| line.starts_with("    ")).map(str::len).sum();
    from_here.get(..length)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
