//! Bad input and bad answers: each its own clear end, and nothing written.

use proto::{Event, Operation, StackText, State};

use crate::{
    fake_portainer::{COMPOSE, Mishap},
    lab::{FILE, Lab, set},
    stage::{Stage, carried_out, text, wish},
};

/// What Longshore itself refuses.
async fn refused(lab: &Lab, image: &str) -> Event {
    ended(lab, image, State::Rejected).await
}

async fn ended(lab: &Lab, image: &str, state: State) -> Event {
    let stage = lab.stage("").await;
    let end = carried_out(&stage, &set(image)).await;
    assert_eq!(end.state(), state, "{end:?}");
    assert_eq!(lab.portainer.puts(), []);
    end
}

#[tokio::test]
async fn a_stack_that_is_kept_in_git_is_not_cut_off_from_there() {
    let lab = Lab::swarm(FILE);
    lab.portainer.keep_in_git(lab.stack);
    let end = refused(&lab, "acme/web:2").await;
    assert!(text(&end).contains("is kept in git, and writing it would cut the stack off"), "{}", text(&end));
    // What it is for: what is there now, with its settings and credentials.
    let stage = lab.stage("").await;
    let end = carried_out(&stage, &wish(Operation::Redeploy)).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert_eq!(lab.portainer.env(lab.stack), crate::lab::env());
}

#[tokio::test]
async fn a_stack_of_another_environment_or_none_is_refused() {
    let lab = Lab::swarm(FILE);
    lab.portainer.move_to(lab.stack, COMPOSE);
    let end = refused(&lab, "acme/web:2").await;
    assert!(
        text(&end).contains("the stack `shop` belongs to the environment `office`, not to `production`"),
        "{}",
        text(&end)
    );
    lab.portainer.move_to(lab.stack, 77);
    let end = refused(&lab, "acme/web:2").await;
    assert!(text(&end).contains("an environment that is not there any more (number 77)"), "{}", text(&end));
}

#[tokio::test]
async fn names_that_lead_nowhere_are_told() {
    let lab = Lab::swarm(FILE);
    for (access, stack, state, why) in [
        (
            "environment: produktion",
            "shop",
            State::Failed,
            "environment `produktion`; there is `production`, `office`, `cluster`",
        ),
        ("environment: cluster", "shop", State::Rejected, "`cluster` has no Docker engine"),
        ("at_once: 1", "shop", State::Rejected, "name one as `environment` of the system"),
        (
            "environment: production",
            "shopp",
            State::Failed,
            "no stack `shopp` in the environment `production`",
        ),
        ("environment: 1", "77", State::Failed, "no stack `77` in the environment `production`"),
    ] {
        let access = format!("api_key: {}, {access}", crate::fake_portainer::API_KEY);
        let configuration = lab.configured(&access, "").replace("stack: shop", &format!("stack: {stack}"));
        let stage = Stage::new(&configuration).await;
        let end = carried_out(&stage, &set("acme/web:2")).await;
        assert_eq!(end.state(), state, "{end:?}");
        assert!(text(&end).contains(why), "{}", text(&end));
    }
    assert_eq!(lab.portainer.puts(), []);
}

#[tokio::test]
async fn by_number_they_are_found_too() {
    let lab = Lab::swarm(FILE);
    let access = format!("api_key: {}, environment: 1", crate::fake_portainer::API_KEY);
    let configuration =
        lab.configured(&access, "").replace("stack: shop", &format!("stack: '{}'", lab.stack));
    let stage = Stage::new(&configuration).await;
    assert_eq!(carried_out(&stage, &set("acme/web:2")).await.state(), State::Succeeded);
}

/// Portainer makes small letters of a name, and leaves out what else it does not like.
#[tokio::test]
async fn a_name_is_found_as_portainer_made_it() {
    let lab = Lab::swarm(FILE);
    let configuration = lab.configuration("").replace("stack: shop", "stack: 'S.Hop'");
    let stage = Stage::new(&configuration).await;
    assert_eq!(carried_out(&stage, &set("acme/web:2")).await.state(), State::Succeeded);
}

