//! Users: entered by hand or by themselves, logged in, and logged out.

use anyhow::ensure;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::http;
use tests::wait::eventually;

use super::{SOON, Stage, refused};

const PASSWORD: &str = "a password of hers";

impl Stage {
    async fn user(&self, name: &str, words: &[&str]) {
        let file = self.password(PASSWORD);
        let words = [&["user", "add", name, "--password-file", &file], words].concat();
        self.ends(&words, 0).await;
        let known = eventually(SOON, "the user to be known", || async {
            let (status, said) = self.log_in(name, PASSWORD).await;
            ensure!(status == StatusCode::OK, "{said}");
            Ok(())
        });
        known.await.unwrap();
    }

    fn password(&self, text: &str) -> String {
        let file = self.fleet.folder().join("password-of-a-user");
        std::fs::write(&file, format!("{text}\n")).unwrap();
        file.display().to_string()
    }

    async fn log_in(&self, user: &str, password: &str) -> (StatusCode, Value) {
        self.post("/v1/session", json!({"user": user, "password": password})).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        http::answer(self.client.post(self.fleet.url(path)).json(&body)).await.unwrap()
    }

    /// Both tokens of a new session.
    async fn session(&self, user: &str, password: &str) -> (String, String) {
        let (status, pair) = self.log_in(user, password).await;
        assert_eq!((status.as_u16(), &pair["expires_in"]), (200, &json!(7_200)), "{pair}");
        tokens_of(&pair)
    }

    async fn has_ended(&self, access: &str) {
        let ended = eventually(SOON, "the session to end", || async {
            let (status, said) = self.get(access, "/v1/targets").await;
            ensure!(
                status == StatusCode::UNAUTHORIZED && said["type"] == "/problems/session-ended",
                "{said}"
            );
            Ok(())
        });
        ended.await.unwrap();
    }
}

fn tokens_of(pair: &Value) -> (String, String) {
    let token = |key: &str| pair[key].as_str().unwrap_or_else(|| panic!("{pair}")).to_owned();
    (token("access_token"), token("refresh_token"))
}

#[tokio::test]
async fn a_user_does_what_the_role_says_until_the_session_ends() {
    let stage = Stage::new("  users_file: \"{folder}/access/users.yaml\"\n").await;
    stage.user("Anna", &["--role", "deployer", "--target", "web"]).await;
    let kept = std::fs::read_to_string(stage.fleet.folder().join("access/users.yaml")).unwrap();
    assert!(kept.contains("$argon2id$") && !kept.contains(PASSWORD), "{kept}");
    assert!(stage.ends(&["user", "list"], 0).await.contains("deployer"));

    let (access, refresh) = stage.session("anna", PASSWORD).await;
    let (_, me) = stage.get(&access, "/v1/session").await;
    assert_eq!(me["name"], "user:anna", "{me}");
    let (status, deployed) = stage.deploy(&access, "web", "acme/web:1").await;
    assert_eq!((status.as_u16(), &deployed["jobs"][0]["state"]), (200, &json!("succeeded")), "{deployed}");
    refused(stage.deploy(&access, "api", "acme/api:1").await, 403, "`set-image` on `default/api`");
    // One token is not taken for the other.
    refused(stage.get(&refresh, "/v1/targets").await, 401, "nobody here");
    refused(stage.post("/v1/session/refresh", json!({"refresh_token": access})).await, 401, "nobody here");

    let (status, pair) = stage.post("/v1/session/refresh", json!({"refresh_token": refresh})).await;
    assert_eq!(status.as_u16(), 200, "{pair}");
    let (second, second_refresh) = tokens_of(&pair);
    assert_eq!(stage.get(&second, "/v1/targets").await.0.as_u16(), 200);
    let (other, _) = stage.session("anna", PASSWORD).await;
    let (status, _) = stage.call(&second, Method::DELETE, "/v1/session", None).await;
    assert_eq!(status.as_u16(), 204);
    for token in [&access, &second] {
        refused(stage.get(token, "/v1/targets").await, 401, "ended");
    }
    let refused_refresh = stage.post("/v1/session/refresh", json!({"refresh_token": second_refresh})).await;
    refused(refused_refresh, 401, "ended");
    assert_eq!(stage.get(&other, "/v1/targets").await.0.as_u16(), 200);
    let (third, _) = stage.session("anna", PASSWORD).await;
    let (status, _) = stage.call(&third, Method::DELETE, "/v1/session?everywhere=true", None).await;
    assert_eq!(status.as_u16(), 204);
    for token in [&other, &third] {
        refused(stage.get(token, "/v1/targets").await, 401, "ended");
    }
}

