//! CDEvents: artifacts that were published, named by a package URL.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{
    Message, Reading, Rules, Sighting, Unreadable, cloud_event,
    image::delivery,
    image_of,
    message::{at, text},
};

/// Its version follows.
const PUBLISHED: &str = "dev.cdevents.artifact.published.";

pub(super) fn read(message: &Message<'_>, rules: &Rules) -> Result<Reading, Unreadable> {
    let events = cloud_event::all(message)?;
    // The event is the data of a CloudEvent, or stands alone.
    let data = events.iter().map(|event| if event.get("context").is_some() { event } else { &event["data"] });
    Ok(Reading::of_all(data.map(|event| published(event, rules))))
}

pub(super) fn published(event: &Value, rules: &Rules) -> Result<Sighting, String> {
    let kind = at(event, "/context/type").unwrap_or_default();
    if !kind.starts_with(PUBLISHED) {
        return Err(format!("the event is `{kind:.100}`, only a published artifact deploys"));
    }
    let artifact = at(event, "/subject/id").ok_or("the event names no artifact")?;
    let package = Package::parse(artifact).ok_or_else(|| {
        format!("the artifact `{artifact:.200}` is no image: its package URL does not begin with `pkg:oci/`")
    })?;
    let repository = package.repository_url.ok_or("the artifact's package URL has no `repository_url`")?;
    let bare = repository.split_once("://").map_or(&*repository, |(_, rest)| rest);
    let (host, path) = bare.split_once('/').ok_or("the artifact's `repository_url` names no repository")?;
    let image = image_of(rules.host(Some(host))?, path, package.tag.as_deref(), Some(&package.version))?;
    let context = event.get("context").unwrap_or(&Value::Null);
    Ok(Sighting::new(image, delivery([text(context, "source"), text(context, "id")])))
}

/// `pkg:oci/name@version?repository_url=…&tag=…`
struct Package<'a> {
    version: Cow<'a, str>,
    repository_url: Option<Cow<'a, str>>,
    tag: Option<Cow<'a, str>>,
}

impl Package<'_> {
    fn parse(url: &str) -> Option<Package<'_>> {
        let rest = url.strip_prefix("pkg:")?.trim_start_matches('/');
        let (kind, rest) = rest.split_once('/')?;
        let rest = rest.split('#').next()?;
        let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
        let version = name.split_once('@').map_or("", |(_, version)| version);
        let qualifier = |wanted: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .into_iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| decoded(value))
        };
        let package = Package {
            version: decoded(version),
            repository_url: qualifier("repository_url"),
            tag: qualifier("tag"),
        };
        kind.eq_ignore_ascii_case("oci").then_some(package)
    }
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::{Kind, samples::read_as};

    fn told(body: &Value) -> String {
        match read_as(Kind::Cdevents, body).unwrap() {
            Reading::Sightings(seen) => seen[0].image.to_string(),
            Reading::Ignored(_) => "ignored".to_owned(),
            Reading::Acknowledged(_) | Reading::Handshake(_) | Reading::NeedsRule(_) => {
                panic!("not read as a push")
            }
        }
    }

    fn event(kind: &str, id: &str) -> Value {
        json!({"context": {"type": kind, "id": "1", "source": "/s"}, "subject": {"id": id}})
    }

    #[test]
    fn package_urls_of_images_are_read() {
        let hex = "a".repeat(64);
        let tagged = format!("pkg:oci/app@sha256%3A{hex}?repository_url=r.lan%3A5000/Team/app&tag=v1");
        let kind = "dev.cdevents.artifact.published.0.2.0";
        assert_eq!(told(&event(kind, &tagged)), format!("r.lan:5000/team/app:v1@sha256:{hex}"));
        let structured = json!({"specversion": "1.0", "type": kind, "data": event(kind, &tagged)});
        assert_eq!(told(&structured), format!("r.lan:5000/team/app:v1@sha256:{hex}"));
        for other in [
            format!("pkg:oci/app@sha256%3A{hex}?repository_url=r.lan/app"),
            format!("pkg:oci/app@sha256%3A{hex}?tag=v1"),
            format!("pkg:golang/app@sha256%3A{hex}?repository_url=r.lan/app&tag=v1"),
            "pkg:oci/app@sha256%3Aabc?repository_url=r.lan/app&tag=v1".to_owned(),
            "nonsense".to_owned(),
        ] {
            assert_eq!(told(&event(kind, &other)), "ignored", "{other}");
        }
        for kind in ["dev.cdevents.artifact.deleted.0.1.0", "dev.cdevents.artifact.packaged.0.1.0", ""] {
            assert_eq!(told(&event(kind, &tagged)), "ignored", "{kind}");
        }
    }
}
