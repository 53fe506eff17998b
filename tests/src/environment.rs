//! What `tests/run` tells the tests about the services it started.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};

/// The URI of the broker's default virtual host.
pub fn amqp_uri() -> Result<String> {
    required("LONGSHORE_TEST_AMQP")
}

/// The engine's address as the docker command and our configuration take it (`unix:///…`).
pub fn docker_host() -> Result<String> {
    required("LONGSHORE_TEST_DOCKER")
}

/// An image on the engine that holds busybox and serves `/www` on port 8080; every test image is made from it.
pub fn base_image() -> Result<String> {
    required("LONGSHORE_TEST_BASE_IMAGE")
}

/// The registry's program.
pub fn registry_program() -> Result<PathBuf> {
    required("LONGSHORE_TEST_REGISTRY_BIN").map(PathBuf::from)
}

/// The run's directory; what a test leaves there is removed after the run.
pub fn directory() -> Result<PathBuf> {
    required("LONGSHORE_TEST_DIR").map(PathBuf::from)
}

/// The program named `name` of this workspace, built in the profile of the running test.
///
/// # Errors
/// When it was not built: `cargo test -p` alone does not build the binaries of other packages.
pub fn binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe().context("find the running test's own path")?;
    let profile = test.ancestors().nth(2).context("find the target directory of the running test")?;
    let program = profile.join(name);
    if program.is_file() {
        return Ok(program);
    }
    Err(anyhow!(
        "{} is not built: run tests through tests/run, or `cargo build --workspace` first",
        program.display()
    ))
}

/// A name no other test uses, also valid as a Docker service, a repository and a virtual host.
pub fn unique(prefix: &str) -> String {
    let id = uuid::Uuid::now_v7().simple().to_string();
    // The end of a version 7 id is the random part.
    format!("{prefix}-{}", &id[20..])
}

fn required(name: &str) -> Result<String> {
    std::env::var(name)
        .map_err(|_| anyhow!("{name} is not set: this test needs real services, run tests through tests/run"))
}
