//! With which login the nodes pull after a write. An engine that is told nothing keeps the one that a service has, and its
//! nodes show that to whatever registry the new image is named by: it must not go to another one than it was given for.

use proto::ImageRef;
use serde_json::Value;

use crate::target::swarm::service::{Service, image_named};

/// What stands in the header where there is no login: `{}`, as the docker command sends it.
pub(super) const NOBODY: &str = "e30=";

/// The login of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login<'a> {
    /// The configured one of the image's registry.
    Configured(&'a str),
    /// That which the service has: the image comes from the same registry.
    AsItIs,
    /// That which the service had before its last write, for the registry that is gone back to.
    AsBefore,
    /// None: it is another registry, of which nothing is configured.
    Nobody,
}

impl<'a> Login<'a> {
    /// For the write of `spec` over what `service` is now; `key`: the configured one of the registry of the image in it.
    pub(super) fn of(service: &Service, spec: &Value, key: Option<&'a str>) -> Login<'a> {
        if let Some(key) = key {
            return Login::Configured(key);
        }
        let next = service.with_spec(spec.clone());
        let comes_from_there = |former: &Service| {
            former.image_text() == next.image_text() || host(former).is_some_and(|it| Some(it) == host(&next))
        };
        if comes_from_there(service) {
            Login::AsItIs
        } else if service.previous().is_some_and(|former| comes_from_there(&former)) {
            Login::AsBefore
        } else {
            Login::Nobody
        }
    }
}

/// The registry that the image of a service comes from.
fn host(service: &Service) -> Option<String> {
    let image: ImageRef = image_named(service.image_text()?)?;
    Some(image.repository().host().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(image: &str) -> Value {
        json!({"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": image}}})
    }

    fn service(now: &str, before: Option<&str>) -> Service {
        let before = before.map_or(Value::Null, spec);
        let raw = json!({"ID": "x", "Version": {"Index": 1}, "Spec": spec(now), "PreviousSpec": before});
        Service::from_raw(raw).unwrap()
    }

    #[test]
    fn a_login_stays_with_the_registry_that_it_was_given_for() {
        let ours = "r.lan:5000/acme/web:1";
        for (now, before, next, expected) in [
            // The same registry, whatever the repository and the tag.
            (ours, None, "r.lan:5000/other/app:2", Login::AsItIs),
            (ours, Some("evil.lan/web:1"), "r.lan:5000/acme/web:2", Login::AsItIs),
            ("nginx", None, "docker.io/acme/web:2", Login::AsItIs),
            // What cannot be read stays what it is, and with it its login.
            ("NOT AN IMAGE", None, "NOT AN IMAGE", Login::AsItIs),
            // Another one, by name or by port.
            (ours, None, "evil.lan/web:2", Login::Nobody),
            (ours, None, "r.lan:5001/acme/web:2", Login::Nobody),
            (ours, None, "nginx:1", Login::Nobody),
            (ours, Some(ours), "evil.lan/web:2", Login::Nobody),
            ("NOT AN IMAGE", None, "evil.lan/web:2", Login::Nobody),
            (ours, None, "NOT AN IMAGE", Login::Nobody),
            // The way back to the registry from before.
            ("evil.lan/web:2", Some(ours), "r.lan:5000/acme/web:1", Login::AsBefore),
            ("evil.lan/web:2", Some("third.lan/web:1"), ours, Login::Nobody),
        ] {
            let of = |key| Login::of(&service(now, before), &spec(next), key);
            assert_eq!(of(None), expected, "{now} -> {next}");
            assert_eq!(of(Some("key")), Login::Configured("key"), "{now} -> {next}");
        }
    }
}
