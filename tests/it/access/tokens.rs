//! API tokens: made, used and taken away while the fleet runs.

use std::time::{Duration, Instant};

use anyhow::ensure;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tests::sse::EventStream;
use tests::wait::eventually;

use super::{SOON, Stage, refused};

#[tokio::test]
async fn a_token_does_what_its_scope_says_until_it_is_revoked() {
    let stage = Stage::new("  tokens_file: \"{folder}/access/tokens.yaml\"\n").await;
    let ci = stage.token(&["ci", "--target", "web", "--operation", "set-image"]).await;
    assert!(stage.fleet.folder().join("access/tokens.yaml").is_file());

    let (status, deployed) = stage.deploy(&ci, "web", "acme/web:1").await;
    assert_eq!((status.as_u16(), &deployed["jobs"][0]["state"]), (200, &json!("succeeded")), "{deployed}");
    let own = deployed["jobs"][0]["id"].as_str().unwrap().to_owned();
    let (status, shown) = stage.get(&ci, &format!("/v1/jobs/{own}")).await;
    assert_eq!((status.as_u16(), &shown["cause"]["by"]), (200, &json!("token:ci")), "{shown}");

    refused(stage.deploy(&ci, "api", "acme/api:1").await, 403, "`set-image` on `default/api`");
    let both = json!([{"target": "web", "image": "acme/web:2"}, {"target": "api", "image": "acme/api:2"}]);
    refused(stage.call(&ci, Method::POST, "/v1/jobs", Some(both)).await, 403, "`set-image` on `default/api`");
    let stop = json!({"target": "web", "operation": {"type": "stop"}});
    refused(stage.call(&ci, Method::POST, "/v1/jobs", Some(stop)).await, 403, "`stop` on `default/web`");

    let url = stage.fleet.url("/v1/events");
    let mut stream = EventStream::open(stage.client.get(url).bearer_auth(&ci)).await.unwrap();
    let revoked = Instant::now();
    stage.ends(&["token", "revoke", "ci"], 0).await;
    let gone = eventually(SOON, "the token to be gone", || async {
        let (status, said) = stage.get(&ci, "/v1/targets").await;
        ensure!(status == StatusCode::UNAUTHORIZED, "{said}");
        Ok(())
    });
    gone.await.unwrap();
    println!("a revoked token opened for {:?}", revoked.elapsed());
    assert_eq!(stream.next(SOON).await.unwrap(), None, "its stream ends");
    refused(stage.get("lsh_made_up", "/v1/targets").await, 401, "nobody here has this token");
}

#[tokio::test]
async fn nobody_sees_or_decides_what_is_out_of_their_scope() {
    let stage = Stage::new("").await;
    let admin = std::fs::read_to_string(stage.fleet.folder().join("token")).unwrap();
    let ci = stage.token(&["ci", "--target", "web", "--operation", "set-image", "--operation", "plan"]).await;
    let viewer = stage.token(&["viewer", "--target", "*", "--operation", "read"]).await;
    let office = stage.token(&["office", "--target", "office/*", "--operation", "approve"]).await;

    let mut seen =
        EventStream::open(stage.client.get(stage.fleet.url("/v1/events")).bearer_auth(&ci)).await.unwrap();
    let (_, foreign) = stage.deploy(&admin, "api", "acme/api:1").await;
    let foreign = foreign["jobs"][0]["id"].as_str().unwrap().to_owned();
    let (_, own) = stage.deploy(&ci, "web", "acme/web:1").await;
    let own = own["jobs"][0]["id"].as_str().unwrap().to_owned();
    let first = seen.next(SOON).await.unwrap().unwrap();
    assert!(first.data.contains("\"subject\":\"default/web\""), "{first:?}");

    let ids = |page: &serde_json::Value| -> Vec<String> {
        page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    };
    let (_, page) = stage.get(&ci, "/v1/jobs").await;
    assert_eq!(ids(&page), std::slice::from_ref(&own));
    let (_, page) = stage.get(&viewer, "/v1/jobs").await;
    assert_eq!(ids(&page), [own, foreign.clone()]);
    let (_, targets) = stage.get(&ci, "/v1/targets").await;
    assert_eq!(targets["targets"].as_array().unwrap().len(), 1, "{targets}");

    let of_web = "the operation `read` on `default/api`";
    for path in ["/v1/jobs?target=api", "/v1/jobs?target=api&state=dead", "/v1/targets/default/api"] {
        refused(stage.get(&ci, path).await, 403, of_web);
    }
    for path in ["", "/events"] {
        refused(stage.get(&ci, &format!("/v1/jobs/{foreign}{path}")).await, 403, of_web);
    }
    let post = |token: &str, path: String| {
        let token = token.to_owned();
        let stage = &stage;
        async move { stage.call(&token, Method::POST, &path, None).await }
    };
    for decision in ["cancel", "approve", "replay", "discard"] {
        let missing = format!("`{decision}` on `default/api`");
        refused(post(&viewer, format!("/v1/jobs/{foreign}/{decision}")).await, 403, &missing);
    }
    for decision in ["release", "rollback"] {
        refused(
            post(&viewer, format!("/v1/targets/default/web/{decision}")).await,
            403,
            &format!("`{decision}` on"),
        );
    }
    let plan = |token: &str, target: &str| {
        let (token, path, stage) = (token.to_owned(), format!("/v1/targets/default/{target}/plan"), &stage);
        async move { stage.call(&token, Method::POST, &path, Some(json!({"image": "acme/web:9"}))).await }
    };
    refused(plan(&ci, "api").await, 403, "`plan` on `default/api`");
    refused(plan(&viewer, "web").await, 403, "`plan` on `default/web`");
    let call_off = json!({"target": "web", "operation": {"type": "cancel", "job": foreign}});
    let caller = stage.token(&["caller", "--target", "web", "--operation", "cancel"]).await;
    refused(
        stage.call(&caller, Method::POST, "/v1/jobs", Some(call_off)).await,
        403,
        "`cancel` on `default/api`",
    );

    let shopper = stage.token(&["shopper", "--target", "office/shop", "--operation", "set-image"]).await;
    let at_once = json!({"target": "office/shop", "image": "acme/shop:1", "now": true});
    refused(
        stage.call(&shopper, Method::POST, "/v1/jobs", Some(at_once)).await,
        403,
        "`approve` on `office/shop`",
    );

    // Who may approve does not need to be who asked for it.
    let held = json!({"target": "office/shop", "image": "acme/shop:1"});
    let (_, held) = stage.call(&admin, Method::POST, "/v1/jobs", Some(held)).await;
    let held = held["jobs"][0]["id"].as_str().unwrap().to_owned();
    let waits = eventually(SOON, "it to be held", || async {
        let (_, shown) = stage.get(&office, &format!("/v1/jobs/{held}")).await;
        ensure!(shown["state"] == "held", "{shown}");
        Ok(())
    });
    waits.await.unwrap();
    refused(post(&ci, format!("/v1/jobs/{held}/approve")).await, 403, "`approve` on `office/shop`");
    let (status, approved) = post(&office, format!("/v1/jobs/{held}/approve")).await;
    assert_eq!(status.as_u16(), 202, "{approved}");
}

