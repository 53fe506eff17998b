//! Workers that look at registries: what they ask, and what they tell of it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use proto::{CauseKind, Sighting};
use queue::{Deliveries, Queue, Settlement};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use worker::{Prepared, target::Target};

use crate::{
    lab::{PATIENCE, STAYS_UP, Service, environment},
    registry::{PASSWORD, Registry, USER, free_address},
    token_service::TokenService,
};

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// How long nothing must come for it to be believed that nothing does: several times as long as a look takes.
const QUIET: Duration = Duration::from_secs(4);

/// Workers on one queue, and what they hand in.
pub(crate) struct Fleet {
    pub(crate) queue: Arc<dyn Queue>,
    intake: Box<dyn Deliveries>,
    changes: Vec<mpsc::Sender<Prepared>>,
    _stop: DropGuard,
    folder: tempfile::TempDir,
}

impl Fleet {
    pub(crate) async fn start(workers: usize, configuration: &str) -> Fleet {
        Fleet::start_in(tempfile::tempdir().unwrap(), workers, configuration).await
    }

    /// With data of an earlier life.
    pub(crate) async fn start_in(folder: tempfile::TempDir, workers: usize, configuration: &str) -> Fleet {
        let queue = queue::open(&queue::Settings::default(), folder.path()).await.unwrap();
        let (stop, mut changes) = (CancellationToken::new(), Vec::new());
        for _ in 0..workers {
            let first = prepared(configuration, folder.path());
            let (queue, stop) = (Arc::clone(&queue), stop.clone());
            let (change, changing) = mpsc::channel(1);
            changes.push(change);
            tokio::spawn(async move { worker::run_following(first, changing, queue, stop).await });
        }
        let intake = queue.intake(1).await.unwrap();
        Fleet { queue, intake, changes, _stop: stop.drop_guard(), folder }
    }

    /// Goes on with another configuration.
    pub(crate) async fn reload(&self, configuration: &str) {
        for change in &self.changes {
            let next = prepared(configuration, self.folder.path());
            assert!(change.send(next).await.is_ok(), "the worker has stopped");
        }
    }

    pub(crate) async fn sighting(&mut self) -> Sighting {
        let delivery =
            tokio::time::timeout(PATIENCE, self.intake.next()).await.expect("nothing is seen").unwrap();
        let sighting = Sighting::decode(delivery.body()).unwrap();
        delivery.settle(Settlement::Ack).await.unwrap();
        sighting
    }

    pub(crate) async fn nothing_more(&mut self) {
        if let Ok(delivery) = tokio::time::timeout(QUIET, self.intake.next()).await {
            panic!("{}", String::from_utf8_lossy(delivery.unwrap().body()));
        }
    }
}

fn prepared(configuration: &str, data: &Path) -> Prepared {
    let document = config::Document::parse("test.yaml", configuration).unwrap();
    let mut faults = config::Faults::new();
    let settings = worker::Settings::read(&document, &mut faults);
    let settings = settings.unwrap_or_else(|| panic!("{faults}")).with_data(data);
    Prepared::new(&settings).unwrap()
}

/// Follows as YAML has them, each of a target of its own, `t0` and on.
pub(crate) fn configuration(registries: &str, targets: &[String]) -> String {
    let targets: Vec<String> = targets
        .iter()
        .enumerate()
        .map(|(number, follow)| format!("  t{number}: {{at: lab, follow: {follow}}}\n"))
        .collect();
    format!(
        "sources: {{look: {{kind: poll, every: 1s}}}}\nregistries: {registries}\nsystems: {{lab: {{kind: rehearsal}}}}\n\
         targets:\n{}",
        targets.concat()
    )
}

