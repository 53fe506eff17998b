//! Keys to registries, registries of two addresses, and images of several platforms.

use proto::{Event, ImageRef, State};
use queue::{Entry, QueueError, Since};
use serde_json::{Value, json};
use worker::target::{
    End, Target, TargetError,
    swarm::{Policy, Registries, Swarm},
};

use crate::{
    lab::{PATIENCE, STAYS_UP, Service, deploy, environment, job, settings, wanted},
    noting::NotingRegistry,
    poll::Fleet,
    registry::{PASSWORD, Registry, USER},
    text::{Stack, carry_out_text, compose, deploy_job, service, text},
    token_service::TokenService,
};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

fn swarm(registries: Registries) -> Swarm {
    Swarm::new("swarm", &settings(&environment("LONGSHORE_TEST_DOCKER")), registries).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_a_token_service_takes_the_configured_key_and_its_refusal_is_told() {
    let service_of_tokens = TokenService::start().await;
    let registry = &service_of_tokens.registry;
    let image = tokio::task::block_in_place(|| registry.push_with_login("team/web:1", STAYS_UP));
    let open = Registry::start();
    let service = Service::create(&open.push("web:0", STAYS_UP).to_string(), |_| ()).await;

    let wrong = Registries::default().with(&registry.host(), USER, "wr0ng");
    let error = swarm(wrong).service(&service.name).resolve(&image).await.unwrap_err();
    let TargetError::CredentialsRefused { system, answer } = error else { panic!("{error:?}") };
    assert_eq!(system, registry.host());
    assert!(answer.contains("incorrect username or password") && !answer.contains("wr0ng"), "{answer}");
    let nobody = swarm(Registries::default()).service(&service.name).resolve(&image).await.unwrap_err();
    assert!(matches!(nobody, TargetError::CredentialsRefused { .. }), "{nobody:?}");

    let asked = service_of_tokens.asked();
    let target = swarm(Registries::default().with(&registry.host(), USER, PASSWORD)).service(&service.name);
    let wanted = wanted(&target, &image).await;
    let outcome = deploy(&target, &wanted).await;
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    assert!(service_of_tokens.asked() > asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_end_a_job_dead_at_once_with_the_registrys_words() {
    let service_of_tokens = TokenService::start().await;
    let registry = &service_of_tokens.registry;
    let image = tokio::task::block_in_place(|| registry.push_with_login("team/web:1", STAYS_UP));
    let open = Registry::start();
    let service = Service::create(&open.push("web:0", STAYS_UP).to_string(), |_| ()).await;
    let fleet = Fleet::start(
        1,
        &format!(
            "registries: {{'{}': {{username: {USER}, password: wr0ng}}}}\n\
             systems: {{swarm: {{kind: swarm, host: '{}'}}}}\n\
             targets: {{web: {{at: swarm, service: {}}}}}\n",
            registry.host(),
            environment("LONGSHORE_TEST_DOCKER"),
            service.name
        ),
    )
    .await;
    let job = job(&image);
    let ended = async {
        while let Err(error) = fleet.queue.publish(&job).await {
            assert!(matches!(error, QueueError::NoPool(_)), "{error}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        fleet.queue.emit(&Event::of(&job, State::Accepted, 0, 0)).await.unwrap();
        let mut history = fleet.queue.history(Since::Start).await.unwrap();
        loop {
            if let Entry::Event(event) = history.next().await.unwrap().entry
                && event.state().is_end()
            {
                return event;
            }
        }
    };
    let end = tokio::time::timeout(PATIENCE, ended).await.expect("the job does not end");
    let reason = end.data.reason.as_ref().unwrap();
    assert_eq!((end.state(), end.data.attempt), (State::Dead, 1), "{end:?}");
    assert_eq!(reason.code, "credentials-refused");
    assert!(reason.text.contains("incorrect username or password"), "{reason:?}");
    // Whoever mends the file alone and deploys again is refused again.
    assert!(reason.hint.as_ref().is_some_and(|hint| hint.contains("SIGHUP")), "{reason:?}");
    assert!(!String::from_utf8_lossy(&end.encode()).contains("wr0ng"));
    fleet.queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_login_of_one_registry_is_never_shown_to_another() {
    let (registry, another) = (Registry::start_private(), NotingRegistry::start().await);
    let (image, good, bad) = tokio::task::block_in_place(|| {
        let image = registry.push_with_login("web:1", STAYS_UP);
        (image, another.push("web:2", STAYS_UP), another.push("web:3", &["false"]))
    });
    let open = Registry::start();
    let service = Service::create(&open.push("web:0", STAYS_UP).to_string(), |_| ()).await;
    let target = swarm(Registries::default().with(&registry.host(), USER, PASSWORD)).service(&service.name);
    assert_eq!(deploy(&target, &wanted(&target, &image).await).await.end, End::Converged);

    // One that does not hold: the way back leads to the login from before, which nothing is configured for here.
    let without = swarm(Registries::default()).service(&service.name);
    let without = without.with(Policy { rollback: true, ..Policy::default() });
    let outcome = deploy(&without, &wanted(&without, &bad).await).await;
    assert!(matches!(outcome.end, End::RolledBack(_)), "{outcome:?}");
    assert!(service.image().await.starts_with(&format!("{image}@")), "{}", service.image().await);
    assert_eq!(deploy(&target, &wanted(&target, &good).await).await.end, End::Converged);
    let (asked, shown) = another.noted();
    assert!(asked > 0 && shown.is_empty(), "asked {asked} times and shown {shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docker_command_shows_it_to_no_other_either() {
    let (registry, another) = (Registry::start_private(), NotingRegistry::start().await);
    let (image, other) = tokio::task::block_in_place(|| {
        (registry.push_with_login("app:1", STAYS_UP), another.push("app:2", STAYS_UP))
    });
    let stack = Stack::new();
    let registries = Registries::default().with(&registry.host(), USER, PASSWORD);
    let target = stack.target_with(&settings(&environment("LONGSHORE_TEST_DOCKER")), registries);
    for image in [image, other] {
        let job = deploy_job(&text(compose(&[service("web", &image.to_string(), "")], "")));
        assert_eq!(carry_out_text(&target, &job).await.unwrap().end, End::Converged);
    }
    let (asked, shown) = another.noted();
    assert!(asked > 0 && shown.is_empty(), "asked {asked} times and shown {shown:?}");
}

#[tokio::test]
async fn a_service_gets_its_image_from_the_registrys_other_address() {
    let registry = Registry::start_private();
    let pushed = registry.push_with_login("web:1", STAYS_UP);
    let open = Registry::start();
    let service = Service::create(&open.push("web:0", STAYS_UP).to_string(), |_| ()).await;

    // Nothing answers at the public address: the engine has to ask and to pull by the other one.
    let public = "public.registry.test:5000";
    let registries =
        Registries::default().with_pull_from(public, &registry.host()).with(public, USER, PASSWORD);
    let target = swarm(registries).service(&service.name);
    let image: ImageRef = format!("{public}/web:1").parse().unwrap();
    let wanted = wanted(&target, &target.pulled_as(&image)).await;
    let outcome = deploy(&target, &wanted).await;
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    assert!(service.image().await.starts_with(&format!("{pushed}@sha256:")), "{}", service.image().await);
}

#[tokio::test]
async fn the_index_of_several_platforms_is_kept() {
    let registry = Registry::start();
    let ours = registry.push("web:ours", STAYS_UP);
    let theirs = registry.push("web:theirs", STAYS_UP);
    let (here, elsewhere) = platforms();
    let index = push_index(&registry, "web:both", &[(&ours, here), (&theirs, elsewhere)]).await;
    let service = Service::create(&registry.push("web:0", STAYS_UP).to_string(), |spec| {
        spec["TaskTemplate"]["Placement"] = json!({"Platforms": [{"Architecture": here, "OS": "linux"}]});
    })
    .await;

    let target = service.target();
    let image: ImageRef = format!("{}/web:both", registry.host()).parse().unwrap();
    let wanted = wanted(&target, &image).await;
    assert_eq!(wanted.image.as_ref().unwrap().digest().unwrap().as_str(), index);
    let outcome = deploy(&target, &wanted).await;
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    assert_eq!(service.image().await, format!("{image}@{index}"));
}

#[tokio::test]
async fn an_image_for_other_platforms_only_is_refused_before_anything_is_written() {
    let registry = Registry::start();
    let theirs = registry.push("web:theirs", STAYS_UP);
    let (here, elsewhere) = platforms();
    push_index(&registry, "web:foreign", &[(&theirs, elsewhere)]).await;
    let service = Service::create(&registry.push("web:0", STAYS_UP).to_string(), |spec| {
        spec["TaskTemplate"]["Placement"] = json!({"Platforms": [{"Architecture": here, "OS": "linux"}]});
    })
    .await;
    let image: ImageRef = format!("{}/web:foreign", registry.host()).parse().unwrap();
    let error = service.target().resolve(&image).await.unwrap_err();
    let TargetError::Refused { answer, .. } = error else { panic!("{error:?}") };
    assert!(answer.contains(&format!("built for linux/{elsewhere}")), "{answer}");
}

#[tokio::test]
async fn a_service_is_bound_to_what_its_new_image_is_built_for() {
    let registry = Registry::start();
    let (ours, theirs) = (registry.push("web:ours", STAYS_UP), registry.push("web:theirs", STAYS_UP));
    let (here, elsewhere) = platforms();
    let on = |architecture: &str| json!({"Architecture": architecture, "OS": "linux"});
    // It was made for an image of both, or of another platform alone, as the docker command would.
    for former in [json!([on(here), on(elsewhere)]), json!([on(elsewhere)])] {
        let service = Service::create(&registry.push("web:0", STAYS_UP).to_string(), |_| ()).await;
        service
            .edit_by_hand(|spec| {
                spec["TaskTemplate"]["Placement"] =
                    json!({"Constraints": ["node.role==manager"], "Platforms": former});
            })
            .await;
        let target = service.target();
        let bound = async || service.inspect().await["Spec"]["TaskTemplate"]["Placement"].clone();
        assert_eq!(deploy(&target, &wanted(&target, &ours).await).await.end, End::Converged);
        assert_eq!(bound().await, json!({"Constraints": ["node.role==manager"], "Platforms": [on(here)]}));
        // And to more, where the next one is built for more.
        push_index(&registry, "web:both", &[(&ours, here), (&theirs, elsewhere)]).await;
        let both: ImageRef = format!("{}/web:both", registry.host()).parse().unwrap();
        let plan = target.plan(&job(&both).operation).await.unwrap();
        let is_told = plan.changes.iter().any(|change| change.field.contains("Placement.Platforms"));
        assert!(is_told, "{plan:?}");
        assert_eq!(deploy(&target, &wanted(&target, &both).await).await.end, End::Converged);
        assert_eq!(bound().await["Platforms"], json!([on(here), on(elsewhere)]));
    }
}

/// This machine's architecture as images name it, and another.
fn platforms() -> (&'static str, &'static str) {
    if std::env::consts::ARCH == "aarch64" { ("arm64", "amd64") } else { ("amd64", "arm64") }
}

/// Makes one image of several, each for an architecture; its digest.
async fn push_index(registry: &Registry, name_and_tag: &str, images: &[(&ImageRef, &str)]) -> String {
    // Whichever test comes first: a client cannot be made without one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    let url =
        |path: &str, reference: &str| format!("http://{}/v2/{path}/manifests/{reference}", registry.host());
    let mut manifests: Vec<Value> = Vec::new();
    for (image, architecture) in images {
        let at = url(image.repository().path(), image.tag().unwrap());
        let answer = http.get(at).header("accept", MANIFEST).send().await.unwrap();
        let digest = answer.headers()["docker-content-digest"].to_str().unwrap().to_owned();
        let size = answer.bytes().await.unwrap().len();
        let platform = json!({"architecture": architecture, "os": "linux"});
        manifests.push(json!({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform}));
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string();
    let (path, tag) = name_and_tag.split_once(':').unwrap();
    let answer = http.put(url(path, tag)).header("content-type", INDEX).body(index).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    answer.headers()["docker-content-digest"].to_str().unwrap().to_owned()
}
