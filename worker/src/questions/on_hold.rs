//! What the history knows to be on hold, told beside what a target remembers itself: its own notes may have been wiped.

use proto::{
    ImageRef, Operation, PutOnHold,
    ask::{Plan, TargetNow},
};

use crate::target::OnHold;

/// With what is on hold on it though it does not remember that any more.
pub(super) fn added_to(now: TargetNow, known: &OnHold) -> TargetNow {
    let is_told = |noted: &PutOnHold| {
        let mut told = now.held_images.iter();
        let same_part =
            |told: &PutOnHold| told.part.is_none() || noted.part.is_none() || told.part == noted.part;
        told.any(|told| told.image.same_content(&noted.image) && same_part(told))
    };
    let runs = |noted: &PutOnHold| now.images.iter().any(|image| image.same_content(&noted.image));
    let missing = known.images.iter().filter(|noted| !is_told(noted) && !runs(noted));
    let missing: Vec<PutOnHold> = missing.map(without_tag).collect();
    let held_images = now.held_images.into_iter().chain(missing).collect();
    TargetNow { on_hold: now.on_hold.or(known.target), held_images, ..now }
}

/// A plan with a note of each image that would wait instead of being deployed.
pub(super) fn noted_in(plan: Plan, operation: &Operation, known: &OnHold) -> Plan {
    // Who rolls back to an image by name has seen what became of it.
    if matches!(operation, Operation::Rollback { .. }) {
        return plan;
    }
    let mut notes = plan.notes;
    for change in &plan.changes {
        let text = change.to.as_ref().and_then(serde_json::Value::as_str);
        let Some(image) = text.and_then(|text| text.parse::<ImageRef>().ok()) else { continue };
        let is_it = |noted: &&PutOnHold| noted.image.same_content(&image) && is_of(&change.of, noted);
        if !known.images.iter().any(|noted| is_it(&noted)) {
            continue;
        }
        let name = image.familiar();
        // What the target remembers, it tells itself.
        if !notes.iter().any(|note| note.contains(&name)) {
            notes.push(format!(
                "{name} was rolled back here before: the job would be held until somebody releases it"
            ));
        }
    }
    Plan { notes, ..plan }
}

/// Whether what is called `of`, as in `service blog_web`, is the part on which something is on hold.
fn is_of(of: &str, noted: &PutOnHold) -> bool {
    noted.part.as_deref().is_none_or(|part| {
        let name = of.rsplit(' ').next().unwrap_or(of);
        name == part || name.ends_with(&format!("_{part}"))
    })
}

fn without_tag(noted: &PutOnHold) -> PutOnHold {
    let image = ImageRef::new(noted.image.repository().clone(), None, noted.image.digest().cloned());
    PutOnHold { image: image.unwrap_or_else(|_| noted.image.clone()), part: noted.part.clone() }
}

#[cfg(test)]
mod tests {
    use proto::ask::Change;
    use serde_json::json;

    use super::*;

    fn image(n: u8) -> ImageRef {
        format!("r.lan/web:1@sha256:{}", format!("{n:02x}").repeat(32)).parse().unwrap()
    }

    fn known(images: &[(u8, Option<&str>)]) -> OnHold {
        let noted =
            |(n, part): &(u8, Option<&str>)| PutOnHold { image: image(*n), part: part.map(str::to_owned) };
        OnHold { target: None, images: images.iter().map(noted).collect() }
    }

    #[test]
    fn a_look_tells_of_what_the_target_forgot_once() {
        let remembered = PutOnHold {
            image: format!("r.lan/web@{}", image(1).digest().unwrap()).parse().unwrap(),
            part: None,
        };
        let now = TargetNow {
            images: vec![image(3)],
            held_images: vec![remembered.clone()],
            ..TargetNow::default()
        };
        let told = added_to(now, &known(&[(1, None), (2, None), (3, None)]));
        let digests: Vec<_> = told.held_images.iter().map(|held| held.image.digest().cloned()).collect();
        assert_eq!(digests, [image(1).digest().cloned(), image(2).digest().cloned()], "{told:?}");
        assert!(told.held_images.iter().all(|held| held.image.tag().is_none()));
    }

    #[test]
    fn a_plan_tells_that_its_image_would_wait() {
        let plan = || Plan {
            changes: vec![Change {
                of: "service blog_web".to_owned(),
                field: "TaskTemplate.ContainerSpec.Image".to_owned(),
                from: None,
                to: Some(json!(image(1).to_string())),
            }],
            notes: vec!["replaces its one task".to_owned()],
        };
        let operation = Operation::SetImage { image: image(1), service: None };
        let notes = |images: &[(u8, Option<&str>)], operation: &Operation| {
            noted_in(plan(), operation, &known(images)).notes.len() - 1
        };
        assert_eq!(notes(&[(1, None)], &operation), 1);
        assert_eq!(notes(&[(1, Some("web"))], &operation), 1);
        assert_eq!(notes(&[(1, Some("db")), (2, None)], &operation), 0);
        let back = Operation::Rollback { service: None, job: None, image: Some(image(1)) };
        assert_eq!(notes(&[(1, None)], &back), 0);
        let mut told = plan();
        told.notes.push(format!("{} was rolled back here before", image(1).familiar()));
        assert_eq!(noted_in(told.clone(), &operation, &known(&[(1, None)])), told);
    }
}
