//! Reaching a broker: the hosts in turn, each within a time, the next beside one that is slow to answer.

use std::{sync::Once, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use lapin::{
    Connection, ConnectionProperties,
    tcp::{OwnedIdentity, OwnedTLSConfig},
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
};

use super::{
    dial::dial,
    fault::{is_login_refused, unavailable},
    unreached::Unreached,
};
use crate::{AmqpSettings, QueueError, settings::Host};

const CONNECT: &str = "connect to the broker";

/// Longest wait for one host: lapin itself would wait for ever on one that accepts and says nothing.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long one host is waited for before the next is asked beside it.
const NEXT_AFTER: Duration = Duration::from_secs(1);

/// Seconds; a dead connection is noticed after two of them.
const HEARTBEAT: u16 = 10;

/// Bytes of the largest frame; what brokers take unless they are told otherwise. lapin keeps two buffers of 32 frames for
/// each connection: asked for beforehand they cost memory only where they are used, grown to the broker's word they are
/// written all over, 24 MiB in each process.
const LARGEST_FRAME: u32 = 128 * 1024;

/// The three connections of a session, all to one host.
///
/// A broker under an alarm stops reading from connections that publish, so publishing has its own; an error
/// in reading a stream closes the whole connection, so reading has its own.
pub(super) struct Connections {
    pub(super) host: Host,
    pub(super) publishing: Connection,
    pub(super) consuming: Connection,
    pub(super) reading: Connection,
}

/// Connects to the first host that answers.
///
/// # Errors
/// [`QueueError::Settings`] when a host refuses the login: the others hold the same users.
pub(super) async fn connect(settings: &AmqpSettings) -> Result<Connections, QueueError> {
    at_first_host(settings, |host| async move {
        Ok(Connections {
            publishing: connection(settings, &host, "publishing").await?,
            consuming: connection(settings, &host, "consuming").await?,
            reading: connection(settings, &host, "reading").await?,
            host,
        })
    })
    .await
}

/// One connection beside those of the session, to the first host that answers.
///
/// # Errors
/// As [`connect`].
pub(super) async fn connect_for(
    settings: &AmqpSettings,
    role: &'static str,
) -> Result<Connection, QueueError> {
    at_first_host(settings, |host| async move { connection(settings, &host, role).await }).await
}

async fn at_first_host<T, F>(settings: &AmqpSettings, reach: impl Fn(Host) -> F) -> Result<T, QueueError>
where
    F: Future<Output = Result<T, QueueError>>,
{
    let mut unreached = Unreached::default();
    // One that does not let us in keeps nobody from asking the others.
    let mut refused = None;
    let mut hosts = settings.hosts()?.into_iter();
    let mut reaching = FuturesUnordered::new();
    loop {
        let is_last = hosts.len() <= 1;
        reaching.extend(hosts.next().map(|host| reached_in_time(host, &reach)));
        let (host, error) = tokio::select! {
            Some(reached) = reaching.next() => match reached {
                Ok(reached) => return Ok(reached),
                Err(failed) => failed,
            },
            // One that says nothing does not keep us from the next.
            () = tokio::time::sleep(NEXT_AFTER), if !is_last => continue,
            else => break,
        };
        tracing::debug!(%host, error = &error as &dyn std::error::Error, "a broker cannot be used");
        if error.is_passing() {
            unreached.add(&host, settings.tls.is_some(), &error);
        } else {
            refused.get_or_insert(error);
        }
    }
    Err(refused.unwrap_or_else(|| QueueError::Unavailable { attempted: CONNECT, source: unreached.into() }))
}

async fn reached_in_time<T, F>(host: Host, reach: impl Fn(Host) -> F) -> Result<T, (Host, QueueError)>
where
    F: Future<Output = Result<T, QueueError>>,
{
    match tokio::time::timeout(CONNECT_WITHIN, reach(host.clone())).await {
        Ok(Ok(reached)) => Ok(reached),
        Ok(Err(error)) => Err((host, error)),
        Err(elapsed) => Err((host, QueueError::Unavailable { attempted: CONNECT, source: elapsed.into() })),
    }
}

async fn connection(settings: &AmqpSettings, host: &Host, role: &str) -> Result<Connection, QueueError> {
    let properties =
        ConnectionProperties::default().with_connection_name(format!("{} {role}", settings.prefix).into());
    let connected = dial(uri(settings, host), tls(settings), properties).await;
    connected.map_err(|error| {
        if is_login_refused(&error) {
            return login_refused(settings, &error);
        }
        unavailable(CONNECT, error)
    })
}

fn login_refused(settings: &AmqpSettings, error: &lapin::Error) -> QueueError {
    QueueError::Settings(format!(
        "the broker does not let the user `{}` into the virtual host `{}`; check the user, the password \
         and the virtual host ({error})",
        settings.user, settings.vhost
    ))
}

fn uri(settings: &AmqpSettings, host: &Host) -> AMQPUri {
    AMQPUri {
        scheme: if settings.tls.is_some() { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: settings.user.clone(),
                password: settings.password.expose().to_owned(),
            },
            host: host.name.clone(),
            port: host.port.unwrap_or(if settings.tls.is_some() { 5671 } else { 5672 }),
        },
        vhost: settings.vhost.clone(),
        query: AMQPQueryString {
            heartbeat: Some(HEARTBEAT),
            frame_max: Some(LARGEST_FRAME),
            ..AMQPQueryString::default()
        },
    }
}

