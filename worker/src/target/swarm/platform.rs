//! What an image is built for, and what a service may run on.
//!
//! An index keeps its own digest: each node picks its manifest from it. Which platforms a service is bound to is set by
//! no option of the docker command: with every image that it looks up, it binds the service to what that is built for.
//! So do we, else the list of an image that is long gone would choose the nodes. A service that is bound to nothing stays
//! so: whoever made it did without.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use proto::{Digest, ImageRef};
use serde_json::{Value, json};

use super::{SwarmService, service::Service};
use crate::target::TargetError;

/// What so many images are built for is remembered: an image is looked up a moment before it is written.
const MOST_KNOWN: usize = 64;

/// What the images that were looked up last are built for.
#[derive(Debug, Default)]
pub(super) struct Built(Mutex<VecDeque<(Digest, Vec<Value>)>>);

impl Built {
    fn note(&self, digest: Digest, platforms: Vec<Value>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(it, _)| *it != digest);
        known.truncate(MOST_KNOWN - 1);
        known.push_front((digest, platforms));
    }

    fn of(&self, digest: &Digest) -> Option<Vec<Value>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(it, _)| it == digest).map(|(_, platforms)| platforms.clone())
    }
}

impl SwarmService {
    /// Takes from the registry's `answer` about an image what that is built for.
    ///
    /// # Errors
    /// [`TargetError::Refused`] where the service is bound to platforms, and no node has any that the image is built for.
    pub(super) async fn note_platforms(&self, image: &ImageRef, answer: &Value) -> Result<(), TargetError> {
        let built = as_bound(answer);
        let digest = answer.pointer("/Descriptor/digest").and_then(Value::as_str);
        if let Some(digest) = digest.and_then(|digest| digest.parse().ok()) {
            self.swarm.built.note(digest, built.clone());
        }
        if built.is_empty() {
            return Ok(());
        }
        let service = match self.client().service(&self.name).await {
            // That there is none is told by whoever reads it.
            Err(TargetError::NotFound { .. }) => return Ok(()),
            service => service?,
        };
        let nodes = self.swarm.lookout.nodes().await?;
        let there = nodes.platforms();
        let fits_one = |node: &Value| built.iter().any(|built| fits(built, node));
        if service.platforms().is_empty() || there.is_empty() || there.iter().any(fits_one) {
            return Ok(());
        }
        Err(TargetError::Refused {
            system: self.client().system().to_owned(),
            attempted: "update the service",
            answer: format!(
                "{} is built for {}, and the swarm has nodes of {}",
                image.familiar(),
                told(&built),
                told(there)
            ),
        })
    }

    /// What `service` is to be bound to beside `image`; none where it stays as it is.
    pub(super) async fn platforms_for(&self, service: &Service, image: &ImageRef) -> Option<Vec<Value>> {
        if service.platforms().is_empty() {
            return None;
        }
        let digest = image.digest()?;
        let built = match self.swarm.built.of(digest) {
            Some(built) => built,
            None => {
                let repository = image.repository();
                let key = self.swarm.registries.header_for(repository);
                // Where nobody can tell, what the service is bound to is as good a guess as any.
                as_bound(
                    &self.client().distribution(&format!("{repository}@{digest}"), key).await.ok()?.ok()?,
                )
            }
        };
        (!built.is_empty() && built != service.platforms()).then_some(built)
    }
}

/// The platforms as the docker command binds a service to them. What is beside the images in an index, such as
/// attestations, is for no platform; of `arm` there are more kinds than nodes tell.
fn as_bound(answer: &Value) -> Vec<Value> {
    let built = answer["Platforms"].as_array().into_iter().flatten();
    let mut bound: Vec<Value> = Vec::new();
    for platform in built {
        let (os, architecture) =
            (part(platform, "OS", "os"), part(platform, "Architecture", "architecture").unwrap_or_default());
        if os == Some("unknown") || architecture == "unknown" {
            continue;
        }
        let mut one = json!({});
        if !architecture.is_empty() && !architecture.eq_ignore_ascii_case("arm") {
            one["Architecture"] = json!(architecture);
        }
        if let Some(os) = os {
            one["OS"] = json!(os);
        }
        if !bound.contains(&one) {
            bound.push(one);
        }
    }
    bound
}

/// As the engine's own filter of nodes: what is not said fits everything.
fn fits(built: &Value, bound: &Value) -> bool {
    let same = |upper, lower| {
        let (one, other) = (part(built, upper, lower), part(bound, upper, lower));
        let (one, other) = (normal(one.unwrap_or_default()), normal(other.unwrap_or_default()));
        one.is_empty() || other.is_empty() || one == other
    };
    same("OS", "os") && same("Architecture", "architecture")
}

/// Nodes name architectures as their kernels do, images as Go does.
fn normal(text: &str) -> &str {
    match text {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn part<'a>(platform: &'a Value, upper: &str, lower: &str) -> Option<&'a str> {
    platform.get(upper).or_else(|| platform.get(lower)).and_then(Value::as_str)
}

fn told(platforms: &[Value]) -> String {
    let text = |platform: &Value| {
        let architecture = normal(part(platform, "Architecture", "architecture").unwrap_or("any"));
        format!("{}/{architecture}", part(platform, "OS", "os").unwrap_or("any"))
    };
    let mut told: Vec<String> = platforms.iter().map(text).collect();
    told.dedup();
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kernels_and_images_name_one_architecture_by_two_names() {
        let image = json!({"architecture": "amd64", "os": "linux"});
        for (bound, expected) in [
            (json!({"Architecture": "x86_64", "OS": "linux"}), true),
            (json!({"Architecture": "amd64", "OS": "linux"}), true),
            (json!({"OS": "linux"}), true),
            (json!({"Architecture": "aarch64", "OS": "linux"}), false),
            (json!({"Architecture": "amd64", "OS": "windows"}), false),
        ] {
            assert_eq!(fits(&image, &bound), expected, "{bound}");
        }
        let bound = [json!({"Architecture": "aarch64", "OS": "linux"}), json!({"OS": "linux"})];
        assert_eq!(told(&bound), "linux/arm64, linux/any");
    }

    #[test]
    fn a_service_is_bound_to_what_an_image_is_built_for() {
        let answer = json!({"Platforms": [
            {"architecture": "amd64", "os": "linux"}, {"architecture": "arm", "os": "linux", "variant": "v7"},
            {"architecture": "arm", "os": "linux", "variant": "v6"}, {"architecture": "unknown", "os": "unknown"},
        ]});
        let bound = as_bound(&answer);
        assert_eq!(bound, [json!({"Architecture": "amd64", "OS": "linux"}), json!({"OS": "linux"})]);
        assert!(as_bound(&json!({})).is_empty());
    }

    #[test]
    fn what_was_looked_up_last_is_known() {
        let built = Built::default();
        let digest = |n: usize| -> Digest { format!("sha256:{n:064x}").parse().unwrap() };
        for n in 0..=MOST_KNOWN {
            built.note(digest(n), vec![json!(n)]);
            built.note(digest(n), vec![json!(n)]);
        }
        assert_eq!(built.of(&digest(0)), None);
        assert_eq!(built.of(&digest(1)), Some(vec![json!(1)]));
    }
}
