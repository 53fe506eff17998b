//! Stacks made from compose texts: how it ends where something goes wrong, and how a stack is removed.

use proto::{Operation, StackText};
use worker::target::{End, Found, Standing, Target, Wanted};

use crate::{
    carry_out::job_to,
    lab::{STAYS_UP, docker},
    registry::Registry,
    text::{Stack, carry_out_text, compose, deploy_job, service, text, variables},
};

const REMOVE: Operation = Operation::RemoveStack { force: false };

#[tokio::test]
async fn one_service_that_does_not_come_up_fails_the_text_and_is_named() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let (good, bad) = (registry.push("app:1", STAYS_UP), registry.push("app:2", &["no-such-program"]));
    let target = stack.target();
    let with =
        |web: &str| text(compose(&[service("jobs", &good.to_string(), ""), service("web", web, "")], ""));
    // Before the text there was nothing: what does not come up goes.
    let outcome = carry_out_text(&stack.going_back(), &deploy_job(&with(&bad.to_string()))).await.unwrap();
    let End::RolledBack(reason) = &outcome.end else { panic!("{outcome:?}") };
    assert!(reason.text.starts_with("web: not all tasks run (0 of 1 run)"), "{reason:?}");
    assert!(
        reason.text.contains("non-zero exit (127)") || reason.text.contains("starting container failed"),
        "{reason:?}"
    );
    assert!(reason.text.contains("; it was not there before the text, and is removed"), "{reason:?}");
    assert!(reason.text.ends_with("; as wished: jobs"), "{reason:?}");
    assert_eq!(stack.services(), ["jobs"]);
    assert!(target.look().await.unwrap().deployed.is_some(), "a part of the text runs");

    assert_eq!(
        carry_out_text(&target, &deploy_job(&with(&good.to_string()))).await.unwrap().end,
        End::Converged
    );
    let outcome = carry_out_text(&target, &deploy_job(&with(&bad.to_string()))).await.unwrap();
    let End::Failed(reason) = &outcome.end else { panic!("{outcome:?}") };
    assert!(reason.text.starts_with("web: the engine paused the update"), "{reason:?}");
}

#[tokio::test]
async fn a_text_that_does_not_hold_is_taken_back_service_by_service_where_the_target_asks_for_it() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let (good, bad) = (registry.push("app:1", STAYS_UP), registry.push("app:2", &["no-such-program"]));
    let target = stack.going_back();
    let with = |image: &str, more: &str| text(compose(&[service("web", image, more)], ""));
    let first = with(&good.to_string(), "    environment: {A: first}\n");
    assert_eq!(carry_out_text(&target, &deploy_job(&first)).await.unwrap().end, End::Converged);
    let web = stack.part("web");
    let image = web.image().await;
    // Another image and another variable: both go back.
    // The same image and another command: that goes back, too.
    for (wrong, more) in
        [(&bad, "    environment: {A: second}\n"), (&good, "    command: [no-such-program]\n")]
    {
        let job = deploy_job(&with(&wrong.to_string(), more));
        let outcome = carry_out_text(&target, &job).await.unwrap();
        let End::RolledBack(reason) = &outcome.end else { panic!("{outcome:?}") };
        assert!(reason.text.contains("; rolled back to"), "{reason:?}");
        assert_eq!((web.image().await, variables(&web).await), (image.clone(), vec!["A=first".to_owned()]));
        assert_eq!(web.label("longshore.back").await, Some(job.id.to_string()));
        assert_eq!(target.read(&job).await.unwrap().standing(job.id), Standing::Applied);
        // Taken up again, it ends as it did.
        let again = carry_out_text(&target, &job).await.unwrap();
        assert!(matches!(again.end, End::RolledBack(_)), "{again:?}");
    }
}