fn tls(settings: &AmqpSettings) -> OwnedTLSConfig {
    static PROVIDER: Once = Once::new();
    // Whoever installed one before, as another crate may, installed the same: there is no other in the build.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let authorities = settings.tls.as_ref().and_then(|tls| tls.authorities.clone());
    let certificate = settings.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
    let identity = certificate.map(|certificate| OwnedIdentity::PKCS8 {
        pem: certificate.chain.clone().into_bytes(),
        key: certificate.key.expose().as_bytes().to_vec(),
    });
    OwnedTLSConfig { identity, cert_chain: authorities }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_hosts() -> AmqpSettings {
        let hosts = ["one:1", "two:2", "three:3"].map(str::to_owned).to_vec();
        AmqpSettings {
            hosts,
            user: "u".to_owned(),
            password: config::Secret::new("p"),
            logins: Vec::new(),
            vhost: "/".to_owned(),
            prefix: "p".to_owned(),
            tls: None,
            keep: crate::Keep::default(),
            rungs: Vec::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_says_nothing_keeps_nobody_from_asking_the_next() {
        let began = tokio::time::Instant::now();
        let away = || QueueError::Unavailable { attempted: CONNECT, source: "away".into() };
        let settings = three_hosts();
        let reached = at_first_host(&settings, |host| async move {
            match host.port {
                Some(1) => Err(away()),
                Some(2) => std::future::pending().await,
                _ => Ok(host.name),
            }
        });
        assert_eq!(reached.await.unwrap(), "three");
        assert_eq!(began.elapsed(), NEXT_AFTER, "the first at once, the second waited for");
        let none = at_first_host(&settings, |_| std::future::pending::<Result<(), _>>()).await;
        assert!(matches!(none, Err(QueueError::Unavailable { .. })), "{none:?}");
        assert!(began.elapsed() < 3 * CONNECT_WITHIN, "they are waited for side by side");
    }

    #[tokio::test]
    async fn a_host_that_does_not_let_us_in_keeps_nobody_from_asking_the_next() {
        let settings = three_hosts();
        let refused = || QueueError::Settings("not let in".to_owned());
        let away = || QueueError::Unavailable { attempted: CONNECT, source: "away".into() };
        let reached = at_first_host(&settings, |host| async move {
            if host.port == Some(3) { Ok(host.name) } else { Err(refused()) }
        });
        assert_eq!(reached.await.unwrap(), "three");
        let none = at_first_host(&settings, |host| async move {
            Err::<(), _>(if host.port == Some(2) { refused() } else { away() })
        });
        assert!(
            matches!(none.await, Err(QueueError::Settings(_))),
            "what somebody has to mend is told first"
        );
    }
}
