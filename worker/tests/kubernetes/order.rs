//! Several hands on one workload: newer jobs, people with kubectl, workers that come twice.

use std::time::Duration;

use proto::State;
use serde_json::json;

use crate::{
    lab::Lab,
    stage::{Stage, carried_out, code, text},
};

async fn until_stands(lab: &Lab, tag: &str) {
    let image = lab.image(tag);
    let stands = async {
        while !lab.stands().starts_with(&image) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), stands).await.expect("it is never written");
}

async fn meanwhile(lab: &Lab, change: impl FnOnce(&Lab)) -> proto::Event {
    let stage = lab.stage("").await;
    let job = lab.set("2-bad");
    stage.accept(&job).await;
    until_stands(lab, "2-bad").await;
    change(lab);
    stage.end(&job).await
}

#[tokio::test]
async fn what_others_do_in_a_rollout_is_told_as_what_it_is() {
    let lab = Lab::deployment();
    let end = meanwhile(&lab, |lab| {
        let image = lab.image("7");
        lab.change(|object| object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image));
    })
    .await;
    assert_eq!((end.state(), code(&end)), (State::Superseded, "changed-elsewhere"), "{end:?}");
    assert!(lab.stands().starts_with(&lab.image("7")));

    let lab = Lab::deployment();
    let end = meanwhile(&lab, |lab| lab.cluster().remove("deployments", "web")).await;
    assert_eq!((end.state(), code(&end)), (State::Failed, "changed-elsewhere"), "{end:?}");
    assert!(text(&end).contains("no deployment `web` in the namespace `shop` any more"), "{}", text(&end));

    for plural in ["deployments", "statefulsets"] {
        let lab = Lab::of(plural);
        let end = meanwhile(&lab, |lab| {
            // `kubectl replace --force` of what was read there: with the image, and with our marks.
            let mut object = lab.object();
            lab.cluster().remove(plural, "web");
            for field in ["uid", "resourceVersion", "generation"] {
                object["metadata"][field].take();
            }
            lab.cluster().add(plural, "shop", object);
        })
        .await;
        assert_eq!((end.state(), code(&end)), (State::Failed, "changed-elsewhere"), "{plural}: {end:?}");
        assert!(
            text(&end).contains("deleted the workload during the rollout and made it anew"),
            "{}",
            text(&end)
        );
    }

    let lab = Lab::deployment();
    let end = meanwhile(&lab, |lab| lab.change(|object| object["spec"]["paused"] = json!(true))).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(text(&end).contains("the rollout was paused"), "{}", text(&end));

    let lab = Lab::deployment();
    let mut newer = None;
    let end = meanwhile(&lab, |lab| {
        let id = lab.set("9").id;
        newer = Some(id);
        let image = lab.image("9");
        lab.change(|object| {
            object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
            object["metadata"]["annotations"]["longshore.job/web"] = json!(id.to_string());
        });
    })
    .await;
    assert_eq!((end.state(), end.data.by), (State::Superseded, newer), "{end:?}");
}

/// `kubectl rollout undo` brings the annotations back with the template: the mark is that of the job before.
#[tokio::test]
async fn what_a_person_undid_is_not_written_again() {
    let lab = Lab::deployment();
    let first = lab.set("1");
    let stage = lab.stage("").await;
    assert_eq!(carried_out(&stage, &first).await.state(), State::Succeeded);
    let good = lab.stands();
    let second = lab.set("2-bad");
    stage.accept(&second).await;
    until_stands(&lab, "2-bad").await;
    // Its controller has to have seen it, as it has to have for anybody who undoes it.
    let seen = async {
        while lab.object()["status"]["updatedReplicas"] != 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), seen).await.expect("it never rolls");
    lab.cluster().undo("web");
    assert_eq!(lab.annotation("longshore.job/web"), Some(first.id.to_string()));
    let end = stage.end(&second).await;
    assert_eq!((end.state(), code(&end)), (State::Superseded, "changed-elsewhere"), "{end:?}");
    // A worker that knows nothing of that end finds the traces of it.
    let again = Stage::new(&lab.configuration("")).await;
    let end = carried_out(&again, &second).await;
    assert_eq!((end.state(), code(&end)), (State::Superseded, "changed-elsewhere"), "{end:?}");
    assert_eq!((lab.stands(), lab.writes_of("2-bad")), (good, 1));
}
