//! Removing images that nothing uses.

use std::time::{Duration, Instant};

use proto::Operation;
use worker::target::{End, Target};

use crate::{
    carry_out::{carry_out, job_to},
    lab::{PATIENCE, STAYS_UP, Service, docker},
    registry::Registry,
};

fn images_named(reference: &str) -> String {
    docker(&["image", "ls", "--quiet", reference]).trim().to_owned()
}

#[tokio::test]
async fn unused_images_go_by_label_and_age_and_it_is_told_what_was_freed() {
    let registry = Registry::start();
    let used = registry.push("web:1", STAYS_UP);
    let unused = registry.push("web:2", &["sleep", "2000000"]);
    let service = Service::create(&used.to_string(), |_| ()).await;
    let target = service.target();
    // Only images of this test: others run beside it.
    let prune = |older_than_s, reference: &str| {
        let labels = vec![format!("test.image={reference}")];
        job_to(Operation::PruneImages { older_than_s, labels })
    };

    let outcome = carry_out(&target, &prune(Some(3600), &unused.to_string())).await.unwrap();
    assert!(outcome.output[0].starts_with("nothing to remove on the node "), "{outcome:?}");
    assert_ne!(images_named(&unused.to_string()), "", "it is too young");

    let older = registry.push("web:3", &["sleep", "3000000"]);
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Some seconds from now it is old enough.
        let outcome = carry_out(&target, &prune(Some(3), &older.to_string())).await.unwrap();
        if outcome.output.contains(&format!("removed {older}")) {
            break;
        }
        assert!(Instant::now() < deadline, "it never gets old: {outcome:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(images_named(&older.to_string()), "");

    let outcome = carry_out(&target, &prune(None, &unused.to_string())).await.unwrap();
    assert_eq!(outcome.end, End::Converged);
    let told = &outcome.output[0];
    assert!(told.starts_with("removed ") && told.contains(", freed "), "{told}");
    assert!(told.contains(&format!(" on the node {}", docker(&["info", "--format", "{{.Name}}"]).trim())));
    assert!(outcome.output.contains(&format!("removed {unused}")), "{outcome:?}");
    assert_eq!(images_named(&unused.to_string()), "");

    let outcome = carry_out(&target, &prune(None, &used.to_string())).await.unwrap();
    assert!(outcome.output[0].starts_with("nothing to remove"), "{outcome:?}");
    assert_ne!(images_named(&used.to_string()), "", "a service runs it");
    assert!(target.look().await.unwrap().last_job.is_none());
}