#[tokio::test]
async fn what_cannot_be_edited_without_changing_more_is_refused_with_the_reason() {
    for (file, why) in [
        (
            "services:\n  web: {image: 'acme/web:v${COLOR}'}\n",
            "only a variable that is the whole tag can be set",
        ),
        (
            "services:\n  web: {image: 'acme/web:${COLOR}'}\n  api: {image: 'acme/api:${COLOR}'}\n",
            "the variable `COLOR` also decides the image of `api`",
        ),
        ("x-i: &i {image: 'acme/web:1'}\nservices:\n  web: {<<: *i}\n", ""),
        ("services:\n  api: {image: 'acme/api:1'}\n", "that runs `acme/web`; it has `api` (acme/api:1)"),
    ] {
        let lab = Lab::swarm(file);
        if why.is_empty() {
            let stage = lab.stage("").await;
            assert_eq!(carried_out(&stage, &set("acme/web:2")).await.state(), State::Succeeded);
            continue;
        }
        let is_missing = why.starts_with("that runs");
        let state = if is_missing { State::Failed } else { State::Rejected };
        let end = ended(&lab, "acme/web:2", state).await;
        assert!(text(&end).contains(why), "{}", text(&end));
        let says_who = if is_missing {
            "docks has no service"
        } else {
            "Longshore refuses to update the stack on docks"
        };
        assert!(text(&end).starts_with(says_who), "{}", text(&end));
    }
    let lab = Lab::swarm(FILE);
    lab.portainer.put_file(lab.stack, "services:\n  web: {image: [\n");
    let end = refused(&lab, "acme/web:2").await;
    assert!(
        text(&end).contains("cannot be edited") && text(&end).contains("not valid YAML"),
        "{}",
        text(&end)
    );
}

#[tokio::test]
async fn a_page_instead_of_json_is_a_wrong_address() {
    for part in ["GET /api/endpoints", "GET /api/stacks", "/file"] {
        let lab = Lab::swarm(FILE);
        lab.portainer.befall_next(part, Mishap::Instead(200, "<!DOCTYPE html><html>welcome</html>"));
        let end = ended(&lab, "acme/web:2", State::Failed).await;
        assert!(text(&end).contains("a web page came back instead of an answer"), "{part}: {}", text(&end));
    }
}

#[tokio::test]
async fn a_stack_of_kubernetes_is_none_of_docker() {
    let lab = Lab::swarm(FILE);
    lab.portainer.make_kubernetes(lab.stack);
    let stage = lab.stage("").await;
    let text = StackText { adopt: true, ..StackText::of(FILE) };
    for operation in [Operation::DeployStack(text), Operation::Redeploy, set("acme/web:2").operation] {
        let end = carried_out(&stage, &wish(operation)).await;
        assert_eq!(end.state(), State::Rejected, "{end:?}");
        assert!(crate::stage::text(&end).contains("one of Kubernetes"), "{}", crate::stage::text(&end));
    }
    assert_eq!(lab.portainer.puts(), []);
}

/// Who follows loses the body of a write, and tells the credentials to somebody else.
#[tokio::test]
async fn nobody_is_followed_elsewhere() {
    for part in ["GET /api/endpoints", "GET /api/stacks", "/file", "PUT /api/stacks/"] {
        let lab = Lab::swarm(FILE);
        lab.portainer.befall_next(part, Mishap::Instead(307, ""));
        let end = ended(&lab, "acme/web:2", State::Failed).await;
        assert!(text(&end).contains("it sends us elsewhere; give the address"), "{part}: {}", text(&end));
        assert!(!lab.portainer.requests().iter().any(|line| line.ends_with("/api/status")), "{part}");
    }
}

/// What is not listed need not be gone: only an administrator sees every stack.
#[tokio::test]
async fn a_stack_that_is_not_to_be_seen_is_neither_called_gone_nor_made_again() {
    let lab = Lab::swarm(FILE);
    lab.portainer.hide(&[lab.stack]);
    let stage = lab.stage("").await;
    for (operation, state, why) in [
        (
            Operation::RemoveStack { force: true },
            State::Rejected,
            "no stack `shop` is to be seen by the user `worker`, who is no administrator",
        ),
        (
            Operation::DeployStack(StackText::of(FILE)),
            State::Failed,
            "none of that name is to be seen with these credentials",
        ),
        (
            Operation::Restart,
            State::Failed,
            "no stack `shop` in the environment `production` that these credentials may see",
        ),
    ] {
        let end = carried_out(&stage, &wish(operation)).await;
        assert_eq!(end.state(), state, "{end:?}");
        assert!(text(&end).contains(why), "{}", text(&end));
    }
    assert!(lab.portainer.has_stack("shop") && lab.image("web").starts_with("acme/web:1"));
    // Of one that is given to it, it may say so.
    lab.portainer.hide(&[]);
    let end = carried_out(&stage, &wish(Operation::RemoveStack { force: true })).await;
    assert_eq!((end.state(), lab.portainer.has_stack("shop")), (State::Succeeded, false), "{end:?}");
}

