//! The sentences for targets that are stacks, which texts make, change and remove. Each begins where there is no stack of
//! that name yet.

use std::future::Future;

use proto::{Job, Operation, StackText, State};

use super::{Berth, Kind, all_succeed, assert_stands, look};
use crate::stage::{Stage, carried_out, text, wish};

const ONE: Kind = Kind::Good(1);
const TWO: Kind = Kind::Good(2);

/// A stack that a worker makes, alone for one test.
pub(crate) trait TextBerth: Berth {
    /// A stack whose service `web` runs the image.
    fn text(&self, kind: Kind) -> StackText;

    /// Somebody makes a stack of that name without Longshore.
    fn somebody_deploys(&self, kind: Kind) -> impl Future<Output = ()>;

    /// What there is of the stack, services and whatever else goes with them, as its system itself tells it.
    fn left(&self) -> Vec<String>;

    /// Makes something of the stack stay whoever removes it: what the end names then.
    fn hold_back(&self) -> impl Future<Output = String>;

    /// Does away with what held it back.
    fn let_go(&self);
}

/// As [`super::keeps_the_contract`], for stacks.
macro_rules! keeps_the_contract_of_texts {
    ($berth:expr) => {
        $crate::contract::texts::keeps_the_contract_of_texts! { $berth;
            a_text_makes_the_stack_and_the_next_one_changes_it,
            the_same_text_delivered_again_writes_nothing,
            an_older_text_after_a_newer_one_writes_nothing,
            anothers_stack_is_changed_only_where_that_is_said,
            a_text_that_never_comes_up_is_no_success,
            where_the_target_says_so_the_former_text_stands_again,
            what_is_removed_leaves_nothing,
            anothers_stack_is_removed_only_where_that_is_said,
            what_stays_is_not_called_removed,
        }
    };
    ($berth:expr; $($sentence:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $sentence() {
                $crate::contract::texts::$sentence(&$berth.await).await;
            }
        )+
    };
}
pub(crate) use keeps_the_contract_of_texts;

async fn stage(berth: &impl TextBerth) -> Stage {
    Stage::new(&berth.configuration("")).await
}

fn deploy(berth: &impl TextBerth, kind: Kind) -> Job {
    wish(Operation::DeployStack(berth.text(kind)))
}

fn adopt(berth: &impl TextBerth, kind: Kind) -> Job {
    wish(Operation::DeployStack(StackText { adopt: true, ..berth.text(kind) }))
}

fn remove(force: bool) -> Job {
    wish(Operation::RemoveStack { force })
}

pub(crate) async fn a_text_makes_the_stack_and_the_next_one_changes_it(berth: &impl TextBerth) {
    let stage = stage(berth).await;
    assert_eq!(berth.left(), Vec::<String>::new());
    for kind in [ONE, TWO] {
        all_succeed(&stage, [deploy(berth, kind)]).await;
        assert_stands(berth, &stage, kind).await;
    }
    let now = look(&stage).await;
    assert!(now.running && now.tasks.is_none_or(|tasks| tasks.running == tasks.wanted), "{now:?}");
}

pub(crate) async fn the_same_text_delivered_again_writes_nothing(berth: &impl TextBerth) {
    let job = deploy(berth, ONE);
    all_succeed(&stage(berth).await, [job.clone()]).await;
    let writes = berth.writes();
    assert!(writes > 0, "nothing was counted");
    // Its history tells nothing.
    all_succeed(&stage(berth).await, [job]).await;
    assert_eq!(berth.writes(), writes);
}

pub(crate) async fn an_older_text_after_a_newer_one_writes_nothing(berth: &impl TextBerth) {
    let (older, newer) = (deploy(berth, ONE), deploy(berth, TWO));
    let first = stage(berth).await;
    all_succeed(&first, [newer.clone()]).await;
    let writes = berth.writes();
    for stage in [first, stage(berth).await] {
        let end = carried_out(&stage, &older).await;
        assert_eq!((end.state(), end.data.by), (State::Superseded, Some(newer.id)), "{end:?}");
        assert_stands(berth, &stage, TWO).await;
    }
    assert_eq!(berth.writes(), writes);
}

