//! The `queue` section: which engine.

use config::Secret;

/// Which engine carries the words.
#[derive(Debug, Clone, Default)]
pub enum Settings {
    /// One process, one directory.
    #[default]
    Embedded,
    /// RabbitMQ.
    Amqp(AmqpSettings),
}

/// How to reach RabbitMQ.
#[derive(Debug, Clone)]
pub struct AmqpSettings {
    /// Brokers of one cluster, `host` or `host:port`, tried in turn.
    pub hosts: Vec<String>,
    /// Who logs in.
    pub user: String,
    /// With what.
    pub password: Secret,
    /// The virtual host.
    pub vhost: String,
    /// First part of every name on the broker.
    pub prefix: String,
    /// Speak TLS, and trust these PEM certificates (besides the machine's own when there are none).
    pub tls: Option<TlsSettings>,
}

/// How to trust the broker.
#[derive(Debug, Clone, Default)]
pub struct TlsSettings {
    /// Certificates of the authorities to trust, in PEM.
    pub authorities: Option<String>,
}