#[tokio::test]
async fn a_token_opens_the_hooks_it_is_for_in_place_of_their_secrets() {
    let stage = Stage::new("").await;
    let hooks = stage.token(&["pusher", "--source", "h*", "--target", "web"]).await;
    let push = |source: &str, image: &str| {
        let (path, body, stage, hooks) =
            (format!("/hooks/{source}"), json!({"image": image}), &stage, &hooks);
        async move { stage.call(hooks, Method::POST, &path, Some(body)).await }
    };
    // Two targets follow it; one is in the scope.
    let (status, taken) = push("hub", "acme/web:1").await;
    assert_eq!((status.as_u16(), taken["jobs"].as_array().unwrap().len()), (202, 1), "{taken}");
    assert_eq!(taken["jobs"][0]["target"], "default/web");
    refused(push("hub", "acme/api:1").await, 403, "the source `hub`");
    refused(push("ci", "acme/web:1").await, 403, "the source `ci`");
    refused(stage.get(&hooks, "/v1/jobs").await, 403, "`read` on some target");
    refused(stage.deploy(&hooks, "web", "acme/web:2").await, 403, "`set-image` on `default/web`");
    let key =
        stage.call("of-the-source", Method::POST, "/hooks/ci", Some(json!({"image": "acme/web:3"}))).await;
    assert_eq!(key.0.as_u16(), 202, "{}", key.1);
    let wrong = stage.call("lsh_0_1", Method::POST, "/hooks/hub", Some(json!({"image": "acme/web:3"}))).await;
    refused(wrong, 401, "nobody here has this token");
}

#[tokio::test]
async fn refusals_are_told_without_what_was_presented_and_not_without_end() {
    let stage = Stage::new("").await;
    let ci = stage.token(&["ci", "--target", "web", "--operation", "set-image"]).await;
    let brief = stage.token(&["brief", "--target", "web", "--operation", "read", "--expires", "3s"]).await;
    refused(stage.deploy(&ci, "api", "acme/api:1").await, 403, "`set-image`");
    let secret = "lsh_000000000000_a-secret-that-must-not-be-told";
    for _ in 0..40 {
        refused(stage.get(secret, "/v1/jobs").await, 401, "nobody");
    }
    stage.call("x", Method::POST, "/hooks/ci/another-secret?key=a-third-secret", None).await;
    let expired = eventually(SOON, "the token to expire", || async {
        let (status, said) = stage.get(&brief, "/v1/jobs").await;
        ensure!(status == StatusCode::UNAUTHORIZED, "{said}");
        Ok(said)
    });
    assert_eq!(expired.await.unwrap()["type"], "/problems/expired-token");

    let told = stage.refusals();
    let first = told.iter().find(|line| line.contains("not-allowed")).cloned().unwrap_or_default();
    for words in ["not-allowed", "token:ci", "127.0.0.1", "/v1/jobs", "POST"] {
        assert!(first.contains(words), "`{words}` is not in {first}");
    }
    let wrong = told.iter().filter(|line| line.contains("wrong-token")).count();
    assert_eq!(wrong, 10, "{told:#?}");
    let said = stage.fleet.lines().join("\n");
    for presented in ["a-secret-that", "another-secret", "a-third-secret", &ci] {
        assert!(!said.contains(presented), "{said}");
    }
    let metrics =
        stage.client.get(stage.fleet.url("/metrics")).timeout(Duration::from_secs(10)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("longshore_access_refused_total{reason=\"wrong-token\"}"), "{metrics}");
    let counted = metrics
        .lines()
        .find_map(|line| line.strip_prefix("longshore_access_refused_total{reason=\"wrong-token\"} "));
    assert!(counted.is_some_and(|counted| counted.parse::<u64>().unwrap() >= 40), "{metrics}");
    assert!(metrics.contains("longshore_access_refused_total{reason=\"not-allowed\"} 1"), "{metrics}");
}