fn key(host: &str) -> String {
    format!("{{'{host}': {{username: {USER}, password: '{PASSWORD}'}}}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_registry_is_looked_at_with_the_configured_key() {
    let registry = Registry::start_private();
    let image = tokio::task::block_in_place(|| registry.push_with_login("team/web:1", STAYS_UP));
    let mut fleet = Fleet::start(1, &configuration(&key(&registry.host()), &[image.to_string()])).await;
    let seen = fleet.sighting().await;
    assert_eq!(seen.image.by_tag(), image);
    assert!(seen.image.digest().is_some(), "{seen:?}");
    assert_eq!((seen.kind, seen.source.as_deref()), (CauseKind::Poll, Some("look")));
    fleet.nothing_more().await;
    fleet.queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_a_token_service_is_looked_at_with_few_tokens() {
    let service = TokenService::start().await;
    let registry = &service.registry;
    let image = tokio::task::block_in_place(|| registry.push_with_login("team/web:1", STAYS_UP));
    let again = tokio::task::block_in_place(|| registry.push_with_login("team/web:2", STAYS_UP));
    let asked = service.asked();
    let follows = [image.to_string(), again.to_string()];
    let mut fleet = Fleet::start(1, &configuration(&key(&registry.host()), &follows)).await;
    let seen = [fleet.sighting().await, fleet.sighting().await];
    assert_eq!(seen.map(|seen| seen.image.by_tag()), [image, again]);
    fleet.nothing_more().await;
    // One token serves for a repository, look after look.
    assert_eq!(service.asked() - asked, 1);
    fleet.queue.close().await;
}

#[tokio::test]
async fn the_other_address_of_a_registry_is_asked() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP);
    let public = "public.registry.test:5000";
    let registries = format!("{{'{public}': {{pull_from: '{}'}}}}", registry.host());
    let mut fleet = Fleet::start(1, &configuration(&registries, &[format!("{public}/web:1")])).await;
    let seen = fleet.sighting().await;
    assert_eq!(seen.image.by_tag().to_string(), format!("{public}/web:1"));
    assert_ne!(seen.image.by_tag(), image);
    fleet.queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_trusted_by_its_own_authority() {
    let (registry, certificate) = tokio::task::block_in_place(Registry::start_over_tls);
    let image = tokio::task::block_in_place(|| registry.push("web:1", STAYS_UP));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, certificate).unwrap();
    let registries = format!("{{'{}': {{ca_file: '{}'}}}}", registry.host(), file.display());
    let mut fleet = Fleet::start(1, &configuration(&registries, &[image.to_string()])).await;
    assert_eq!(fleet.sighting().await.image.by_tag(), image);
    fleet.queue.close().await;
}

/// A registry that counts how often it is asked, and answers what a test wants.
struct Counting {
    host: String,
    asked: Arc<AtomicUsize>,
}