#[tokio::test]
async fn another_password_and_a_lock_out_end_every_session() {
    let mut stage = Stage::new("").await;
    stage.user("anna", &["--role", "viewer"]).await;
    let (access, _) = stage.session("anna", PASSWORD).await;
    stage.fleet.kill().await.unwrap();
    stage.fleet.start().await.unwrap();
    assert_eq!(stage.get(&access, "/v1/targets").await.0.as_u16(), 200, "a session outlives a restart");

    let file = stage.password("another password");
    stage.ends(&["user", "passwd", "anna", "--password-file", &file], 0).await;
    stage.has_ended(&access).await;
    refused(stage.log_in("anna", PASSWORD).await, 401, "no user has this name and password");
    let (access, _) = stage.session("anna", "another password").await;
    stage.ends(&["user", "disable", "anna"], 0).await;
    stage.has_ended(&access).await;
    refused(stage.log_in("anna", "another password").await, 401, "disabled");

    // Who goes and comes again is somebody else.
    stage.user("bert", &["--role", "viewer", "--target", "web"]).await;
    let (access, refresh) = stage.session("bert", PASSWORD).await;
    refused(stage.deploy(&access, "web", "acme/web:1").await, 403, "`set-image` on `default/web`");
    stage.ends(&["user", "role", "bert", "deployer"], 0).await;
    let promoted = eventually(SOON, "the role to count", || async {
        let (status, said) = stage.deploy(&access, "web", "acme/web:1").await;
        ensure!(status == StatusCode::OK, "{said}");
        Ok(())
    });
    promoted.await.unwrap();
    stage.ends(&["user", "remove", "bert"], 0).await;
    stage.has_ended(&access).await;
    stage.user("bert", &["--role", "admin"]).await;
    stage.has_ended(&access).await;
    refused(stage.post("/v1/session/refresh", json!({"refresh_token": refresh})).await, 401, "ended");
    stage.ends(&["user", "enable", "anna"], 0).await;
    let back = eventually(SOON, "anna to be let in again", || async {
        let (status, said) = stage.log_in("anna", "another password").await;
        ensure!(status == StatusCode::OK, "{said}");
        Ok(())
    });
    back.await.unwrap();
    refused(stage.get(&access, "/v1/targets").await, 401, "ended");
}

#[tokio::test]
async fn guessing_is_slow_and_tells_nothing() {
    let stage = Stage::new("").await;
    stage.user("anna", &["--role", "viewer"]).await;
    let asked = (0..12).map(|n| {
        let (stage, password) = (&stage, format!("guess number {n}"));
        async move { stage.log_in("anna", &password).await }
    });
    let answers = futures::future::join_all(asked).await;
    let of = |status: u16| answers.iter().filter(|(known, _)| known.as_u16() == status).count();
    assert_eq!((of(401), of(429)), (5, 7), "{answers:?}");
    let (status, said) = stage.log_in("anna", PASSWORD).await;
    assert!(status.as_u16() == 429 || status.as_u16() == 200, "{said}");
    refused(stage.log_in("nobody", PASSWORD).await, 401, "no user has this name and password");
    refused(stage.log_in(&"x".repeat(500_000), PASSWORD).await, 401, "no user");
    refused(stage.post("/v1/session", json!({"user": "anna"})).await, 422, "has not the fields");
    let said = stage.fleet.lines().join("\n");
    assert!(!said.contains("guess number") && !said.contains(PASSWORD), "{said}");
    assert!(said.contains("too-many-attempts") && said.contains("user:anna"), "{said}");
}

#[tokio::test]
async fn people_register_only_where_that_is_said() {
    let closed = Stage::new("").await;
    let asked = json!({"user": "Dora", "password": PASSWORD, "name": "Dora D.", "phone": "+49 30 5"});
    refused(closed.post("/v1/session/register", asked.clone()).await, 403, "nobody can register");

    let open = Stage::new("  registration: {role: viewer, targets: [\"w*\"]}\n").await;
    let (status, said) = open.post("/v1/session/register", asked.clone()).await;
    assert_eq!(
        (status.as_u16(), &said["user"], &said["role"]),
        (201, &json!("dora"), &json!("viewer")),
        "{said}"
    );
    let (access, _) = open.session("dora", PASSWORD).await;
    let (_, targets) = open.get(&access, "/v1/targets").await;
    assert_eq!(targets["targets"].as_array().unwrap().len(), 1, "{targets}");
    refused(open.deploy(&access, "web", "acme/web:1").await, 403, "`set-image` on `default/web`");
    refused(open.post("/v1/session/register", asked).await, 409, "there is a user");
    for (user, password, words) in [("d d", PASSWORD, "is no name"), ("emil", "short", "fewer than")] {
        let asked = json!({"user": user, "password": password});
        refused(open.post("/v1/session/register", asked).await, 422, words);
    }
    let asked = json!({"user": "emil", "password": PASSWORD, "role": "admin"});
    refused(open.post("/v1/session/register", asked).await, 422, "has not the fields");
    assert!(open.ends(&["user", "list"], 0).await.contains("Dora D."));
}
