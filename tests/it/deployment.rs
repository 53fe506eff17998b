//! The files that put the fleet on one machine are read by the tools that will read them.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;

/// Compose 1.29 is what Debian 12 carries; `tests/run` installs it.
#[tokio::test]
async fn the_compose_file_is_valid_for_compose_1_29() {
    let file = root().join("docker-compose.yml");
    let mut command = Command::new("docker-compose");
    command.arg("-f").arg(file).args(["config"]).current_dir(root());
    let output = command.output().await.expect("docker-compose starts; run tests through tests/run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(!errors.contains("WARNING"), "{errors}");
}

#[tokio::test]
async fn only_the_worker_reaches_the_engine() {
    let mut command = Command::new("docker-compose");
    command.arg("-f").arg(root().join("docker-compose.yml")).arg("config").current_dir(root());
    let output = command.output().await.expect("docker-compose starts; run tests through tests/run");
    let _text: Value = Value::String(String::from_utf8_lossy(&output.stdout).into_owned());
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