impl Counting {
    async fn start(answer: fn(&HeaderMap) -> Response) -> Counting {
        let asked = Arc::new(AtomicUsize::new(0));
        let manifest = async move |State(asked): State<Arc<AtomicUsize>>, headers: HeaderMap| {
            asked.fetch_add(1, Ordering::Relaxed);
            answer(&headers)
        };
        let router = Router::new().route("/v2/{name}/manifests/{tag}", get(manifest));
        let address = free_address();
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let router = router.with_state(Arc::clone(&asked));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Counting { host: address.to_string(), asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    async fn until_asked(&self, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.asked() < times {
            assert!(Instant::now() < deadline, "asked {} times", self.asked());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn several_workers_ask_once_for_many_targets() {
    let registry = Counting::start(|_| ([("docker-content-digest", DIGEST)], "").into_response()).await;
    let follow = format!("{}/web:1", registry.host);
    let began = Instant::now();
    let mut fleet = Fleet::start(3, &configuration("{}", &vec![follow.clone(); 5])).await;
    let seen = fleet.sighting().await;
    assert_eq!(seen.image.to_string(), format!("{follow}@{DIGEST}"));
    registry.until_asked(5).await;
    // One look is no sooner after another than nine tenths of the interval.
    let looks = began.elapsed().as_secs_f64() / 0.9 + 1.0;
    assert!(registry.asked() as f64 <= looks, "{} times in {:?}", registry.asked(), began.elapsed());
    fleet.nothing_more().await;
    fleet.queue.close().await;
}

#[tokio::test]
async fn a_registry_that_was_asked_too_much_is_left_alone() {
    let refuse = |_: &HeaderMap| (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "3600")]).into_response();
    let registry = Counting::start(refuse).await;
    let follows = [format!("{}/web:1", registry.host), format!("{}/api:1", registry.host)];
    let mut fleet = Fleet::start(1, &configuration("{}", &follows)).await;
    registry.until_asked(1).await;
    fleet.nothing_more().await;
    assert_eq!(registry.asked(), 1);
    // That the configuration is read again changes nothing for the registry.
    fleet.reload(&configuration("{}", &follows)).await;
    fleet.nothing_more().await;
    assert_eq!(registry.asked(), 1, "asked again after a reload");
    // Another key may have a quota of its own.
    fleet.reload(&configuration(&key(&registry.host), &follows)).await;
    registry.until_asked(2).await;
    fleet.queue.close().await;
}

#[tokio::test]
async fn the_last_of_a_quota_is_left_to_those_who_pull() {
    let answer = |_: &HeaderMap| {
        let quota = [("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "9;w=21600")];
        ([("docker-content-digest", DIGEST)], quota, "").into_response()
    };
    let registry = Counting::start(answer).await;
    let mut fleet = Fleet::start(1, &configuration("{}", &[format!("{}/web:1", registry.host)])).await;
    fleet.sighting().await;
    fleet.nothing_more().await;
    assert_eq!(registry.asked(), 1);
    fleet.queue.close().await;
}

#[tokio::test]
async fn a_password_that_is_wanted_once_is_shown_with_every_question() {
    let answer = |headers: &HeaderMap| match headers.contains_key("authorization") {
        true => ([("docker-content-digest", DIGEST)], "").into_response(),
        false => (StatusCode::UNAUTHORIZED, [("www-authenticate", "Basic realm=\"r\"")]).into_response(),
    };
    let registry = Counting::start(answer).await;
    let follows: Vec<String> = (1..=4).map(|tag| format!("{}/web:{tag}", registry.host)).collect();
    let began = Instant::now();
    let mut fleet = Fleet::start(1, &configuration(&key(&registry.host), &follows)).await;
    for _ in &follows {
        fleet.sighting().await;
    }
    // The first question of all is asked twice, no other.
    let looks = (began.elapsed().as_secs_f64() / 0.9).ceil() + 1.0;
    let most = 1.0 + looks * follows.len() as f64;
    assert!(registry.asked() as f64 <= most, "{} times in {:?}", registry.asked(), began.elapsed());
    fleet.queue.close().await;
}

#[tokio::test]
async fn a_key_that_is_refused_is_not_shown_again_and_again_in_one_look() {
    let answer = |_: &HeaderMap| {
        (StatusCode::UNAUTHORIZED, [("www-authenticate", "Basic realm=\"r\"")]).into_response()
    };
    let registry = Counting::start(answer).await;
    let follows = [format!("{}/web:1", registry.host)];
    let began = Instant::now();
    let mut fleet = Fleet::start(1, &configuration(&key(&registry.host), &follows)).await;
    registry.until_asked(2).await;
    fleet.nothing_more().await;
    let looks = (began.elapsed().as_secs_f64() / 0.9).ceil() + 1.0;
    assert!(registry.asked() as f64 <= looks + 1.0, "{} times in {:?}", registry.asked(), began.elapsed());
    fleet.queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_names_no_digest_is_told_of_what_moved_and_of_nothing_else() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP);
    let service = Service::create(&image.to_string(), |_| ()).await;
    let target = service.target();
    let first = target.resolve(&image).await.unwrap();
    let began = Instant::now();
    loop {
        let images = target.images().await.unwrap();
        if images == [first.clone()] {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "its tasks run {first}, and {images:?} is told");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(service.image().await, image.to_string(), "nobody wrote a digest there");

    let configuration = format!(
        "sources: {{look: {{kind: poll, every: 1s}}}}\nsystems: {{swarm: {{kind: swarm, host: '{}'}}}}\n\
         targets: {{web: {{at: swarm, service: {}, follow: '{image}'}}}}\n",
        environment("LONGSHORE_TEST_DOCKER"),
        service.name
    );
    let mut fleet = Fleet::start(1, &configuration).await;
    fleet.nothing_more().await;
    registry.push("web:1", &["sleep", "2000000"]);
    let moved = target.resolve(&image).await.unwrap();
    assert_ne!(moved, first);
    assert_eq!(fleet.sighting().await.image, moved);
}
