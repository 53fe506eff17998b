//! The texts of a stack, kept on its swarm: as config objects that no service uses, so that whoever comes later finds
//! them where they are true. They hold what the job held: secrets by name.

use base64::{Engine, engine::general_purpose::STANDARD};
use proto::{
    JobId, StackText, Timestamp,
    ask::{Deployed, Former},
};
use serde_json::{Value, json};

use super::super::{
    Swarm, fence,
    lifecycle::{Concern, STACK},
    service::Service,
};
use crate::target::TargetError;

/// The one that is deployed, and the one before.
const MOST_KEPT: usize = 2;

/// A text that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    id: String,
    pub(super) by: JobId,
    /// When it was kept, by the engine's clock.
    pub(super) at: Option<Timestamp>,
    /// None where it makes no sense to this version.
    text: Option<StackText>,
}

impl Swarm {
    /// The texts kept of a stack, the newest first.
    pub(super) async fn kept(&self, stack: &str) -> Result<Vec<Kept>, TargetError> {
        let objects = self.client.labelled("configs", &format!("{STACK}={stack}")).await?;
        let mut kept: Vec<Kept> = objects.iter().filter_map(Kept::read).collect();
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.by));
        Ok(kept)
    }

    /// Keeps a text beside those that were kept before: it may have to be let go of, and then these are the last ones.
    /// Done again, nothing changes.
    pub(super) async fn keep(&self, stack: &str, by: JobId, text: &StackText) -> Result<(), TargetError> {
        let mut kept = self.kept(stack).await?;
        if !kept.iter().any(|kept| kept.by == by) {
            self.client.create_config(&object(stack, by, text)).await?;
            kept = self.kept(stack).await?;
        }
        for old in kept.iter().skip(MOST_KEPT + 1) {
            self.client.remove_config(&old.id).await?;
        }
        Ok(())
    }

    /// Lets go of all but the last ones.
    pub(super) async fn let_go_of_old(&self, stack: &str) -> Result<(), TargetError> {
        for old in self.kept(stack).await?.into_iter().skip(MOST_KEPT) {
            self.client.remove_config(&old.id).await?;
        }
        Ok(())
    }

    /// Lets go of all texts of a stack.
    pub(super) async fn forget(&self, stack: &str) -> Result<(), TargetError> {
        for kept in self.kept(stack).await? {
            self.client.remove_config(&kept.id).await?;
        }
        Ok(())
    }

    /// Lets go of one of them.
    pub(super) async fn let_go_of(&self, stack: &str, by: JobId) -> Result<(), TargetError> {
        for kept in self.kept(stack).await?.into_iter().filter(|kept| kept.by == by) {
            self.client.remove_config(&kept.id).await?;
        }
        Ok(())
    }
}

/// The text that a stack runs as, as far as its services tell, the newest of `kept` first. `short`: how the stack
/// calls one.
pub(super) fn deployed<'a>(
    kept: Vec<Kept>,
    services: &'a [Service],
    short: impl Fn(&'a str) -> &'a str,
) -> Option<Deployed> {
    let of = |by: JobId| services.iter().filter(move |service| Concern::Stack.mark(service) == Some(by));
    let is_back = |service: &&Service| service.fence.back == Concern::Stack.mark(service);
    // What a text changed nothing of has nothing to go back to.
    let is_over = |service: &Service| is_back(&service) || service.was_relabelled();
    let all_back = |by: JobId| of(by).any(|service| is_back(&service)) && of(by).all(is_over);
    let has_another = kept.len() > 1;
    let mut texts = kept.into_iter().filter(|kept| !(has_another && all_back(kept.by)));
    let Kept { by, text, .. } = texts.next()?;
    let note = |service: &'a Service| {
        let (name, mark) = (short(service.name()), Concern::Stack.mark(service)?);
        let back = is_back(&service);
        match (mark == by, mark > by) {
            (true, _) if back => Some(format!("{name}: went back to what it was before this text")),
            (false, true) if back => Some(format!("{name}: the newer text of the job {mark} was taken back")),
            (false, true) if service.was_relabelled() => None,
            (false, true) => Some(format!(
                "{name}: stands as the text of the job {mark} has it, which was written in part"
            )),
            (true | false, _) => None,
        }
    };
    let former = |Kept { by, text, .. }| Some(Former { by, text: text? });
    let before = texts.find(|kept| kept.by < by).and_then(former);
    Some(Deployed { by, text: text?, notes: services.iter().filter_map(note).collect(), before })
}

