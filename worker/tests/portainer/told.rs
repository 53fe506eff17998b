//! What people are told of a stack and of what goes on with it.

use std::{collections::BTreeMap, time::Duration};

use proto::{Event, Job, Operation, StackText, State};

use crate::{
    contract::look,
    lab::{FILE, Lab, set},
    stage::{Stage, carried_out, wish},
};

const PATIENCE: Duration = Duration::from_secs(120);

/// Lets a job be carried out, and gives its end with what was told of it on the way, each with whether it tells of tasks.
async fn heard(stage: &Stage, job: &Job, on_line: impl Fn(&str)) -> (Event, Vec<(bool, String)>) {
    let mut live = stage.queue.live().await.unwrap();
    stage.accept(job).await;
    let mut told = Vec::new();
    let ended = stage.until_within(PATIENCE, job, |events| events.iter().any(|it| it.state().is_end()));
    tokio::pin!(ended);
    loop {
        tokio::select! {
            event = live.next() => {
                let data = event.unwrap().data;
                data.output.iter().for_each(|line| on_line(line));
                told.extend(data.output.into_iter().map(|line| (data.tasks.is_some(), line)));
            }
            events = &mut ended => {
                return (events.into_iter().find(|event| event.state().is_end()).unwrap(), told);
            }
        }
    }
}

/// A deploy makes some thirty calls, and nothing is to be seen of a rollout before a good part of them was answered.
#[tokio::test]
async fn that_portainer_takes_its_time_for_each_answer_is_told_once() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    lab.portainer.answer_slowly(Duration::from_millis(2_100));
    let (end, told) = heard(&stage, &set("acme/web:2"), |line| {
        if line.contains("for an answer") && !lab.portainer.puts().is_empty() {
            panic!("it is told when the waiting is over: {line}");
        }
    })
    .await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    let slow: Vec<_> = told.iter().filter(|(_, line)| line.contains("for an answer")).collect();
    let line = "docks takes 2 s for an answer, and a deploy asks it for many".to_owned();
    assert_eq!(slow, [&(false, line)], "{told:?}");
}

#[tokio::test]
async fn each_service_of_a_stack_is_told_of_by_its_name() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    let newer = FILE.replace("acme/web:1", "acme/web:2").replace("postgres:16", "postgres:17");
    let job = wish(Operation::DeployStack(StackText { adopt: true, ..StackText::of(newer) }));
    let (end, told) = heard(&stage, &job, |_| {}).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    let lines: Vec<&str> = told.iter().filter(|(tells, _)| *tells).map(|(_, line)| line.as_str()).collect();
    for service in ["web: ", "db: "] {
        assert!(lines.iter().any(|line| line.starts_with(service)), "{service}{lines:?}");
    }
    assert!(lines.iter().all(|line| line.starts_with("web: ") || line.starts_with("db: ")), "{lines:?}");
}

#[tokio::test]
async fn each_image_is_told_with_its_service() {
    for lab in [Lab::swarm(FILE), Lab::compose(FILE)] {
        let stage = lab.stage("").await;
        assert_eq!(carried_out(&stage, &set("acme/web:2")).await.state(), State::Succeeded);
        let now = look(&stage).await;
        let told: BTreeMap<&str, String> =
            now.parts.iter().map(|(part, image)| (part.as_str(), image.familiar())).collect();
        let familiar = |of: &str| told.get(of).map(|image| image.split('@').next().unwrap().to_owned());
        assert_eq!(familiar("web").as_deref(), Some("acme/web:2"), "{told:?}");
        assert_eq!(familiar("db").as_deref(), Some("postgres:16"), "{told:?}");
        assert_eq!(told.len(), now.images.len());
    }
}
