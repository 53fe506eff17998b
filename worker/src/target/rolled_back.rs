//! What to do about an image that was rolled back.

use proto::{ImageRef, TargetName};

/// The next step, for people. An image is kept from being deployed again by its content: where a registry does not tell
/// that, it is not.
pub(in crate::target) fn what_next(target: &TargetName, image: &ImageRef) -> String {
    match image.digest() {
        Some(_) => format!(
            "deploy a newer image; this one is deployed again only once it is released: `longshore target release {target}`"
        ),
        None => "deploy a newer image; nothing keeps this one from being deployed again, since its registry does not tell \
                 what the tag points to: let the workers get to it, with a login under `registries` where it asks for one"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_by_its_content_is_not_called_held() {
        let target: TargetName = "shop".parse().unwrap();
        let told = |image: &str| what_next(&target, &image.parse().unwrap());
        assert!(told(&format!("web:2@sha256:{}", "a".repeat(64))).contains("longshore target release"));
        let told = told("web:2");
        assert!(told.contains("under `registries`") && !told.contains("release "), "{told}");
    }
}