/// Names are bounded, those of stacks nearly as much: the labels tell what it is of.
fn object(stack: &str, by: JobId, text: &StackText) -> Value {
    // Infallible: string keys only.
    let data = serde_json::to_vec(text).unwrap_or_default();
    json!({
        "Name": format!("longshore-{by}"),
        "Labels": {STACK: stack, fence::JOB: by.to_string()},
        "Data": STANDARD.encode(data),
    })
}

impl Kept {
    fn read(object: &Value) -> Option<Kept> {
        let spec = &object["Spec"];
        let data = STANDARD.decode(spec["Data"].as_str().unwrap_or_default()).ok();
        Some(Kept {
            id: object["ID"].as_str()?.to_owned(),
            by: spec["Labels"][fence::JOB].as_str()?.parse().ok()?,
            at: object["CreatedAt"].as_str().and_then(|at| at.parse().ok()),
            text: data.and_then(|data| serde_json::from_slice(&data).ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_as_it_was_kept() {
        let by = JobId::mint(Timestamp::now(), None);
        let mut text = StackText::of("services: {}");
        text.prune = true;
        let at = "2026-01-02T03:04:05.678901234Z";
        let object = json!({"ID": "x", "CreatedAt": at, "Spec": object("shop", by, &text)});
        assert_eq!(object["Spec"]["Labels"][STACK], "shop");
        assert!(object["Spec"]["Name"].as_str().unwrap().len() <= 64);
        assert_eq!(
            Kept::read(&object),
            Some(Kept { id: "x".to_owned(), by, at: at.parse().ok(), text: Some(text) })
        );
        assert_eq!(Kept::read(&json!({"ID": "x", "Spec": {"Labels": {}}})), None);
    }

    #[test]
    fn the_text_that_runs_is_told_and_not_the_one_that_was_taken_back() {
        let old = JobId::mint(Timestamp::from_second(1_700_000_000).unwrap(), None);
        let new = old.successor();
        let kept = |by| Kept { id: "x".to_owned(), by, at: None, text: Some(StackText::of(by.to_string())) };
        let service = |name: &str, of: JobId, back: Option<JobId>| {
            let mut labels = json!({STACK: of.to_string()});
            if let Some(back) = back {
                labels[fence::BACK] = json!(back.to_string());
            }
            let spec = json!({"Name": name, "Labels": labels});
            Service::from_raw(json!({"ID": "x", "Version": {"Index": 1}, "Spec": spec})).unwrap()
        };
        let told = |kept: Vec<Kept>, services: &[Service]| {
            let deployed = deployed(kept, services, |name| name).unwrap();
            (deployed.by, deployed.notes)
        };
        let both = || vec![kept(new), kept(old)];
        assert_eq!(told(both(), &[service("web", new, None)]), (new, Vec::new()));
        let before = deployed(both(), &[service("web", new, None)], |name| name).unwrap().before;
        assert_eq!(before, Some(Former { by: old, text: StackText::of(old.to_string()) }));
        assert_eq!(deployed(vec![kept(old)], &[], |name| name).unwrap().before, None);
        // All of it went back: whether it is still kept or not.
        let back = [service("web", new, Some(new)), service("side", old, None)];
        let note = vec![format!("web: the newer text of the job {new} was taken back")];
        assert_eq!(told(both(), &back), (old, note.clone()));
        assert_eq!(told(vec![kept(old)], &back), (old, note));
        let in_part = [service("web", new, Some(new)), service("jobs", new, None)];
        let note = vec!["web: went back to what it was before this text".to_owned()];
        assert_eq!(told(both(), &in_part), (new, note));
        // What the text left as it was is no part of it that stands.
        let untouched = |name: &str| {
            let one = service(name, new, None);
            let raw = json!({
                "ID": "x", "Version": {"Index": 1}, "Spec": one.spec(),
                "PreviousSpec": {"Name": name, "Labels": {STACK: old.to_string()}},
            });
            Service::from_raw(raw).unwrap()
        };
        let but_for_one = [service("web", new, Some(new)), untouched("api")];
        let note = vec![format!("web: the newer text of the job {new} was taken back")];
        assert_eq!(told(both(), &but_for_one), (old, note.clone()));
        assert_eq!(told(vec![kept(old)], &but_for_one), (old, note));
        let half_way = [service("web", new, None), service("jobs", old, None)];
        let (by, notes) = told(vec![kept(old)], &half_way);
        assert_eq!((by, notes.len()), (old, 1));
        assert!(notes[0].starts_with(&format!("web: stands as the text of the job {new}")), "{notes:?}");
    }
}
