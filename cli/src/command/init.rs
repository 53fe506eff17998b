//! `longshore init`: a first configuration, written from what runs on this machine.

use std::{
    env,
    fmt::Write as _,
    fs::OpenOptions,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use serde::Serialize;
use worker::Survey;

use crate::{
    arguments::Init,
    configuration::Reading,
    exit::Exit,
    failure::{Failure, with_causes},
    output::{Output, line},
    typed,
};

/// Where an engine listens unless told otherwise.
const SOCKET: &str = "/var/run/docker.sock";

/// Services that are written down; a swarm may have hundreds.
const MOST_SERVICES: usize = 50;

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    file: PathBuf,
    socket: PathBuf,
    /// Why the engine told nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<String>,
    services: usize,
    portainers: Vec<String>,
}

/// What was found, and where.
struct Found {
    socket: PathBuf,
    survey: Result<Survey, String>,
    portainers: Vec<String>,
}

pub(crate) async fn run(init: Init, output: Output) -> Result<Exit, Failure> {
    let is_there = || Path::new(&init.out).symlink_metadata().is_ok();
    if !init.print && is_there() {
        return Err(exists(&init.out));
    }
    let found = Found::look(&init).await?;
    let text = found.text(&init.out);
    make_sure(&text)?;
    if init.print {
        line(text.trim_end());
        return Ok(Exit::Succeeded);
    }
    write(&init.out, &text)?;
    let written = Written {
        file: init.out.clone(),
        engine: found.survey.as_ref().err().cloned(),
        services: found.survey.as_ref().map_or(0, |survey| survey.services.len()),
        portainers: found.portainers,
        socket: found.socket,
    };
    output.document(&written, || written.told());
    Ok(Exit::Succeeded)
}

fn holds_login(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| !url.username().is_empty() || url.password().is_some())
}

impl Found {
    async fn look(init: &Init) -> Result<Found, Failure> {
        let socket = init.socket.clone().unwrap_or_else(socket);
        let survey = worker::survey(&socket).await.map_err(|error| with_causes(&error));
        let mut portainers: Vec<String> = Vec::new();
        for url in &init.portainers {
            let parsed = reqwest::Url::parse(url).ok();
            if parsed.is_none_or(|url| !matches!(url.scheme(), "http" | "https") || !url.has_host()) {
                return Err(Failure::setup(
                    format!("`{url}` is no address of a Portainer"),
                    "write it as in `--portainer https://portainer.example.org:9443`",
                ));
            }
            // What is written may be shown to others.
            if holds_login(url) {
                return Err(Failure::setup(
                    "the address of a Portainer takes no user or password",
                    "leave them out: the key goes into a file of its own, which the written configuration names",
                ));
            }
            portainers.push(url.trim_end_matches('/').to_owned());
        }
        portainers.extend(survey.iter().flat_map(|survey| survey.portainers.clone()));
        portainers.dedup();
        Ok(Found { socket, survey, portainers })
    }

    fn text(&self, file: &Path) -> String {
        let mut text = HEAD.replace("FILE", &file.display().to_string()).replace("PROGRAM", "longshore");
        text.push_str(SOURCES);
        text.push_str("\nsystems:                                  # where things run, and how to get in\n");
        self.swarm(&mut text);
        for (number, url) in self.portainers.iter().enumerate() {
            let name = if number == 0 { "portainer".to_owned() } else { format!("portainer-{}", number + 1) };
            text.push_str(&portainer(&name, url));
        }
        text.push_str(
            "\ntargets:                                  # what is deployed, and the images it follows\n",
        );
        self.targets(&mut text);
        text
    }

    fn swarm(&self, text: &mut String) {
        let host = quoted(&format!("unix://{}", self.socket.display()));
        match &self.survey {
            Ok(survey) if survey.is_manager => {
                text.push_str("  # Every service with the label `longshore.follow=IMAGE:TAG` is a target too: docs/labels.md\n");
                _ = writeln!(text, "  swarm: {{kind: swarm, host: {host}, discover: labels}}");
            }
            Ok(_) => {
                _ = writeln!(text, "  # The engine at {host} manages no swarm: after `docker swarm init`,");
                _ = writeln!(text, "  # swarm: {{kind: swarm, host: {host}, discover: labels}}");
                text.push_str(LAB);
            }
            Err(_) => {
                _ = writeln!(text, "  # No engine answered at {host}. With one that manages a swarm:");
                _ = writeln!(text, "  # swarm: {{kind: swarm, host: {host}, discover: labels}}");
                text.push_str(LAB);
            }
        }
    }

