//! The texts of a stack, kept on its swarm: as config objects that no service uses, so that whoever comes later finds
//! them where they are true. They hold what the job held: secrets by name.

use base64::{Engine, engine::general_purpose::STANDARD};
use proto::{JobId, StackText, ask::Deployed};
use serde_json::{Value, json};

use super::super::{Swarm, fence, lifecycle::STACK};
use crate::target::TargetError;

/// The one that is deployed, and the one before.
const MOST_KEPT: usize = 2;

/// A text that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    id: String,
    pub(super) by: JobId,
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

    /// Keeps a text, and lets go of old ones. Done again, nothing changes.
    pub(super) async fn keep(&self, stack: &str, by: JobId, text: &StackText) -> Result<(), TargetError> {
        let mut kept = self.kept(stack).await?;
        if !kept.iter().any(|kept| kept.by == by) {
            self.client.create_config(&object(stack, by, text)).await?;
            kept = self.kept(stack).await?;
        }
        for old in kept.iter().skip(MOST_KEPT) {
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

    /// The text that a stack was deployed from last.
    pub(super) async fn deployed(&self, stack: &str) -> Result<Option<Deployed>, TargetError> {
        let newest = self.kept(stack).await?.into_iter().next();
        Ok(newest.and_then(|kept| Some(Deployed { by: kept.by, text: kept.text? })))
    }
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
            text: data.and_then(|data| serde_json::from_slice(&data).ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_as_it_was_kept() {
        let by = JobId::mint(proto::Timestamp::now(), None);
        let mut text = StackText::of("services: {}");
        text.prune = true;
        let object = json!({"ID": "x", "Spec": object("shop", by, &text)});
        assert_eq!(object["Spec"]["Labels"][STACK], "shop");
        assert!(object["Spec"]["Name"].as_str().unwrap().len() <= 64);
        assert_eq!(Kept::read(&object), Some(Kept { id: "x".to_owned(), by, text: Some(text) }));
        assert_eq!(Kept::read(&json!({"ID": "x", "Spec": {"Labels": {}}})), None);
    }
}
