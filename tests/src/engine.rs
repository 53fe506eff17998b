//! The Docker Engine of the test run: images made for a test, pushed, and services that run them.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::environment;
use crate::registry::Registry;
use crate::wait::eventually;

const COMMAND: Duration = Duration::from_secs(120);

/// The engine all tests of a run share; names of services and images must be [`environment::unique`].
#[derive(Debug, Clone)]
pub struct Engine {
    host: String,
    base_image: String,
}

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `host/repository:tag`.
    pub reference: String,
    /// `sha256:…` of its manifest.
    pub digest: String,
}

impl Image {
    /// `host/repository:tag@sha256:…`, as it stands in a service after a deploy.
    pub fn pinned(&self) -> String {
        format!("{}@{}", self.reference, self.digest)
    }
}

/// A swarm service, removed when dropped.
pub struct Service {
    /// Its name.
    pub name: String,
    engine: Engine,
}

impl Engine {
    /// The engine `tests/run` started.
    pub fn of_the_run() -> Result<Self> {
        Ok(Self { host: environment::docker_host()?, base_image: environment::base_image()? })
    }

    /// Its address (`unix:///…`).
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The image all others are made from; it serves `/www` on port 8080.
    pub fn base_image(&self) -> &str {
        &self.base_image
    }

    /// Runs the docker command and gives its standard output.
    pub async fn docker(&self, arguments: &[&str]) -> Result<String> {
        self.docker_with_input(arguments, "").await
    }

    /// The same with `input` on standard input.
    pub async fn docker_with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        let what = format!("docker {}", arguments.join(" "));
        let mut child = self.command(arguments).spawn().context("start docker")?;
        let mut stdin = child.stdin.take().context("write to docker")?;
        stdin.write_all(input.as_bytes()).await.with_context(|| format!("write to `{what}`"))?;
        drop(stdin);
        let output = timeout(COMMAND, child.wait_with_output()).await;
        let output = output.with_context(|| format!("`{what}` did not end within {COMMAND:?}"))??;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{what}` ended with {}: {errors}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Builds `reference` from the base image with further lines of a Dockerfile.
    pub async fn build(&self, reference: &str, recipe: &str) -> Result<()> {
        let recipe = format!("FROM {}\n{recipe}\n", self.base_image);
        self.docker_with_input(&["build", "--quiet", "--tag", reference, "-"], &recipe).await.map(drop)
    }

    /// Builds an image that serves its tag at `/version` and pushes it to `registry` as `repository:tag`.
    pub async fn push_app(&self, registry: &Registry, repository: &str, tag: &str) -> Result<Image> {
        let reference = registry.image(&format!("{repository}:{tag}"));
        self.build(&reference, &format!("RUN echo {tag} > /www/version")).await?;
        self.push(&reference).await
    }

    /// Pushes an image that was built.
    pub async fn push(&self, reference: &str) -> Result<Image> {
        let said = self.docker(&["push", reference]).await?;
        let (_, after) =
            said.split_once("digest: ").with_context(|| format!("find the digest in: {said}"))?;
        let digest = after.split_whitespace().next().unwrap_or_default().to_owned();
        Ok(Image { reference: reference.to_owned(), digest })
    }

    /// Makes a service with further `options` of `docker service create`, and waits until all of it runs.
    pub async fn create_service(&self, name: &str, image: &str, options: &[&str]) -> Result<Service> {
        let service = Service { name: name.to_owned(), engine: self.clone() };
        let head = ["service", "create", "--detach", "--name", name];
        self.docker(&[&head, options, &[image]].concat()).await?;
        service.wait_until_running(Duration::from_secs(60)).await?;
        Ok(service)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", &self.host).env("DOCKER_BUILDKIT", "0").args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

impl Service {
    /// What the engine knows of it, as raw JSON.
    pub async fn inspect(&self) -> Result<Value> {
        let text = self.engine.docker(&["service", "inspect", "--format", "{{json .}}", &self.name]).await?;
        serde_json::from_str(&text).with_context(|| format!("read what docker says of service {}", self.name))
    }

    /// The image in its specification, with the digest if it has one.
    pub async fn image(&self) -> Result<String> {
        let service = self.inspect().await?;
        let image = service.pointer("/Spec/TaskTemplate/ContainerSpec/Image").and_then(Value::as_str);
        image.map(str::to_owned).with_context(|| format!("find the image of service {}", self.name))
    }

    /// The images of its running tasks, one for each task.
    pub async fn running_images(&self) -> Result<Vec<String>> {
        let filter = ["service", "ps", "--no-trunc", "--filter", "desired-state=running"];
        let format = ["--format", "{{.CurrentState}}|{{.Image}}", self.name.as_str()];
        let said = self.engine.docker(&[filter.as_slice(), &format].concat()).await?;
        let running = said.lines().filter_map(|line| line.split_once('|'));
        Ok(running
            .filter(|(state, _)| state.starts_with("Running"))
            .map(|(_, image)| image.to_owned())
            .collect())
    }

    /// Waits until as many tasks run as the service wants.
    pub async fn wait_until_running(&self, deadline: Duration) -> Result<()> {
        eventually(deadline, &format!("service {} to run", self.name), || async {
            let name = format!("name={}", self.name);
            let list = ["service", "ls", "--filter", &name, "--format", "{{.Name}} {{.Replicas}}"];
            let said = self.engine.docker(&list).await?;
            let line = said.lines().find(|line| line.split(' ').next() == Some(self.name.as_str()));
            let counts =
                line.and_then(|line| line.split(' ').nth(1)).and_then(|counts| counts.split_once('/'));
            ensure!(counts.is_some_and(|(running, wanted)| running == wanted), "docker says: {said}");
            Ok(())
        })
        .await
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The engine goes with the run: what is not removed here only costs it memory until then.
        let mut command = std::process::Command::new("docker");
        command.env("DOCKER_HOST", &self.engine.host).args(["service", "rm", &self.name]);
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
