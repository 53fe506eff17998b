//! Newest wins, by whichever way the workload is reached.

use proto::State;

use crate::{
    fake_rancher::Proxy,
    lab::{Lab, set},
    stage::carried_out,
};

#[tokio::test]
async fn an_older_job_never_lands_over_a_newer_one() {
    for closed in [Proxy::Open, Proxy::Forbidden] {
        let lab = Lab::new();
        lab.rancher.close_proxy(closed);
        let (older, newer) = (set("2"), set("3"));
        let stage = lab.stage().await;
        assert_eq!(carried_out(&stage, &newer).await.state(), State::Succeeded);
        // Also for a worker that knows of nothing but what stands on the workload.
        for stage in [stage, lab.stage().await] {
            let end = carried_out(&stage, &older).await;
            assert_eq!(
                (end.state(), end.data.by),
                (State::Superseded, Some(newer.id)),
                "{closed:?}: {end:?}"
            );
        }
        assert_eq!((lab.image().as_str(), lab.writes_of("2")), ("registry.lan/acme/web:3", 0));
    }
}

#[tokio::test]
async fn the_same_job_again_writes_nothing_again() {
    let lab = Lab::new();
    let job = set("2");
    let stage = lab.stage().await;
    assert_eq!(carried_out(&stage, &job).await.state(), State::Succeeded);
    let writes = lab.cluster().writes().len();
    let fresh = lab.stage().await;
    assert_eq!(carried_out(&fresh, &job).await.state(), State::Succeeded);
    assert_eq!(lab.cluster().writes().len(), writes);
}
