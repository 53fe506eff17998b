//! What a rehearsal does.

use super::*;
use crate::testing::job;

fn rehearsal(folder: &Path, ends: RehearsedEnd) -> Rehearsal {
    let takes = Some(Span(Duration::from_millis(20)));
    let settings = RehearsalSettings { takes, ends, ..RehearsalSettings::default() };
    Rehearsal::new(&"demo".parse().unwrap(), settings, folder)
}

async fn apply(target: &Rehearsal, wanted: &Wanted) {
    target.read(&wanted.job).await.unwrap().apply(wanted).await.unwrap();
}

async fn run(target: &Rehearsal, wanted: &Wanted) -> End {
    apply(target, wanted).await;
    target.watch(wanted, &mpsc::channel(100).0).await.unwrap().end
}

fn wanted(n: i64) -> Wanted {
    let job = job(n, "demo:1");
    Wanted { image: job.operation.image().cloned(), job }
}

fn operation(n: i64, operation: Operation) -> Wanted {
    let mut job = job(n, "demo:1");
    job.slots = operation.slots();
    job.operation = operation;
    Wanted { image: None, job }
}

#[tokio::test]
async fn it_takes_its_time_and_ends_as_told() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(&rehearsal(folder.path(), RehearsedEnd::Succeeded), &wanted(1)).await, End::Converged);
    let end = run(&rehearsal(folder.path(), RehearsedEnd::Failed), &wanted(2)).await;
    assert!(matches!(end, End::Failed(_)));
    let end = run(&rehearsal(folder.path(), RehearsedEnd::RolledBack), &wanted(3)).await;
    assert!(matches!(end, End::RolledBack(_)));
}

#[tokio::test]
async fn its_mark_tells_where_a_job_stands() {
    let folder = tempfile::tempdir().unwrap();
    let target = rehearsal(folder.path(), RehearsedEnd::RolledBack);
    let (old, mine, new) = (wanted(1), wanted(2), wanted(3));
    let standing = async |wanted: &Wanted| target.read(&wanted.job).await.unwrap().standing(wanted.job.id);
    assert_eq!(standing(&mine).await, Standing::Open);
    apply(&target, &mine).await;
    assert_eq!(standing(&mine).await, Standing::Applied);
    assert_eq!(standing(&old).await, Standing::Newer(mine.job.id));
    assert_eq!(standing(&new).await, Standing::Open);
    target.watch(&mine, &mpsc::channel(100).0).await.unwrap();
    assert_eq!(standing(&mine).await, Standing::RolledBack);
}

#[tokio::test]
async fn a_write_on_stale_ground_is_a_conflict_unless_it_is_blind() {
    let folder = tempfile::tempdir().unwrap();
    let mut target = rehearsal(folder.path(), RehearsedEnd::Succeeded);
    for blind in [false, true] {
        target.settings.blind = blind;
        let (mine, new) = (wanted(1), wanted(2));
        let stale = target.read(&mine.job).await.unwrap();
        apply(&target, &new).await;
        let written = stale.apply(&mine).await;
        assert_eq!(matches!(written, Err(TargetError::Conflict)), !blind);
    }
}

#[tokio::test]
async fn a_restart_and_an_image_do_not_compete() {
    let folder = tempfile::tempdir().unwrap();
    let target = rehearsal(folder.path(), RehearsedEnd::Succeeded);
    let (image, restart) = (wanted(1), operation(2, Operation::Restart));
    apply(&target, &restart).await;
    let standing = target.read(&image.job).await.unwrap().standing(image.job.id);
    assert_eq!(standing, Standing::Open);
    let (stop, start) = (operation(3, Operation::Stop), operation(4, Operation::Start));
    apply(&target, &start).await;
    let standing = target.read(&stop.job).await.unwrap().standing(stop.job.id);
    assert_eq!(standing, Standing::Newer(start.job.id));
}

#[tokio::test]
async fn who_asks_is_told_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    let target = rehearsal(folder.path(), RehearsedEnd::RolledBack);
    let untouched = target.look().await.unwrap();
    assert_eq!((untouched.images, untouched.running, untouched.last_job), (Vec::new(), true, None));
    let (one, stop) = (wanted(1), operation(2, Operation::Stop));
    apply(&target, &one).await;
    let applied = target.look().await.unwrap();
    let image = one.image.clone().unwrap();
    assert_eq!((applied.images, applied.last_job), (vec![image], Some(one.job.id)));
    target.watch(&one, &mpsc::channel(100).0).await.unwrap();
    assert_eq!(target.look().await.unwrap().images, [], "it was rolled back to nothing");
    apply(&target, &stop).await;
    let stopped = target.look().await.unwrap();
    assert_eq!((stopped.running, stopped.last_job), (false, Some(stop.job.id)));
}

#[tokio::test]
async fn one_that_cannot_be_carried_out_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let target = rehearsal(folder.path(), RehearsedEnd::Dead);
    let mine = wanted(1);
    let refused = target.read(&mine.job).await.unwrap().apply(&mine).await;
    assert!(matches!(refused, Err(TargetError::CredentialsRefused { .. })), "{refused:?}");
    assert_eq!(target.look().await.unwrap().images, []);
}

#[tokio::test]
async fn a_rollback_goes_to_what_ran_before_and_repeated_it_stays_there() {
    let folder = tempfile::tempdir().unwrap();
    let target = rehearsal(folder.path(), RehearsedEnd::Succeeded);
    let rollback = || Operation::Rollback { service: None, job: None, image: None };
    let meant = async |target: &Rehearsal| {
        target.read(&operation(9, rollback()).job).await.unwrap().meant(&rollback())
    };
    assert!(matches!(meant(&target).await, Err(TargetError::Refused { .. })));
    let bring = |n, image: &str| {
        let job = job(n, image);
        Wanted { image: job.operation.image().cloned(), job }
    };
    let (old, new) = (bring(1, "demo:1"), bring(2, "demo:2"));
    run(&target, &old).await;
    run(&target, &new).await;
    for n in [3, 4] {
        let image = meant(&target).await.unwrap();
        assert_eq!(image, old.image);
        run(&target, &Wanted { image, ..operation(n, rollback()) }).await;
        assert_eq!(target.look().await.unwrap().images, [old.image.clone().unwrap()]);
    }
    let redeploy = target.read(&operation(5, Operation::Redeploy).job).await.unwrap();
    assert_eq!(redeploy.meant(&Operation::Redeploy).unwrap(), old.image);
    let prune = Operation::PruneImages { older_than_s: None, labels: Vec::new() };
    assert!(target.accepts(&prune).unwrap_err().contains("no images to remove"));
    let plan = target.plan(&rollback()).await.unwrap();
    assert!(plan.changes.is_empty(), "{plan:?}");
}
