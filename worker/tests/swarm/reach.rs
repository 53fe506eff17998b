//! Engines, services and registries that cannot be reached, are not there, or refuse us.

use worker::target::{
    End, Standing, Target, TargetError,
    swarm::{Registries, Swarm},
};

use crate::{
    lab::{STAYS_UP, Service, apply, deploy, environment, job, settings, wanted, watch},
    registry::{PASSWORD, Registry, USER},
    wire::Wire,
};

fn swarm_at(host: &str) -> Swarm {
    Swarm::new("swarm", &settings(host), Registries::default()).unwrap()
}

#[tokio::test]
async fn an_engine_that_is_down_is_unreachable() {
    let image = "a/b:1".parse().unwrap();
    for host in ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1"] {
        let target = swarm_at(host).service("web");
        let error = target.resolve(&image).await.unwrap_err();
        assert!(matches!(error, TargetError::Unreachable { .. }), "{host}: {error:?}");
        let error = target.read(&job(&image)).await.err();
        assert!(matches!(error, Some(TargetError::Unreachable { .. })), "{host}: {error:?}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_not_found() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP);
    let service = Service::create(&image.to_string(), |_| ()).await;
    let id = service.inspect().await["ID"].as_str().unwrap().to_owned();
    // The engine itself would take the beginning of an id.
    for name in ["no-such-service", "../info", "..", "", &id[..6]] {
        let error =
            swarm_at(&environment("LONGSHORE_TEST_DOCKER")).service(name).read(&job(&image)).await.err();
        match error {
            Some(TargetError::NotFound { what, .. }) => assert!(what.contains(name), "{what}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_engine_lost_during_the_watch_is_unreachable_and_the_job_goes_on_elsewhere() {
    let registry = Registry::start();
    let old = registry.push("web:1", STAYS_UP);
    let new = registry.push("web:2", STAYS_UP);
    let service = Service::create(&old.to_string(), |_| ()).await;
    let wire = Wire::lay().await;
    let target = swarm_at(&wire.host).service(&service.name);
    let wanted = wanted(&target, &new).await;
    apply(&target, &wanted).await.unwrap();
    let watching = {
        let (target, wanted) = (target.clone(), wanted.clone());
        tokio::spawn(async move { watch(&target, &wanted).await })
    };
    service.wait_until_it_rolls().await;
    wire.cut();
    let error = watching.await.unwrap().unwrap_err();
    assert!(matches!(error, TargetError::Unreachable { .. }), "{error:?}");

    let found = service.target().read(&wanted.job).await.unwrap();
    assert_eq!(found.standing(wanted.job.id), Standing::Applied);
    assert_eq!(watch(&service.target(), &wanted).await.unwrap().0.end, End::Converged);
}

#[tokio::test]
async fn a_write_without_an_answer_is_in_doubt_and_was_done() {
    let registry = Registry::start();
    let image = registry.push("web:1", STAYS_UP);
    let service = Service::create(&image.to_string(), |_| ()).await;
    let wire = Wire::lay().await;
    let target = swarm_at(&wire.host).service(&service.name);
    let first = wanted(&target, &image).await;
    assert_eq!(deploy(&target, &first).await.end, End::Converged);

    let again = wanted(&target, &registry.push("web:2", STAYS_UP)).await;
    let found = target.read(&again.job).await.unwrap();
    wire.swallow_answers_to_writes();
    let error = found.apply(&again).await.unwrap_err();
    assert!(matches!(error, TargetError::NoAnswer { .. }), "{error:?}");
    // It was announced, and is gone on with from there.
    let service = service.target();
    assert_eq!(service.read(&again.job).await.unwrap().standing(again.job.id), Standing::Open);
    assert_eq!(deploy(&service, &again).await.end, End::Converged);
    assert_eq!(service.read(&again.job).await.unwrap().standing(again.job.id), Standing::Applied);
}

#[tokio::test]
async fn a_private_registry_takes_the_configured_key_and_its_refusal_is_told() {
    let registry = Registry::start_private();
    let image = registry.push_with_login("web:1", STAYS_UP);
    let open = Registry::start();
    let old = open.push("web:0", STAYS_UP);
    let service = Service::create(&old.to_string(), |_| ()).await;
    let swarm = |registries| {
        Swarm::new("swarm", &settings(&environment("LONGSHORE_TEST_DOCKER")), registries).unwrap()
    };

    let wrong = Registries::default().with(&registry.host(), USER, "wrong");
    for registries in [Registries::default(), wrong] {
        let error = swarm(registries).service(&service.name).resolve(&image).await.unwrap_err();
        let TargetError::CredentialsRefused { system, answer } = error else { panic!("{error:?}") };
        assert_eq!(system, registry.host());
        assert!(!answer.is_empty() && !answer.contains("wrong"), "{answer}");
    }

    let right = Registries::default().with(&registry.host(), USER, PASSWORD);
    let target = swarm(right).service(&service.name);
    let wanted = wanted(&target, &image).await;
    let outcome = deploy(&target, &wanted).await;
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
}