    fn targets(&self, text: &mut String) {
        let services = match &self.survey {
            Ok(survey) if survey.is_manager => survey.services.as_slice(),
            Ok(_) | Err(_) => {
                text.push_str("  demo: {at: lab, takes: 2s, follow: \"demo:*\"}\n");
                return text.push_str(TARGETS);
            }
        };
        if services.is_empty() {
            text.push_str("  # No service runs on this swarm yet; one would be\n");
            text.push_str("  # web: {at: swarm, service: web, follow: \"acme/web:latest\"}\n");
            return text.push_str(TARGETS);
        }
        text.push_str(
            "  # The services of this swarm. Take the `# ` from those that Longshore is to deploy:\n",
        );
        for (service, image) in services.iter().take(MOST_SERVICES) {
            let (name, service, image) = (name_of(service), quoted(service), quoted(image));
            _ = writeln!(text, "  # {name}: {{at: swarm, service: {service}, follow: {image}}}");
        }
        if let Some(more) = services.len().checked_sub(MOST_SERVICES).filter(|more| *more > 0) {
            _ = writeln!(text, "  # … and {more} more");
        }
        text.push_str(TARGETS);
    }
}

const HEAD: &str = "\
# A first configuration of Longshore. `PROGRAM check --config FILE` tells every fault in it with its line,
# `PROGRAM up --config FILE` runs it, and SIGHUP has it read again. Lines with `#` are examples.
version: 1
listen: 127.0.0.1:8080                    # 0.0.0.0:8080 to be reached from other machines
# public_url: https://deploy.example.org  # what others reach it under, in links and in `PROGRAM hook url`
data: ./longshore-data                    # everything that must be kept
queue: embedded                           # or RabbitMQ, for several processes:
# queue: {amqp: [\"rabbit-1\"], user: longshore, password_file: ./secrets/rabbitmq}
";

const SOURCES: &str = "
sources:                                  # who may tell of new images, at POST /hooks/<name>; docs/producers.md has one of each kind
  # Everyone on this machine: curl -d '{\"image\":\"acme/web:1.2\"}' http://127.0.0.1:8080/hooks/local
  local: {kind: plain, open: true, loopback_only: true}
  # Others need a secret. Make one with: mkdir -p secrets && openssl rand -hex 32 > secrets/hook_hub
  # hub: {kind: dockerhub, key_file: ./secrets/hook_hub}
  # forge: {kind: github, secret_file: ./secrets/hook_github}
  # No hook at all: workers look at the registries
  # poll: {kind: poll, every: 10m}

# registries:                             # how workers read from registries that ask who they are
#   registry.example.org: {username: deploy, password_file: ./secrets/registry}
";

const LAB: &str = "  lab: {kind: rehearsal}                  # only rehearses, to try things on\n";

const TARGETS: &str = "  # A tag may be a pattern, and people or hours may be asked for: docs/gates.md
  # shop: {at: swarm, stack: shop, follow: \"acme/shop:v1.*\", approve: true, rollback: true}
";

fn portainer(name: &str, url: &str) -> String {
    let host = quoted(url);
    let own = if url.starts_with("https:") {
        "  # Its certificate, where it made its own: ca_file, see docs/portainer.md\n"
    } else {
        ""
    };
    format!(
        "  # A Portainer. Make an access token there (My account, Access tokens), put it into the file, and take the `# ` away:\n{own}  \
         # {name}: {{kind: portainer, url: {host}, api_key_file: ./secrets/{name}, environment: local}}\n"
    )
}

/// A name of a target that people know the service by.
fn name_of(service: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    service.chars().map(plain).take(63).collect()
}

/// A text as YAML has it between quotes, which is how JSON has it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn socket() -> PathBuf {
    let host = env::var("DOCKER_HOST").unwrap_or_default();
    PathBuf::from(host.strip_prefix("unix://").unwrap_or(SOCKET))
}

