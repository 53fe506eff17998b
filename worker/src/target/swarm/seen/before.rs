//! What ran before what stands on a service now, seen through somebody else's door to the engine.

use std::{collections::HashSet, time::Duration};

use bollard::models::{Node, Task};
use proto::{ImageRef, Timestamp};

use super::{SeenService, Sight, list};
use crate::target::swarm::{
    ages::Ages,
    before::{Asked, Told, told_by},
    good::fell_soon,
    lives::{Containers, note_who_never_ran},
    service::same_image,
    tasks::Nodes,
    watch::window,
};

impl SeenService {
    /// The image of the spec before its last write, where that is another, and all that was made of it stayed up.
    pub(in crate::target) async fn ran_before(
        &self,
        sight: &Sight,
        stable: Option<Duration>,
        engine: &dyn Containers,
    ) -> Option<ImageRef> {
        // There is no spec before one that an engine went back to.
        let former = self.0.previous().filter(|_| !self.went_back())?;
        let image = former.image()?;
        if self.image().is_some_and(|stands| same_image(&stands, &image)) {
            return None;
        }
        let current: HashSet<String> =
            list::<Task>(&sight.current).into_iter().filter_map(|task| task.id).collect();
        let mut made = list::<Task>(&sight.all);
        made.retain(|task| task.id.as_ref().is_none_or(|id| !current.contains(id)));
        let asked = Asked::of(&former, stable, Timestamp::now());
        let told = told_by(engine, &made, (former.mode(), &image), asked).await;
        (told == Told::RanWell).then_some(image)
    }

    /// Whether no task of `image` that the engine remembers came down before it had been believed.
    pub(in crate::target) async fn held(
        &self,
        image: &ImageRef,
        sight: &Sight,
        stable: Option<Duration>,
        engine: &dyn Containers,
    ) -> bool {
        let (nodes, ages) = (Nodes::of(list::<Node>(&sight.nodes)), Ages::default());
        let all = list::<Task>(&sight.all);
        let counting = self.counting_of_all(image, &nodes, &ages);
        let mut failing = counting.failing(&all.iter().collect::<Vec<&Task>>());
        let window = window(&self.0, stable);
        note_who_never_ran(engine, &mut failing, window, Timestamp::now()).await;
        !fell_soon(&failing, window)
    }
}