pub(crate) async fn anothers_stack_is_changed_only_where_that_is_said(berth: &impl TextBerth) {
    berth.somebody_deploys(ONE).await;
    let (stage, writes) = (stage(berth).await, berth.writes());
    let end = carried_out(&stage, &deploy(berth, TWO)).await;
    assert!(matches!(end.state(), State::Failed | State::Rejected), "{end:?}");
    assert!(text(&end).contains("adopt"), "{}", text(&end));
    assert_stands(berth, &stage, ONE).await;
    assert_eq!(berth.writes(), writes);
    all_succeed(&stage, [adopt(berth, TWO)]).await;
    assert_stands(berth, &stage, TWO).await;
    // From then on it is ours.
    all_succeed(&stage, [deploy(berth, ONE)]).await;
    assert_stands(berth, &stage, ONE).await;
}

pub(crate) async fn a_text_that_never_comes_up_is_no_success(berth: &impl TextBerth) {
    let stage = stage(berth).await;
    all_succeed(&stage, [deploy(berth, ONE)]).await;
    let end = carried_out(&stage, &deploy(berth, Kind::Broken)).await;
    assert_eq!(end.state(), State::Failed, "{end:?}");
    assert!(!text(&end).is_empty(), "{end:?}");
    // And it is in nobody's way.
    all_succeed(&stage, [deploy(berth, TWO)]).await;
    assert_stands(berth, &stage, TWO).await;
}

pub(crate) async fn where_the_target_says_so_the_former_text_stands_again(berth: &impl TextBerth) {
    let stage = Stage::new(&berth.configuration(", rollback: true")).await;
    all_succeed(&stage, [deploy(berth, ONE)]).await;
    let failing = deploy(berth, Kind::Broken);
    let end = carried_out(&stage, &failing).await;
    assert_eq!(end.state(), State::RolledBack, "{end:?}");
    assert_stands(berth, &stage, ONE).await;
    all_succeed(&stage, [deploy(berth, TWO)]).await;
    assert_stands(berth, &stage, TWO).await;
}

pub(crate) async fn what_is_removed_leaves_nothing(berth: &impl TextBerth) {
    let stage = stage(berth).await;
    all_succeed(&stage, [deploy(berth, ONE)]).await;
    assert_ne!(berth.left(), Vec::<String>::new());
    all_succeed(&stage, [remove(false)]).await;
    assert_eq!(berth.left(), Vec::<String>::new());
    // What is gone is as it was wished, and is made again by the next text.
    all_succeed(&stage, [remove(false), deploy(berth, TWO)]).await;
    assert_stands(berth, &stage, TWO).await;
}

pub(crate) async fn anothers_stack_is_removed_only_where_that_is_said(berth: &impl TextBerth) {
    berth.somebody_deploys(ONE).await;
    let (stage, writes) = (stage(berth).await, berth.writes());
    let end = carried_out(&stage, &remove(false)).await;
    assert!(matches!(end.state(), State::Failed | State::Rejected), "{end:?}");
    assert!(text(&end).contains("force"), "{}", text(&end));
    assert_stands(berth, &stage, ONE).await;
    assert_eq!(berth.writes(), writes);
    all_succeed(&stage, [remove(true)]).await;
    assert_eq!(berth.left(), Vec::<String>::new());
}

pub(crate) async fn what_stays_is_not_called_removed(berth: &impl TextBerth) {
    let stage = stage(berth).await;
    all_succeed(&stage, [deploy(berth, ONE)]).await;
    let held_back = berth.hold_back().await;
    let end = carried_out(&stage, &remove(false)).await;
    assert!(matches!(end.state(), State::Failed | State::Rejected), "{end:?}");
    assert!(text(&end).contains(&held_back), "{held_back}: {}", text(&end));
    assert_ne!(berth.left(), Vec::<String>::new());
    berth.let_go();
    all_succeed(&stage, [remove(true)]).await;
    assert_eq!(berth.left(), Vec::<String>::new());
}
