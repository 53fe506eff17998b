//! Whether an image is built for what a service may run on.
//!
//! An index keeps its own digest: each node picks its manifest from it. What is built for none of the platforms
//! that the service is bound to would only wait for a node that never comes.

use proto::ImageRef;
use serde_json::Value;

use super::SwarmService;
use crate::target::TargetError;

impl SwarmService {
    /// Refuses an image that is built for other platforms only than the service is bound to; `answer` is what the
    /// registry told of the image.
    ///
    /// # Errors
    /// [`TargetError::Refused`] with both lists.
    pub(super) async fn refuse_other_platforms(
        &self,
        image: &ImageRef,
        answer: &Value,
    ) -> Result<(), TargetError> {
        let built: &[Value] = answer["Platforms"].as_array().map_or(&[], Vec::as_slice);
        if built.is_empty() {
            return Ok(());
        }
        let service = match self.client().service(&self.name).await {
            // That there is none is told by whoever reads it.
            Err(TargetError::NotFound { .. }) => return Ok(()),
            service => service?,
        };
        let bound = service.platforms();
        if bound.is_empty() || bound.iter().any(|bound| built.iter().any(|built| fits(built, bound))) {
            return Ok(());
        }
        Err(TargetError::Refused {
            system: self.client().system().to_owned(),
            attempted: "update the service",
            answer: format!(
                "{} is built for {}, and the service is bound to {}",
                image.familiar(),
                told(built),
                told(bound)
            ),
        })
    }
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
        "unknown" => "",
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
}