#[tokio::test]
async fn a_text_that_the_engine_takes_back_is_told_so_and_not_tried_again() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let (good, bad) = (registry.push("app:1", STAYS_UP), registry.push("app:2", &["no-such-program"]));
    let target = stack.target();
    let with = |image: &str| {
        let compose = compose(&[service("web", image, "")], "");
        text(compose.replace("failure_action: pause", "failure_action: rollback"))
    };
    assert_eq!(
        carry_out_text(&target, &deploy_job(&with(&good.to_string()))).await.unwrap().end,
        End::Converged
    );
    let job = deploy_job(&with(&bad.to_string()));
    let outcome = carry_out_text(&target, &job).await.unwrap();
    assert!(matches!(outcome.end, End::RolledBack(_)), "{outcome:?}");
    let web = stack.part("web");
    assert!(web.image().await.contains("app:1@"), "{}", web.image().await);
    assert_eq!(web.label("longshore.stack").await, Some(job.id.to_string()));
    assert_eq!(target.read(&job).await.unwrap().standing(job.id), Standing::Applied);
}

#[tokio::test]
async fn a_text_that_was_cut_off_between_two_services_is_deployed_again() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let image = registry.push("app:1", STAYS_UP);
    let target = stack.target();
    let one = service("jobs", &image.to_string(), "");
    let mut job = deploy_job(&text(compose(std::slice::from_ref(&one), "")));
    let found: Box<dyn Found> = target.read(&job).await.unwrap();
    found.apply(&Wanted { job: job.clone(), image: None }).await.unwrap();
    let pinned = stack.part("jobs").image().await;
    registry.push("app:1", &["sleep", "2000000"]);
    // As far as a worker came that died after the first.
    job.operation = Operation::DeployStack(text(compose(&[one, service("web", &image.to_string(), "")], "")));
    assert_eq!(target.read(&job).await.unwrap().standing(job.id), Standing::Open);
    let outcome = carry_out_text(&target, &job).await.unwrap();
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    assert_eq!(stack.services(), ["jobs", "web"]);
    assert_eq!(stack.part("jobs").image().await, pinned, "what was pinned stays so");
}

#[tokio::test]
async fn a_stack_is_removed_to_the_last_task_and_its_volumes_stay() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let image = registry.push("app:1", STAYS_UP);
    let target = stack.target();
    let more = "    volumes: ['data:/data']\n    configs: [page]\n";
    let body = compose(
        &[service("web", &image.to_string(), more)],
        "volumes: {data: {}}\nconfigs: {page: {file: p}}\n",
    );
    let mut whole: StackText = text(
        body.replace("networks: [outside]", "networks: [own]")
            .replace("  outside: {external: true, name: host}\n", "  own: {driver: overlay}\n"),
    );
    whole.files = crate::text::values(&[("p", "x")]);
    let older = job_to(REMOVE);
    let deployed = deploy_job(&whole);
    let outcome = carry_out_text(&target, &deployed).await.unwrap();
    assert_eq!(outcome.end, End::Converged, "{outcome:?}");
    assert_eq!((stack.objects("network").len(), stack.objects("config").len()), (1, 1));
    assert_eq!(target.read(&older).await.unwrap().standing(older.id), Standing::Newer(deployed.id));

    let job = job_to(REMOVE);
    for _ in 0..2 {
        // Done again, there is nothing left to remove.
        let outcome = carry_out_text(&target, &job).await.unwrap();
        assert_eq!(outcome.end, End::Converged, "{outcome:?}");
        assert_eq!(outcome.output.last().map(String::as_str), Some("nothing of the stack is left"));
        for kind in ["network", "config", "secret"] {
            assert!(stack.objects(kind).is_empty(), "{kind}");
        }
        let tasks =
            docker(&["ps", "-q", "--filter", &format!("label=com.docker.stack.namespace={}", stack.name)]);
        assert_eq!(tasks, "");
    }
    let label = format!("label=longshore.stack={}", stack.name);
    assert_eq!(docker(&["config", "ls", "-q", "--filter", &label]), "");
    let volume = format!("{}_data", stack.name);
    assert!(docker(&["volume", "ls", "-q"]).lines().any(|name| name == volume));
}