/// Whoever removed it knows its number, and Portainer tells everybody that nobody has that.
#[tokio::test]
async fn a_stack_whose_removal_nobody_answered_is_seen_to_be_gone() {
    let removed = async |mishaps: &[(usize, Mishap)]| {
        let lab = Lab::swarm(FILE);
        lab.portainer.hide(&[]);
        let stage = lab.stage("").await;
        mishaps.iter().for_each(|(at, mishap)| lab.portainer.befall_nth(*at, mishap.clone()));
        let job = wish(Operation::RemoveStack { force: true });
        let end = carried_out(&stage, &job).await;
        (lab, stage, job, end)
    };
    let (lab, ..) = removed(&[]).await;
    let deleted = lab.portainer.requests().iter().position(|line| line.starts_with("DELETE"));
    // The answer is lost, and Portainer is away when it is asked what became of it.
    let at = deleted.unwrap() + 1;
    let away = Mishap::Instead(503, "");
    let (lab, stage, job, end) = removed(&[(at, Mishap::CutAfter), (at + 1, away)]).await;
    assert_eq!((end.state(), lab.portainer.has_stack("shop")), (State::Succeeded, false), "{end:?}");
    assert!(stage.states(&job).contains(&State::Retrying), "{:?}", stage.states(&job));
    // Another job knows nothing of it.
    let end = carried_out(&stage, &wish(Operation::RemoveStack { force: true })).await;
    assert_eq!(end.state(), State::Rejected, "{end:?}");
    assert!(text(&end).contains("who is no administrator"), "{}", text(&end));
}

#[tokio::test]
async fn a_stopped_stack_is_not_started_by_the_way() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    assert_eq!(carried_out(&stage, &wish(Operation::Stop)).await.state(), State::Succeeded);
    let end = carried_out(&stage, &set("acme/web:2")).await;
    assert_eq!(end.state(), State::Rejected, "{end:?}");
    assert!(text(&end).contains("is stopped, and writing it would start it"), "{}", text(&end));
    assert_eq!(lab.portainer.puts(), []);
}

#[tokio::test]
async fn what_the_docker_command_refuses_is_told_without_secrets() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    let words = r#"{"message":"invalid interpolation format: sup3rs3cret","details":""}"#;
    lab.portainer.befall_next("PUT /api/stacks/", Mishap::Instead(500, words));
    let end = carried_out(&stage, &set("acme/web:2")).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("invalid interpolation format: …"), "{}", text(&end));
    assert!(!format!("{end:?}").contains("sup3rs3cret"), "{end:?}");
}

#[tokio::test]
async fn a_text_of_somebody_elses_is_taken_over_only_where_that_is_said() {
    let lab = Lab::swarm(FILE);
    let stage = lab.stage("").await;
    let text_of =
        |adopt| Operation::DeployStack(StackText { adopt, ..StackText::of(FILE.replace(":16", ":17")) });
    let end = carried_out(&stage, &wish(text_of(false))).await;
    assert_eq!(end.state(), State::Rejected, "{end:?}");
    assert!(text(&end).contains("take it over with `--adopt`"), "{}", text(&end));
    let end = carried_out(&stage, &wish(Operation::RemoveStack { force: false })).await;
    assert!(text(&end).contains("was not deployed by Longshore"), "{}", text(&end));
    assert!(lab.portainer.has_stack("shop"));
    let end = carried_out(&stage, &wish(text_of(true))).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert!(lab.image("db").starts_with("postgres:17"), "{}", lab.image("db"));
}

/// A whole new text is the way to mend one that cannot be read, and nothing of the old one is needed for it.
#[tokio::test]
async fn a_text_takes_the_place_of_a_file_that_is_broken() {
    let lab = Lab::swarm(FILE);
    lab.portainer.put_file(lab.stack, "services:\n  web: {image: [\n");
    let stage = lab.stage("").await;
    let text_of = |adopt| Operation::DeployStack(StackText { adopt, ..StackText::of(FILE) });
    let end = carried_out(&stage, &wish(text_of(false))).await;
    assert_eq!((end.state(), lab.portainer.puts().len()), (State::Rejected, 0), "{end:?}");
    let end = carried_out(&stage, &wish(text_of(true))).await;
    assert_eq!(end.state(), State::Succeeded, "{end:?}");
    assert_eq!(lab.bare_file(), FILE);
}

#[tokio::test]
async fn an_anchor_is_called_one_and_what_cannot_be_told_is_named() {
    let lab = Lab::swarm("x-i: &i acme/web:1\nservices:\n  web: {image: *i}\n  api: {image: *i}\n");
    let end = refused(&lab, "acme/web:2").await;
    assert!(text(&end).contains("is the image at the anchor `&i` (line 1)"), "{}", text(&end));
    let lab =
        Lab::swarm("services:\n  web: {image: 'acme/web:${A:-${B:-1}}'}\n  db: {image: 'postgres:16'}\n");
    let end = ended(&lab, "acme/web:2", State::Failed).await;
    assert!(text(&end).contains("what image the file means for `web` cannot be told"), "{}", text(&end));
    let hint = end.data.reason.as_ref().and_then(|reason| reason.hint.clone()).unwrap();
    assert!(hint.contains("name one of those that are there"), "{hint}");
}
