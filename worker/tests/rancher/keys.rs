//! Who asks: a bearer token or the two halves of a key, for all clusters or for one, good or not.

use std::sync::Arc;

use proto::State;
use queue::{Chronicle, Entry, Since};

use crate::{
    fake_rancher::{CLUSTER, CLUSTER_NAME, KEY, Rights},
    lab::{Lab, set},
    stage::{DEADLINE, Stage, carried_out, code, text},
};

#[tokio::test]
async fn a_token_and_its_halves_are_the_same() {
    let lab = Lab::new();
    let (name, secret) = KEY.split_once(':').unwrap();
    for (tag, access) in
        [("2", format!("token: '{KEY}'")), ("3", format!("access_key: '{name}', secret_key: '{secret}'"))]
    {
        let stage = Stage::new(&lab.configured(&access, &lab.short())).await;
        let end = carried_out(&stage, &set(tag)).await;
        assert_eq!(end.state(), State::Succeeded, "{end:?}");
    }
}

#[tokio::test]
async fn a_key_for_one_cluster_is_enough() {
    let lab = Lab::new();
    let key = lab.rancher.add_key("token-scoped", |key| CLUSTER.clone_into(&mut key.cluster));
    let stage = Stage::new(&lab.configured(&format!("token: '{key}'"), &lab.short())).await;
    let end = carried_out(&stage, &set("2")).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    let told =
        worker::connect(&stage.settings(&lab.configured(&format!("token: '{key}'"), &lab.short()))).await;
    let told = told.unwrap();
    let found = told[0].found.join("\n");
    assert_eq!(told[0].missing, Vec::<String>::new());
    for line in
        ["tells this key nothing of itself", "`token-scoped` for a single cluster", "registry.lan/acme/web:2"]
    {
        assert!(found.contains(line), "{line}\n---\n{found}");
    }
    // It may not ask what a name means.
    let named = format!("workload: '{CLUSTER_NAME}/deployment:shop:web'");
    let stage = Stage::new(&lab.configured(&format!("token: '{key}'"), &named)).await;
    let end = carried_out(&stage, &set("3")).await;
    assert_eq!((end.state(), code(&end)), (State::Dead, "credentials-refused"), "{end:?}");
    assert!(
        text(&end).contains("name the cluster by its id (`c-xxxxx`) instead of `office`"),
        "{}",
        text(&end)
    );
}

#[tokio::test]
async fn each_key_that_is_not_good_ends_the_job_at_once() {
    let lab = Lab::new();
    let expired = lab.rancher.add_key("token-old", |key| key.expired = true);
    let reader = lab.rancher.add_key("token-reader", |key| key.rights = Rights::ReadOnly);
    let nobody = lab.rancher.add_key("token-nobody", |key| key.rights = Rights::None);
    let elsewhere = lab.rancher.add_key("token-elsewhere", |key| "c-other".clone_into(&mut key.cluster));
    for (key, why) in [
        ("token-typo:fake-secret".to_owned(), "must authenticate: the key is mistyped, has expired"),
        (expired, "must authenticate: the key is mistyped, has expired"),
        (reader, "is forbidden: User \"u-abcde\" cannot do it"),
        (nobody, "is forbidden: User \"u-abcde\" cannot do it"),
        (elsewhere, "the key is for a single cluster, and not for this"),
    ] {
        let stage = Stage::new(&lab.configured(&format!("token: '{key}'"), &lab.short())).await;
        let end = carried_out(&stage, &set("2")).await;
        assert_eq!((end.state(), code(&end)), (State::Dead, "credentials-refused"), "{key}: {end:?}");
        assert!(text(&end).contains(why), "{key}: {}", text(&end));
        let secret = key.split_once(':').unwrap().1;
        assert!(!format!("{end:?}").contains(secret), "{end:?}");
    }
    assert_eq!(lab.image(), "registry.lan/acme/web:1");
}

#[tokio::test]
async fn people_hear_of_a_key_before_it_ends() {
    let lab = Lab::new();
    let soon = proto::Timestamp::now() + std::time::Duration::from_secs(5 * 24 * 3600 + 60);
    let key = lab.rancher.add_key("token-soon", |key| key.expires_at = soon.to_string());
    let configuration = lab.configured(&format!("token: '{key}'"), &lab.short());
    let stage = Stage::empty().await;
    let told = worker::connect(&stage.settings(&configuration)).await.unwrap();
    let found = told[0].found.join("\n");
    assert!(found.contains("the key `token-soon`; it expires on"), "{found}");
    assert!(found.contains("in 5 days: make a new key in Rancher"), "{found}");
    assert_eq!(found.matches("expires on").count(), 1, "{found}");
}

/// What `longshore targets` shows: the word goes with the list of the system's targets.
#[tokio::test]
async fn a_key_that_is_about_to_end_is_told_with_the_targets() {
    let lab = Lab::new();
    let soon = proto::Timestamp::now() + std::time::Duration::from_secs(5 * 24 * 3600 + 60);
    let key = lab.rancher.add_key("token-soon", |key| key.expires_at = soon.to_string());
    let stage = Stage::new(&lab.configured(&format!("token: '{key}'"), &lab.short())).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let _chronicle = Chronicle::follow(Arc::clone(&stage.queue), Since::Start, move |recorded| {
        if let Entry::Catalogue(catalogue) = &recorded.entry {
            let _ = tell.send(format!("{catalogue:?}"));
        }
    });
    let heard = async {
        while let Some(catalogue) = told.recv().await {
            if catalogue.contains("token-soon") && catalogue.contains("in 5 days") {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, heard).await.expect("nobody heard of the key");
}
