//! A stack of the run's engine that is made of texts, by the contract of all targets that take some.

use std::{
    process::Command,
    sync::{Mutex, PoisonError},
};

use proto::StackText;

use crate::{
    berth::{named, with_images},
    contract::{
        Berth, Kind,
        texts::{TextBerth, keeps_the_contract_of_texts},
    },
    lab::{docker, environment},
    registry::Registry,
    text::{Stack, compose, service, text, values},
    wire::Wire,
};

struct Stacked {
    stack: Stack,
    registry: Registry,
    wire: Wire,
    /// What reads a config of the stack, so that the engine does not let it go.
    reader: Mutex<Option<String>>,
}

impl Stacked {
    async fn lay() -> Stacked {
        Stacked {
            stack: Stack::new(),
            registry: with_images(),
            wire: Wire::lay().await,
            reader: Mutex::default(),
        }
    }
}

impl Berth for Stacked {
    fn configuration(&self, more: &str) -> String {
        format!(
            "worker: {{takeover_after: 300ms, grace: 100ms}}\n\
             systems:\n  swarm: {{kind: swarm, host: '{}'}}\n\
             targets:\n  demo: {{at: swarm, stack: {}, stable: 500ms{more}}}\n",
            self.wire.host, self.stack.name
        )
    }

    fn image(&self, kind: Kind) -> String {
        named(&self.registry, kind)
    }

    fn nowhere(&self) -> &'static str {
        "the registry has no"
    }

    /// The engine is a real one.
    fn stands(&self) -> Option<String> {
        None
    }

    fn writes(&self) -> usize {
        let changes = |line: &str| {
            ["/services/", "/networks/", "/configs/", "/secrets/"].iter().any(|it| line.contains(it))
        };
        self.wire.asked(|line| (line.starts_with("POST ") || line.starts_with("DELETE ")) && changes(line))
    }

    fn cut_next_write(&self) {
        self.wire.swallow_answer_to_next_write();
    }
}

impl TextBerth for Stacked {
    fn text(&self, kind: Kind) -> StackText {
        let web = service("web", &self.image(kind), "    configs: [page]\n");
        let mut text = text(compose(&[web], "configs:\n  page: {file: ./page.html}\n"));
        text.files = values(&[("page.html", "<p>")]);
        text
    }

    async fn somebody_deploys(&self, kind: Kind) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stack.yml");
        std::fs::write(folder.path().join("page.html"), "<p>").unwrap();
        std::fs::write(&file, &self.text(kind).compose).unwrap();
        docker(&["stack", "deploy", "--compose-file", file.to_str().unwrap(), &self.stack.name]);
    }

    fn left(&self) -> Vec<String> {
        let kinds = ["service", "config", "secret", "network"];
        kinds.iter().flat_map(|kind| self.stack.objects(kind)).collect()
    }

    async fn hold_back(&self) -> String {
        let (name, config) = (format!("{}-reader", self.stack.name), format!("{}_page", self.stack.name));
        let create =
            ["service", "create", "--detach", "--network", "host", "--name", &name, "--config", &config];
        docker(&[&create[..], &[&self.image(Kind::Good(1))]].concat());
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.clone());
        format!("in use by the following service: {name}")
    }

    fn let_go(&self) {
        if let Some(name) = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let host = environment("LONGSHORE_TEST_DOCKER");
            let _ = Command::new("docker").args(["service", "rm", &name]).env("DOCKER_HOST", host).output();
        }
    }
}

impl Drop for Stacked {
    fn drop(&mut self) {
        self.let_go();
    }
}

keeps_the_contract_of_texts!(Stacked::lay());
