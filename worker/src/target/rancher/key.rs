//! What is known of our own key. Keys of newer Ranchers end after 90 days unless they were made otherwise, and one that
//! has ended looks like one that never was: people have to hear of it before.

use std::time::Duration;

use proto::{ListingFault, Timestamp};

use super::{
    answer::OF_ONE_CLUSTER,
    session::{Request, Session},
};
use crate::{
    target::{TargetError, wire::Call},
    verdict::chain,
};

/// So long before its end people are told.
const TOLD_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(12 * 3600);
/// Pause before a Rancher is asked again that could not be.
const AGAIN_AFTER: Duration = Duration::from_secs(300);

/// What Rancher tells of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// It ends then.
    Expires(Timestamp),
    /// It goes on for ever.
    Endless,
    /// It is for one cluster: such a key may not even ask about itself.
    OfOneCluster,
    /// Rancher does not tell.
    Untold,
}

impl Key {
    /// In words, as `check` shows it.
    pub(super) fn told(self, name: &str) -> String {
        match self {
            Key::Expires(at) => format!("asked with the key `{name}`, which expires on {}", day(at)),
            Key::Endless => format!("asked with the key `{name}`, which never expires"),
            Key::OfOneCluster => {
                format!(
                    "asked with the key `{name}` for a single cluster; Rancher does not tell when such a key expires"
                )
            }
            Key::Untold => format!("asked with the key `{name}`; Rancher does not tell when it expires"),
        }
    }

    /// What people have to hear of it now.
    pub(super) fn warning(self, name: &str, now: Timestamp) -> Option<ListingFault> {
        let Key::Expires(at) = self else { return None };
        let left = Duration::try_from(at.duration_since(now)).unwrap_or_default();
        let text = match left {
            Duration::ZERO => format!("it expired on {}", day(at)),
            left if left <= TOLD_BEFORE => {
                format!("it expires on {}, {}", day(at), in_days(left.as_secs() / (24 * 3600)))
            }
            _ => return None,
        };
        Some(ListingFault::of_system(
            format!("key `{name}`"),
            text,
            "make a new key in Rancher under \"API & Keys\", and put it in the worker's configuration"
                .to_owned(),
        ))
    }
}

fn day(at: Timestamp) -> String {
    let text = at.to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

fn in_days(days: u64) -> String {
    match days {
        0 => "in less than a day".to_owned(),
        1 => "in 1 day".to_owned(),
        days => format!("in {days} days"),
    }
}

impl Session {
    /// What Rancher tells of our key.
    pub(super) async fn key_state(&self) -> Result<Key, TargetError> {
        // Keys of the newer sort are kept elsewhere, and nothing is known of that.
        if self.key().contains('/') {
            return Ok(Key::Untold);
        }
        let what = format!("key `{}`", self.key());
        let call = Call::read("tell of our key", &what);
        let told = match self.ask(Request::get(format!("/v3/tokens/{}", self.key())), call).await {
            Err(TargetError::CredentialsRefused { answer, .. }) if answer.starts_with(OF_ONE_CLUSTER) => {
                return Ok(Key::OfOneCluster);
            }
            // It is good, but may not ask this.
            Err(
                TargetError::NotFound { .. } | TargetError::Refused { .. } | TargetError::OtherServer { .. },
            ) => return Ok(Key::Untold),
            other => other?,
        };
        Ok(match told["expiresAt"].as_str() {
            Some("") => Key::Endless,
            Some(at) => at.parse().map_or(Key::Untold, Key::Expires),
            None => Key::Untold,
        })
    }

    /// Looks at our key now and then until it is dropped, and tells of it when it is about to end.
    pub(super) async fn mind_key(&self, tell: impl Fn(Option<ListingFault>)) {
        loop {
            let pause = match self.key_state().await {
                Ok(key) => {
                    let warning = key.warning(self.key(), Timestamp::now());
                    if let Some(ListingFault { thing, text, hint, .. }) = &warning {
                        tracing::warn!(
                            system = self.system(),
                            key = thing,
                            text,
                            hint,
                            "a key is about to end"
                        );
                    }
                    tell(warning);
                    LOOK_EVERY
                }
                Err(TargetError::CredentialsRefused { answer, .. }) => {
                    tracing::warn!(system = self.system(), answer, "the key is refused");
                    tell(Some(ListingFault::of_system(
                        format!("key `{}`", self.key()),
                        format!("it is refused: {answer}"),
                        "put a valid key in the worker's configuration".to_owned(),
                    )));
                    AGAIN_AFTER
                }
                Err(error) => {
                    tracing::debug!(
                        system = self.system(),
                        error = chain(&error),
                        "cannot ask about the key yet"
                    );
                    AGAIN_AFTER
                }
            };
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_hear_of_it_two_weeks_before() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let warning = |at: &str| Key::Expires(at.parse().unwrap()).warning("token-a", now).map(|it| it.text);
        assert_eq!(warning("2026-12-07T12:00:00Z"), None);
        assert_eq!(warning("2026-12-06T12:00:00Z").as_deref(), Some("it expires on 2026-12-06, in 14 days"));
        assert_eq!(warning("2026-11-24T11:00:00Z").as_deref(), Some("it expires on 2026-11-24, in 1 day"));
        assert_eq!(
            warning("2026-11-22T20:00:00Z").as_deref(),
            Some("it expires on 2026-11-22, in less than a day")
        );
        assert_eq!(warning("2026-11-21T20:00:00Z").as_deref(), Some("it expired on 2026-11-21"));
        for silent in [Key::Endless, Key::OfOneCluster, Key::Untold] {
            assert_eq!(silent.warning("token-a", now), None);
        }
    }
}
