//! Stacks that are removed: what another tool has to do with them meanwhile.

use proto::{Job, Operation};
use worker::target::{End, Standing, Target, Wanted, swarm::Registries};

use crate::{
    carry_out::{job_to, watch_any},
    lab::{STAYS_UP, docker, settings},
    registry::Registry,
    text::{Stack, carry_out_text, compose, deploy_job, service, text, values},
    wire::Wire,
};

fn removal() -> (Job, Wanted) {
    let job = job_to(Operation::RemoveStack { force: true });
    (job.clone(), Wanted { job, image: None })
}

/// Removed when dropped.
struct Foreign(String);

impl Foreign {
    fn create(name: &str, options: &[&str], image: &str) -> Foreign {
        let create = ["service", "create", "--detach", "--network", "host", "--name", name];
        docker(&[&create, options, &[image]].concat());
        Foreign(name.to_owned())
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let mut command = std::process::Command::new("docker");
        let host = crate::lab::environment("LONGSHORE_TEST_DOCKER");
        let _ = command.args(["service", "rm", &self.0]).env("DOCKER_HOST", host).output();
    }
}

fn notes_of_removals(stack: &Stack) -> String {
    docker(&["config", "ls", "-q", "--filter", &format!("label=longshore.removing={}", stack.name)])
}

#[tokio::test]
async fn what_another_tool_deploys_under_that_name_meanwhile_is_left_to_it() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let image = registry.push("app:1", STAYS_UP).to_string();
    let target = stack.target();
    let ours = text(compose(&[service("web", &image, "")], ""));
    assert_eq!(carry_out_text(&target, &deploy_job(&ours)).await.unwrap().end, End::Converged);
    let (job, wanted) = removal();
    let found = target.read(&job).await.unwrap();
    assert_eq!(found.standing(job.id), Standing::Open);
    found.apply(&wanted).await.unwrap();
    // None of its tasks is alive: whoever counts them finds nothing to wait for.
    let label = format!("com.docker.stack.namespace={}", stack.name);
    let options = ["--label", label.as_str(), "--replicas", "0"];
    let foreign = Foreign::create(&format!("{}_web", stack.name), &options, &image);

    // Another worker takes it up: what was begun is not begun anew.
    assert_eq!(target.read(&job).await.unwrap().standing(job.id), Standing::Applied);
    let outcome = watch_any(&target, &wanted).await.unwrap();
    let End::Superseded { by: None, reason } = &outcome.end else { panic!("{outcome:?}") };
    assert_eq!(reason.code, "changed-elsewhere");
    assert_eq!(stack.services(), ["web"], "it is {}'s", foreign.0);
    assert_eq!(notes_of_removals(&stack), "");
}

#[tokio::test]
async fn what_something_else_uses_is_told_instead_of_waited_for() {
    let (registry, stack) = (Registry::start(), Stack::new());
    let image = registry.push("app:1", STAYS_UP).to_string();
    let target = stack.target();
    let web = service("web", &image, "    configs: [page]\n");
    let mut ours = text(compose(&[web], "configs:\n  page: {file: ./page.html}\n"));
    ours.files = values(&[("page.html", "<p>")]);
    assert_eq!(carry_out_text(&target, &deploy_job(&ours)).await.unwrap().end, End::Converged);
    let config = format!("{}_page", stack.name);
    let foreign = Foreign::create(&format!("{}-reader", stack.name), &["--config", &config], &image);

    let (job, wanted) = removal();
    target.read(&job).await.unwrap().apply(&wanted).await.unwrap();
    let outcome = watch_any(&target, &wanted).await.unwrap();
    let End::Failed(reason) = &outcome.end else { panic!("{outcome:?}") };
    assert!(reason.text.contains(&format!("(config {config})")), "{reason:?}");
    assert!(reason.text.contains(&format!("in use by the following service: {}", foreign.0)), "{reason:?}");
    assert!(outcome.output.last().is_some_and(|line| line.contains(&config)), "{outcome:?}");
    assert_eq!(notes_of_removals(&stack), "");
    drop(foreign);
    let again = removal().0;
    assert_eq!(carry_out_text(&target, &again).await.unwrap().end, End::Converged);
    assert_eq!(stack.objects("config"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tasks_still_use_is_not_asked_for_while_they_stop() {
    let (registry, stack, wire) = (Registry::start(), Stack::new(), Wire::lay().await);
    // It does not hear that it is to stop.
    let image = registry.push("app:1", &["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]).to_string();
    let slow =
        compose(&[service("web", &image, "")], "").replace("stop_grace_period: 1s", "stop_grace_period: 8s");
    let ours = text(slow);
    let (target, (job, wanted)) =
        (stack.target_with(&settings(&wire.host), Registries::default()), removal());
    assert_eq!(carry_out_text(&target, &deploy_job(&ours)).await.unwrap().end, End::Converged);
    target.read(&job).await.unwrap().apply(&wanted).await.unwrap();
    let asked = |what: &str| wire.asked(|line| line.contains(what));
    let before = ["/networks?", "/tasks?"].map(asked);
    assert_eq!(watch_any(&target, &wanted).await.unwrap().end, End::Converged);
    let [networks, tasks] = [asked("/networks?") - before[0], asked("/tasks?") - before[1]];
    assert!(networks < tasks, "{networks} lists of networks beside {tasks} of tasks");
}
