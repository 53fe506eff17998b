//! Who may come in, and for what: a running fleet, and files that change beside it.

mod broker_edge;
mod identities;
mod tokens;
mod users;

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tests::fleet::{Engine, Fleet};
use tests::http;
use tests::process::longshore;
use tests::wait::eventually;

const SOON: Duration = Duration::from_secs(60);

/// A fleet with rehearsed targets and a hook with a key, and people who call it.
struct Stage {
    fleet: Fleet,
    client: Client,
}

impl Stage {
    /// A fleet whose configuration says `access` beside the token of the tests.
    async fn new(access: &str) -> Stage {
        let mut fleet = Fleet::prepare(Engine::Embedded).await.unwrap();
        let file = fleet
            .configure(
                "sources:\n  ci: {kind: plain, key: of-the-source}\n  hub: {kind: plain, secret: of-the-hub}\n  \
                 gar: {kind: google-ar, key: of-nobody}\n\
                 systems:\n  lab: {kind: rehearsal}\n  far: {kind: rehearsal, pool: office}\n\
                 targets:\n  web: {at: lab, takes: 20ms, follow: \"acme/web:*\"}\n  \
                 api: {at: lab, takes: 20ms, follow: [\"acme/api:*\", \"acme/web:*\"]}\n  \
                 shop: {at: far, takes: 20ms, follow: \"acme/shop:*\", approve: true, min_age: 1s}\n",
            )
            .unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let folder = fleet.folder().display();
        let own = format!("access: {{admin_token_file: {folder}/token}}");
        assert!(text.contains(&own), "{text}");
        let access = access.replace("{folder}", &folder.to_string());
        let with = format!("access:\n  admin_token_file: {folder}/token\n{access}");
        std::fs::write(&file, text.replace(&own, &with)).unwrap();
        fleet.start().await.unwrap();
        Stage { fleet, client: http::client().unwrap() }
    }

    /// Runs `longshore` on the fleet's configuration to its end, which must be that code; what it printed.
    async fn ends(&self, words: &[&str], code: i32) -> String {
        let program = longshore("longshore").unwrap();
        let mut command = Command::new(program.as_std().get_program());
        command.args(words).arg("--config").arg(self.fleet.folder().join("longshore.yaml"));
        let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(code), "longshore {words:?}\n{printed}{complaint}");
        printed
    }

    /// Makes a token, and waits until the fleet knows it.
    async fn token(&self, words: &[&str]) -> String {
        let made = self.ends(&[&["token", "create"], words].concat(), 0).await;
        let token = made.lines().next().unwrap().to_owned();
        let known = eventually(SOON, "the token to be known", || async {
            let (status, said) = self.call(&token, Method::GET, "/v1/targets", None).await;
            ensure!(status != StatusCode::UNAUTHORIZED, "{said}");
            Ok(())
        });
        known.await.unwrap();
        token
    }

    async fn call(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let request = self.client.request(method, self.fleet.url(path)).bearer_auth(token);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        http::answer(request).await.unwrap()
    }

    async fn get(&self, token: &str, path: &str) -> (StatusCode, Value) {
        self.call(token, Method::GET, path, None).await
    }

    async fn deploy(&self, token: &str, target: &str, image: &str) -> (StatusCode, Value) {
        let wish = json!({"target": target, "image": image});
        self.call(token, Method::POST, "/v1/jobs?wait=60s", Some(wish)).await
    }

    /// What the fleet said of refusals.
    fn refusals(&self) -> Vec<String> {
        self.fleet.lines().into_iter().filter(|line| line.contains("access refused")).collect()
    }
}

/// The words of a problem, which must have this status and name what is missing.
fn refused((status, problem): (StatusCode, Value), wanted: u16, words: &str) {
    assert_eq!(status.as_u16(), wanted, "{problem}");
    let said = format!("{} {}", problem["detail"], problem["hint"]);
    assert!(said.contains(words), "`{words}` is not in {problem}");
}
