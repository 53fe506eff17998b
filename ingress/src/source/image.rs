//! An image out of the parts that producers say, and the names of deliveries.

use proto::{Digest, ImageError, ImageRef, Repository};
use sha2::{Digest as _, Sha256};

use super::message::split_tag;

/// What a tag may point to. Layers and configurations are pushed too, and announced alike.
const MANIFESTS: [&str; 4] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
];

/// Longest name of a delivery that is kept as it is, in bytes.
const LONGEST_DELIVERY: usize = 200;

/// Whether something of this media type can be run.
pub(super) fn is_manifest(media_type: &str) -> bool {
    MANIFESTS.contains(&media_type)
}

/// The image a registry names by parts; the error is a reason to ignore the event.
///
/// Owners and projects come in the case people typed, which no registry accepts in a reference.
pub(super) fn image_of(
    host: &str,
    repository: &str,
    tag: Option<&str>,
    digest: Option<&str>,
) -> Result<ImageRef, String> {
    let tag = tag.filter(|tag| !tag.is_empty()).ok_or("the event names no tag")?;
    if names_a_digest(tag) {
        return Err(format!(
            "`{tag:.100}` is no tag of an image but the name of something pushed beside one"
        ));
    }
    let digest = digest.filter(|digest| !digest.is_empty()).map(str::parse::<Digest>).transpose();
    let image = repository_at(host, repository).and_then(|repository| {
        ImageRef::new(repository, Some(tag), digest.map_err(|e| e.to_string())?).map_err(|e| e.to_string())
    });
    image.map_err(|why| format!("the event names no image that can be deployed: {why}"))
}

/// The image of a reference as producers write it, at `registry` where that is given; its digest may stand in it or
/// beside it.
pub(super) fn image_in(
    reference: &str,
    digest: Option<&str>,
    registry: Option<&str>,
) -> Result<ImageRef, String> {
    let (name, tag) = split_tag(reference);
    let digest = digest.or(reference.split_once('@').map(|(_, digest)| digest));
    let said: Repository = name.to_lowercase().parse().map_err(|error: ImageError| error.to_string())?;
    image_of(registry.unwrap_or(said.host()), said.path(), tag, digest)
}

/// Signatures, attestations and children of an image are kept under tags made of its digest.
fn names_a_digest(tag: &str) -> bool {
    let rest = tag.strip_prefix("sha256-").or_else(|| tag.strip_prefix("sha256__"));
    let hex = rest.and_then(|rest| rest.get(..64)).unwrap_or_default();
    hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

fn repository_at(host: &str, path: &str) -> Result<Repository, String> {
    let host = &host.to_lowercase();
    if !is_registry_host(host) {
        return Err(format!(
            "`{host:.100}` is no registry host: give the source a `registry`, as images name it"
        ));
    }
    format!("{host}/{}", path.to_lowercase()).parse().map_err(|error: ImageError| error.to_string())
}

/// Whether a reference that begins with `host` is taken to mean that registry.
pub(crate) fn is_registry_host(host: &str) -> bool {
    format!("{host}/x").parse::<Repository>().is_ok_and(|repository| repository.host() == host)
}

/// The name of a delivery made of these parts; none when one of them is missing.
pub(crate) fn delivery<const N: usize>(parts: [Option<&str>; N]) -> Option<String> {
    let parts: Option<Vec<&str>> =
        parts.into_iter().map(|part| part.filter(|part| !part.is_empty())).collect();
    let name = parts?.join(" ");
    let short = name.len() <= LONGEST_DELIVERY && !name.chars().any(char::is_control);
    Some(if short { name } else { hex::encode(Sha256::digest(name.as_bytes())) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_make_no_image_are_reasons_to_ignore() {
        let image = image_of;
        let good = image("H:5000", "Team/App", Some("1"), None).unwrap();
        assert_eq!(good.to_string(), "h:5000/team/app:1");
        assert_eq!(image("h:5000", "a", None, None), Err("the event names no tag".to_owned()));
        let hex = "a".repeat(64);
        for (host, repository, tag, digest) in [
            ("", "a", "1", ""),
            ("nohost", "a", "1", ""),
            ("h:5000/x", "a", "1", ""),
            ("h:5000", "", "1", ""),
            ("h:5000", "a b", "1", ""),
            ("h:5000", "a", "sha256:1", ""),
            ("h:5000", "a", &format!("sha256-{hex}"), ""),
            ("h:5000", "a", &format!("sha256-{hex}.sig"), ""),
            ("h:5000", "a", &format!("sha256__{hex}"), ""),
            ("h:5000", "a", "1", "sha256:xxxx"),
            ("h:5000", "a", "1", &format!("sha256:{}", "A".repeat(64))),
            ("h:5000", "a", "1", &format!("sha256:{}", "a".repeat(60))),
        ] {
            assert!(image(host, repository, Some(tag), Some(digest)).is_err(), "{host} {repository} {tag}");
        }
        assert!(image("h:5000", "a", Some("sha256-of-mine"), None).is_ok());
    }

    #[test]
    fn references_may_be_moved_to_another_registry() {
        let moved = image_in("docker.io/Acme/Web:1", None, Some("mirror.lan:5000")).unwrap();
        assert_eq!(moved.to_string(), "mirror.lan:5000/acme/web:1");
        assert_eq!(image_in("nginx:1", None, None).unwrap().to_string(), "docker.io/library/nginx:1");
        assert!(image_in("nginx", None, None).is_err());
        let digest = format!("sha256:{}", "a".repeat(64));
        let pinned = format!("q.io/a:1@{digest}");
        assert_eq!(image_in(&pinned, None, None).unwrap().to_string(), pinned);
        let beside = format!("sha256:{}", "b".repeat(64));
        assert_eq!(image_in(&pinned, Some(&beside), None).unwrap().to_string(), format!("q.io/a:1@{beside}"));
    }

    #[test]
    fn a_delivery_has_all_its_parts_or_no_name() {
        assert_eq!(delivery([Some("a"), Some("b")]).as_deref(), Some("a b"));
        assert_eq!(delivery([Some("a"), None]), None);
        assert_eq!(delivery([Some("")]), None);
        assert_eq!(delivery([Some(&"x".repeat(1000))]).map(|name| name.len()), Some(64));
    }
}
