//! What a text would change, told beforehand: refused where the deploy would be, and compared with what Portainer keeps.

use std::time::Duration;

use proto::{
    Given, Named, Operation, PoolName, Reason, StackText, State,
    ask::{Answer, Plan, Question},
};

use crate::{
    fake_portainer::COMPOSE,
    lab::{FILE, Lab},
    stage::{Stage, carried_out, wish},
};

async fn asked(stage: &Stage, text: &StackText) -> Answer {
    let operation = Operation::DeployStack(text.clone());
    let question = Question::Plan { target: "demo".parse().unwrap(), operation };
    let within = Duration::from_secs(60);
    let answer = stage.queue.ask(&PoolName::default(), question.encode().into(), within).await;
    Answer::decode(&answer.expect("nobody answers")).unwrap()
}

async fn planned(stage: &Stage, text: &StackText) -> Plan {
    let answer = asked(stage, text).await;
    let Answer::Plan(plan) = answer else { panic!("{answer:?}") };
    plan
}

async fn refused(stage: &Stage, text: &StackText) -> Reason {
    let answer = asked(stage, text).await;
    let Answer::Failed { reason } = answer else { panic!("{answer:?}") };
    reason
}

/// `of field: from → to`
fn told(plan: &Plan) -> Vec<String> {
    let value =
        |value: &Option<serde_json::Value>| value.as_ref().map_or("-".to_owned(), ToString::to_string);
    let line = |change: &proto::ask::Change| {
        format!("{} {}: {} → {}", change.of, change.field, value(&change.from), value(&change.to))
    };
    plan.changes.iter().map(line).collect()
}

fn adopting(compose: impl Into<String>) -> StackText {
    StackText { adopt: true, ..StackText::of(compose) }
}

async fn until_it_answers(stage: &Stage) {
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    let question = Question::Target { target: "demo".parse().unwrap() };
    loop {
        let within = Duration::from_secs(60);
        let answer = stage.queue.ask(&PoolName::default(), question.encode().into(), within).await;
        if answer.is_ok() {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "nobody answers");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_text_that_would_be_refused_is_refused_in_the_plan() {
    let text = StackText::of(FILE);
    for (prepare, text, why) in [
        ((|_| ()) as fn(&Lab), text.clone(), "was not deployed by Longshore"),
        (|lab| lab.portainer.keep_in_git(lab.stack), adopting(FILE), "is kept in git"),
        (|lab| lab.portainer.make_kubernetes(lab.stack), adopting(FILE), "one of Kubernetes"),
        (
            |lab| lab.portainer.move_to(lab.stack, COMPOSE),
            adopting(FILE),
            "belongs to the environment `office`",
        ),
        (|_| (), adopting("services: [\n"), "the text: "),
    ] {
        let lab = Lab::swarm(FILE);
        prepare(&lab);
        let stage = lab.stage("").await;
        until_it_answers(&stage).await;
        let reason = refused(&stage, &text).await;
        assert!(reason.code == proto::reason::REFUSED && reason.text.contains(why), "{reason:?}");
        let end = carried_out(&stage, &wish(Operation::DeployStack(text))).await;
        assert!(crate::stage::text(&end).contains(why), "the deploy says something else: {end:?}");
        assert_eq!(lab.portainer.puts(), []);
    }
}

#[tokio::test]
async fn a_stopped_stack_is_not_planned_to_start() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    assert_eq!(carried_out(&stage, &wish(Operation::Stop)).await.state(), State::Succeeded);
    let reason = refused(&stage, &adopting(FILE)).await;
    assert!(reason.text.contains("is stopped"), "{reason:?}");
}

#[tokio::test]
async fn what_a_text_says_otherwise_is_told_line_by_line() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    until_it_answers(&stage).await;
    // The same again is no change, and a fourth service, another image, another option each are one.
    assert_eq!(told(&planned(&stage, &adopting(FILE)).await), Vec::<String>::new());
    let more = FILE
        .replace("acme/web:1", "acme/web:${TAG}")
        .replace("FEATURE: \"yes\"", "FEATURE: \"no\", API_TOKEN: t0psecret")
        .replace("  db: {image: 'postgres:16'}\n", "  queue: {image: 'rabbitmq:4'}\n");
    let mut text = adopting(more);
    text.env.insert("TAG".to_owned(), Given::Value("2".to_owned()));
    text.env.insert("COLOR".to_owned(), Given::Value("indigo".to_owned()));
    text.env.insert("PASSWORD".to_owned(), Given::Value("n3wsecret".to_owned()));
    let plan = planned(&stage, &text).await;
    let lines = told(&plan);
    for line in [
        "service web image: \"acme/web:1\" → \"acme/web:2\"",
        "service queue image: - → \"rabbitmq:4\"",
        "stack shop services.web.environment.FEATURE: \"yes\" → \"no\"",
        "stack shop services.web.environment.API_TOKEN: - → \"…\"",
        "stack shop variables.TAG: - → \"2\"",
        "stack shop variables.COLOR: \"…\" → \"…\"",
        "stack shop variables.PASSWORD: \"…\" → \"…\"",
    ] {
        assert!(lines.contains(&line.to_owned()), "no {line}: {lines:#?}");
    }
    assert_eq!(lines.len(), 7, "{lines:#?}");
    assert!(plan.notes.iter().any(|note| note.contains("`db` is not in the text")), "{plan:?}");
    let prunes = planned(&stage, &StackText { prune: true, ..text }).await;
    let gone = "service db image: \"postgres:16\" → -".to_owned();
    assert!(told(&prunes).contains(&gone), "{prunes:?}");
    let all = format!("{plan:?} {prunes:?}");
    for secret in ["t0psecret", "n3wsecret", "sup3rs3cret", "indigo"] {
        assert!(!all.contains(secret), "{secret} is told: {all}");
    }
    assert_eq!(lab.portainer.puts(), [], "a plan changes nothing");
}

#[tokio::test]
async fn a_stack_that_is_yet_to_be_made_comes_whole() {
    let lab = Lab::swarm(FILE);
    let configuration = lab.configuration("").replace("stack: shop", "stack: fresh");
    let stage = Stage::new(&format!("{configuration}secrets: {{pw: {{value: hunter2hunter2}}}}\n")).await;
    until_it_answers(&stage).await;
    let mut text = StackText::of("services: {app: {image: 'acme/app:1'}}\n");
    text.env.insert("PW".to_owned(), Given::Secret(Named { from: "pw".to_owned() }));
    let plan = planned(&stage, &text).await;
    assert_eq!(told(&plan), ["service app image: - → \"acme/app:1\""]);
    assert!(plan.notes.iter().any(|note| note.contains("it is made")), "{plan:?}");
    text.env.insert("PW".to_owned(), Given::Secret(Named { from: "nowhere".to_owned() }));
    let reason = refused(&stage, &text).await;
    assert!(reason.text.contains("no secret `nowhere`"), "{reason:?}");
}
