//! Looks at patterns and ranges: which of many tags are told of, and what is not forgotten.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use crate::{
    poll::{Fleet, configuration},
    registry::free_address,
};

/// A registry with one repository, `app`, whose tags a test sets. Each names another content.
struct Tags {
    host: String,
    tags: Arc<Mutex<BTreeSet<String>>>,
}

type Kept = State<Arc<Mutex<BTreeSet<String>>>>;

impl Tags {
    async fn start(tags: &[&str]) -> Tags {
        let kept = Arc::new(Mutex::new(tags.iter().map(|tag| (*tag).to_owned()).collect()));
        let list = async |State(tags): Kept| Json(json!({"name": "app", "tags": *tags.lock().unwrap()}));
        let manifest = async |State(tags): Kept, Path(tag): Path<String>| -> Response {
            let found = tags.lock().unwrap().contains(&tag);
            match found {
                true => [("docker-content-digest", digest(&tag))].into_response(),
                false => StatusCode::NOT_FOUND.into_response(),
            }
        };
        let router = Router::new()
            .route("/v2/app/tags/list", get(list))
            .route("/v2/app/manifests/{tag}", get(manifest))
            .with_state(Arc::clone(&kept));
        let address = free_address();
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Tags { host: address.to_string(), tags: kept }
    }

    fn push(&self, tag: &str) {
        self.tags.lock().unwrap().insert(tag.to_owned());
    }

    /// As it is pushed.
    fn image(&self, tag: &str) -> String {
        format!("{}/app:{tag}@{}", self.host, digest(tag))
    }

    fn follow(&self, tags: &str) -> String {
        format!("{{image: '{}/app', tags: {tags}}}", self.host)
    }
}

fn digest(tag: &str) -> String {
    let digits: String = tag.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits:0<64}")
}

/// A worker's data in which the rehearsed target runs an image.
fn folder_with(target: &str, image: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mark = json!({"jobs": {}, "applied_at": "2026-01-01T00:00:00Z", "image": image, "before": null,
        "rolled_back": null, "running": true, "restarts": 0});
    let file = folder.path().join("rehearsal").join(format!("default.{target}.json"));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, mark.to_string()).unwrap();
    folder
}

#[tokio::test]
async fn of_a_pattern_what_was_pushed_before_a_reload_is_found_after_it() {
    let registry = Tags::start(&["dev-a", "dev-b"]).await;
    // Of two looks of one configuration, the second comes an hour after the first.
    let rarely = configuration("{}", &[registry.follow("{glob: 'dev-*'}")]).replace("every: 1s", "every: 1h");
    let former = registry.image("dev-a").replace("sha256:64", "sha256:ff");
    let mut fleet = Fleet::start_in(folder_with("t0", &former), 1, &rarely).await;
    assert_eq!(fleet.sighting().await.image.tag(), Some("dev-a"), "what runs, and has moved");
    registry.push("dev-c");
    fleet.reload(&rarely).await;
    // What a worker told under another configuration it tells again: ingresses know.
    let told = [fleet.sighting().await, fleet.sighting().await];
    assert_eq!(told.each_ref().map(|seen| seen.image.tag()), [Some("dev-a"), Some("dev-c")]);
    fleet.nothing_more().await;
    fleet.queue.close().await;
}

#[tokio::test]
async fn of_a_range_the_highest_is_found_whenever_it_was_pushed() {
    let registry = Tags::start(&["1.0.0", "1.2.0", "1.10.0", "2.0.0", "latest"]).await;
    let configured = configuration("{}", &[registry.follow("{semver: '^1'}")]);
    let folder = folder_with("t0", &registry.image("1.0.0"));
    let mut fleet = Fleet::start_in(folder, 1, &configured).await;
    assert_eq!(fleet.sighting().await.image.tag(), Some("1.10.0"), "there before the first look");
    registry.push("1.9.0");
    fleet.nothing_more().await;
    for tag in ["1.11.0", "1.12.0-rc.1"] {
        registry.push(tag);
    }
    assert_eq!(fleet.sighting().await.image.tag(), Some("1.11.0"));
    fleet.nothing_more().await;
    fleet.queue.close().await;
}

#[tokio::test]
async fn of_a_regular_expression_with_numbers_the_last_is_found() {
    let registry = Tags::start(&["r-9", "r-10", "r-11-slim"]).await;
    let configured = configuration("{}", &[registry.follow("{regex: 'r-[0-9]+(-slim)?'}")]);
    let folder = folder_with("t0", &registry.image("r-8"));
    let mut fleet = Fleet::start_in(folder, 1, &configured).await;
    assert_eq!(fleet.sighting().await.image.tag(), Some("r-10"));
    fleet.nothing_more().await;
    fleet.queue.close().await;
}