/// What is written can be used as it stands.
fn make_sure(text: &str) -> Result<(), Failure> {
    let mut reading = Reading::of_text("longshore.yaml", text)?;
    let read = reading.common().zip(reading.ingress()).zip(reading.worker());
    reading.finish(read)?;
    Ok(())
}

fn exists(file: &Path) -> Failure {
    Failure::setup(
        format!("`{}` is there already and is not overwritten", file.display()),
        "choose another name with --out, or look at what would be written with --print",
    )
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).open(file);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            return exists(file);
        }
        Failure::setup(
            format!("cannot write `{}`: {error}", file.display()),
            "choose another place with --out, or print it with --print",
        )
    })
}

impl Written {
    fn told(&self) -> String {
        let file = self.file.display();
        let mut text = format!("wrote {file}\n");
        match &self.engine {
            Some(why) => _ = writeln!(text, "no engine told what runs: {why}"),
            None => _ = writeln!(text, "found {} services at {}", self.services, self.socket.display()),
        }
        for url in &self.portainers {
            _ = writeln!(text, "found a Portainer at {url}; it needs an access token, see the file");
        }
        let program = typed::program();
        _ = write!(
            text,
            "\nnext:\n  {program} check --config {file} --connect\n  {program} up --config {file}"
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(survey: Result<Survey, String>, portainers: &[&str]) -> Found {
        let portainers = portainers.iter().map(|url| (*url).to_owned()).collect();
        Found { socket: SOCKET.into(), survey, portainers }
    }

    /// The text, and the same with every example taken up; both can be used but for the files they name.
    fn is_sound(found: &Found) -> String {
        let text = found.text(Path::new("longshore.yaml"));
        make_sure(&text).unwrap_or_else(|failure| panic!("{failure}\n{text}"));
        let folder = tempfile::tempdir().unwrap();
        let taken_up: Vec<String> = text
            .lines()
            .filter(|line| !line.starts_with("queue: embedded"))
            .map(|line| match line.split_once("# ") {
                Some((before, rest)) if before.trim().is_empty() && rest.contains(": {") => {
                    format!("{before}{rest}")
                }
                Some(("", "registries:                             # how workers read from registries that ask who they are")) => {
                    "registries:".to_owned()
                }
                _ => line.replace("#   registry.", "  registry."),
            })
            .filter(|line| !line.contains("curl") && !line.contains("queue:"))
            .map(|line| line.replace("./secrets", folder.path().to_str().unwrap()))
            .collect();
        for secret in ["hook_hub", "hook_github", "registry", "portainer", "portainer-2"] {
            std::fs::write(folder.path().join(secret), "s3cret\n").unwrap();
        }
        let taken_up = taken_up.join("\n");
        if text.contains("\n  swarm:") {
            make_sure(&taken_up).unwrap_or_else(|failure| panic!("{failure}\n{taken_up}"));
            assert!(taken_up.contains("\n  shop: {at") && taken_up.contains("\n  hub: {"), "{taken_up}");
        }
        text
    }

    #[test]
    fn what_is_written_can_be_used_and_so_can_its_examples() {
        let service = |name: &str, image: &str| (name.to_owned(), image.to_owned());
        let survey =
            |services: Vec<(String, String)>| Survey { is_manager: true, services, ..Survey::default() };
        let some = survey(vec![service("web", "acme/web:latest"), service("a.b", "r.example:5000/x/y:1")]);
        let text = is_sound(&found(Ok(some), &["https://127.0.0.1:9443", "http://p.example"]));
        assert!(
            text.contains("# a-b: {at: swarm, service: \"a.b\", follow: \"r.example:5000/x/y:1\"}"),
            "{text}"
        );
        assert!(text.contains("# portainer-2: {kind: portainer, url: \"http://p.example\""), "{text}");
        is_sound(&found(Ok(survey(Vec::new())), &[]));
        let many = (0..60).map(|n| service(&format!("s{n}"), "acme/web:1")).collect();
        assert!(is_sound(&found(Ok(survey(many)), &[])).contains("# … and 10 more"));
        for nothing in [Ok(Survey::default()), Err("no such file".to_owned())] {
            assert!(is_sound(&found(nothing, &[])).contains("\n  demo: {at: lab"));
        }
    }
}
