//! What goes wrong with a request, said as problem details (RFC 9457).

use std::{borrow::Cow, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use proto::{PoolName, TargetName, api};
use queue::QueueError;

/// Longest `detail`, in characters: it may hold what the caller sent.
const LONGEST_DETAIL: usize = 300;

macro_rules! kinds {
    ($($name:ident $slug:literal $status:ident $title:literal $hint:literal;)*) => {
        /// Every kind of problem; its slug is part of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Kind { $($name),* }

        impl Kind {
            pub(crate) const ALL: &[Kind] = &[$(Kind::$name),*];

            /// The last segment of the problem's `type`.
            pub(crate) fn slug(self) -> &'static str {
                match self { $(Kind::$name => $slug),* }
            }

            pub(crate) fn status(self) -> StatusCode {
                match self { $(Kind::$name => StatusCode::$status),* }
            }

            pub(crate) fn title(self) -> &'static str {
                match self { $(Kind::$name => $title),* }
            }

            /// How to mend it.
            pub(crate) fn hint(self) -> &'static str {
                match self { $(Kind::$name => $hint),* }
            }
        }
    };
}

kinds! {
    NotJson "not-json" BAD_REQUEST "The body is not JSON"
        "send a JSON body, as in curl -d '{\"image\":\"repo:tag\"}'";
    BadQuery "bad-query" BAD_REQUEST "A query parameter cannot be used"
        "see the API's description for the parameters and their forms";
    MissingKey "missing-key" UNAUTHORIZED "The hook needs a key"
        "put the source's key into the URL (?key=… or /hooks/<source>/<key>), or send it as X-Longshore-Key or as a bearer token";
    WrongKey "wrong-key" UNAUTHORIZED "The key is not the source's"
        "compare the key with the source's `key` or `key_file` in the configuration; a header the source wants verbatim is its `authorization`. In a URL some letters have to be written otherwise: `longshore hook url` prints it as it has to be";
    MissingToken "missing-token" UNAUTHORIZED "The API needs a token"
        "send the header Authorization: Bearer <token>; `longshore up` keeps its token in the file admin-token of its data directory";
    WrongToken "wrong-token" UNAUTHORIZED "The token is not known"
        "check that the whole token was sent, and to the right server";
    ExpiredToken "expired-token" UNAUTHORIZED "The token has expired"
        "make a new one with `longshore token create`, or log in again";
    WrongPassword "wrong-password" UNAUTHORIZED "The user or the password is wrong"
        "type both again; whoever runs this Longshore can give a new password with `longshore user passwd`";
    SessionEnded "session-ended" UNAUTHORIZED "The session has ended"
        "log in again: POST /v1/session";
    RegistrationClosed "registration-closed" FORBIDDEN "Nobody can register by themselves"
        "ask whoever runs this Longshore: `longshore user add` enters a user, `access.registration` opens this to everybody";
    UserExists "user-exists" CONFLICT "The name belongs to another user"
        "choose another name";
    BadUser "bad-user" UNPROCESSABLE_ENTITY "The user cannot be entered"
        "send {\"user\",\"password\"}, and \"name\" and \"phone\" if you like";
    TooManyAttempts "too-many-attempts" TOO_MANY_REQUESTS "Too many attempts"
        "wait as long as Retry-After says";
    IssuerAway "issuer-away" SERVICE_UNAVAILABLE "The issuer of the identity cannot be reached"
        "try again in a moment; if it lasts, use a token of `longshore token create`";
    NotAllowed "not-allowed" FORBIDDEN "This is not in the caller's scope"
        "use a token or a user that may do this; the detail names what is missing";
    NotLocal "loopback-only" FORBIDDEN "The source takes requests from its own machine only"
        "send it from the machine that Longshore runs on, or configure a source with a key";
    UnknownSource "unknown-source" NOT_FOUND "There is no such source"
        "add the source to `sources` in the configuration, or correct the URL";
    UnknownTarget "unknown-target" NOT_FOUND "There is no such target"
        "GET /v1/targets lists the targets; a target in another pool is named pool/name";
    UnknownJob "unknown-job" NOT_FOUND "There is no such job"
        "GET /v1/jobs lists the jobs; very old ones are forgotten";
    AlreadyEnded "already-ended" CONFLICT "The job has ended"
        "`longshore job show <id>` or GET /v1/jobs/<id> tells how it ended";
    NotDead "not-dead" CONFLICT "The job is not among the dead"
        "GET /v1/jobs?state=dead lists those that can be replayed or discarded";
    AlreadyClosed "already-closed" CONFLICT "The dead job was replayed or discarded before"
        "GET /v1/jobs?state=dead lists those that still wait";
    NewerApplied "newer-applied" CONFLICT "A newer deploy of the same thing stands in the way"
        "to put the older one over it all the same, add --force (?force=true)";
    Unreadable "unreadable" CONFLICT "The dead letter cannot be replayed"
        "discard it; one of a newer version can be replayed once this server is of that version too";
    NotCancellable "not-cancellable" CONFLICT "It cannot be called off"
        "ask for the deploy again if it is still wanted";
    CalledOff "called-off" CONFLICT "The job is being called off"
        "deploy its image again if it is still wanted";
    NeedsNoApproval "needs-no-approval" CONFLICT "The job waits for no approval"
        "it goes on by itself: `longshore job show <id>` or GET /v1/jobs/<id> tells how it stands";
    NothingHeld "nothing-held" CONFLICT "Nothing is held on the target"
        "GET /v1/jobs?state=held lists what is held, and on which target";
    NotFound "not-found" NOT_FOUND "There is nothing at this path"
        "hooks are at /hooks/<source>, the API is at /v1/jobs, /v1/targets and /v1/events";
    MethodNotAllowed "method-not-allowed" METHOD_NOT_ALLOWED "The path does not take this method"
        "the header Allow names what this path takes; hooks take POST";
    TooSlow "too-slow" REQUEST_TIMEOUT "The body did not arrive in time"
        "send the request again";
    TooLarge "too-large" PAYLOAD_TOO_LARGE "The body is too large"
        "send at most 1 MiB; a hook needs only the image";
    EncodedBody "encoded-body" UNSUPPORTED_MEDIA_TYPE "The body is compressed or otherwise encoded"
        "send the body as it is, without Content-Encoding";
    TooManyRequests "too-many-requests" TOO_MANY_REQUESTS "There are too many requests"
        "wait as long as Retry-After says; `limits.clients` in the configuration sets how often one address may ask, and `limits.trusted_proxies` tells callers behind a proxy apart";
    TooManyStreams "too-many-streams" TOO_MANY_REQUESTS "There are too many streams of events"
        "close another stream first; `limits.streams_per_client` in the configuration sets how many one address may have";
    KeyReused "idempotency-key-reused" UNPROCESSABLE_ENTITY "The idempotency key belongs to another request"
        "send a new Idempotency-Key with a new request, and the same body with the same key";
    BadImage "bad-image" UNPROCESSABLE_ENTITY "The image cannot be used"
        "name the image with its tag or digest, as in registry.example.com/team/app:1.2";
    BadJob "bad-job" UNPROCESSABLE_ENTITY "The job cannot be used"
        "send {\"target\",\"image\"}, {\"target\",\"operation\"}, or an array of these";
    UnknownOperation "unknown-operation" UNPROCESSABLE_ENTITY "There is no such operation"
        "this version knows `set-image`, `deploy-stack`, `remove-stack`, `deploy-git`, `migrate`, `start`, `stop`, `restart`, `redeploy`, `rollback`, `prune-images` and `cancel`";
    WouldFail "would-fail" UNPROCESSABLE_ENTITY "It could not be carried out"
        "mend what the detail says, then ask again";
    Starting "starting" SERVICE_UNAVAILABLE "Longshore is starting"
        "try again in a moment";
    NoWorker "no-worker" SERVICE_UNAVAILABLE "No worker has ever served the target's pool"
        "start a worker whose configuration has a system in this pool; nothing was kept of this request";
    QueueFull "queue-full" SERVICE_UNAVAILABLE "The job queue is full"
        "wait until the workers have caught up, or start more of them; where the broker is away, bring it back";
    Busy "busy" SERVICE_UNAVAILABLE "Longshore has too much to do at once"
        "try again in a moment";
    Unavailable "unavailable" SERVICE_UNAVAILABLE "The job queue cannot take the job now"
        "try again; if it lasts, look at the broker and the log of this server";
    HistoryUnread "history-unread" SERVICE_UNAVAILABLE "The history cannot be read to its end now"
        "try again; if it lasts, look at the broker and the log of this server";
    BrokerAway "broker-away" SERVICE_UNAVAILABLE "The broker is away"
        "bring the broker back and try again; nothing of what it keeps is lost";
    NobodyAlive "no-worker-alive" SERVICE_UNAVAILABLE "No worker of the target's pool is running"
        "start a worker whose configuration has this target, or look at its log";
    NoAnswer "no-answer" SERVICE_UNAVAILABLE "No worker answered in time"
        "try again; if it lasts, look at the logs of the pool's workers";
    TargetUnreadable "target-unreadable" SERVICE_UNAVAILABLE "The worker could not look at the target"
        "look at the system that runs the target, and at the worker's log";
    NotDeployed "not-deployed" NOT_FOUND "The target is not on its system"
        "deploy it if it is not there yet, or mend its name in the workers' configuration";
    Internal "internal" INTERNAL_SERVER_ERROR "Longshore failed"
        "look at the log of this server";
}

/// One problem of one request.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    kind: Kind,
    detail: String,
    hint: Cow<'static, str>,
    /// Who was refused, where that is known; for the log, not for the caller.
    by: Option<String>,
    /// When to come back, where that is not the same for all of the kind.
    after: Option<Duration>,
}

/// What is said of a refusal in the log: beside an answer, not in it.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) kind: Kind,
    pub(crate) by: Option<String>,
}

impl Kind {
    /// The kind a slug names.
    pub(crate) fn of_slug(slug: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.slug() == slug)
    }

    /// A problem of this kind.
    pub(crate) fn with(self, detail: impl Into<String>) -> Problem {
        let detail: String = detail.into();
        let detail = match detail.char_indices().nth(LONGEST_DETAIL) {
            Some((end, _)) => format!("{}…", &detail[..end]),
            None => detail,
        };
        Problem { kind: self, detail, hint: Cow::Borrowed(self.hint()), by: None, after: None }
    }

    /// Whether the queue refused, which is logged with its cause where it happens.
    pub(crate) fn is_of_queue(self) -> bool {
        matches!(
            self,
            Kind::NoWorker | Kind::QueueFull | Kind::Unavailable | Kind::HistoryUnread | Kind::BrokerAway
        )
    }

    /// Whether it is logged where a request is answered, and nowhere else.
    pub(crate) fn is_told_here(self) -> bool {
        !self.is_of_queue() && !self.is_refusal() && self != Kind::TooManyRequests
    }

    /// Whether somebody was not let in, or not for this.
    pub(crate) fn is_refusal(self) -> bool {
        matches!(self.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            || self == Kind::TooManyAttempts
    }

    /// Seconds until it is worth trying again.
    fn retry_after(self) -> Option<&'static str> {
        match self {
            Kind::Starting | Kind::Busy | Kind::TooManyRequests | Kind::TooManyAttempts => Some("1"),
            Kind::TooManyStreams => Some("10"),
            Kind::Unavailable | Kind::HistoryUnread | Kind::BrokerAway | Kind::NoAnswer => Some("5"),
            Kind::NobodyAlive | Kind::TargetUnreadable => Some("10"),
            Kind::QueueFull => Some("10"),
            Kind::NoWorker => Some("30"),
            Kind::NotJson | Kind::BadQuery | Kind::MissingKey | Kind::WrongKey | Kind::MissingToken => None,
            Kind::IssuerAway => Some("5"),
            Kind::ExpiredToken | Kind::NotAllowed | Kind::WrongPassword | Kind::SessionEnded => None,
            Kind::RegistrationClosed | Kind::UserExists | Kind::BadUser => None,
            Kind::WrongToken | Kind::NotLocal | Kind::UnknownSource | Kind::UnknownTarget => None,
            Kind::UnknownJob | Kind::NotFound | Kind::MethodNotAllowed | Kind::TooSlow => None,
            Kind::TooLarge | Kind::EncodedBody => None,
            Kind::AlreadyEnded | Kind::NotDead | Kind::AlreadyClosed | Kind::NewerApplied => None,
            Kind::Unreadable | Kind::NotCancellable | Kind::NothingHeld | Kind::NeedsNoApproval => None,
            Kind::CalledOff | Kind::WouldFail | Kind::NotDeployed => None,
            Kind::KeyReused | Kind::BadImage | Kind::BadJob | Kind::UnknownOperation | Kind::Internal => None,
        }
    }
}

impl Problem {
    /// The same problem with a hint of its own.
    pub(crate) fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Problem {
        self.hint = hint.into();
        self
    }

    /// The same problem of somebody whose name is known.
    pub(crate) fn by(mut self, name: &str) -> Problem {
        self.by = Some(name.to_owned());
        self
    }

    #[cfg(test)]
    pub(crate) fn hint_text(&self) -> &str {
        &self.hint
    }

    /// The same problem, which is over after this time.
    pub(crate) fn after(mut self, wait: Duration) -> Problem {
        self.after = Some(wait);
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// How to mend it.
    pub(crate) fn hinted(&self) -> &str {
        &self.hint
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// What a sender is told when the queue did not take a job. The broker's own words stay in the log.
    pub(crate) fn of_queue(error: &QueueError) -> Problem {
        match error {
            QueueError::NoPool(pool) => Problem::no_worker(pool),
            QueueError::Full => Kind::QueueFull.with("the queue is full; the request was not taken"),
            QueueError::Unconfirmed { .. } => Kind::Unavailable
                .with("the queue did not confirm in time; sending the same request again is harmless"),
            QueueError::NobodyAlive(pool) => {
                Kind::NobodyAlive.with(format!("no worker of the pool `{pool}` is running"))
            }
            QueueError::NoAnswer { pool, .. } => {
                Kind::NoAnswer.with(format!("no worker of the pool `{pool}` answered in time"))
            }
            QueueError::Unavailable { .. } | QueueError::NotOurs | QueueError::Closed => {
                Kind::Unavailable.with("the queue cannot be reached; the request was not taken")
            }
            QueueError::Storage { .. } => Kind::Unavailable
                .with("the queue cannot write to its disk; the request was not taken")
                .hint("look whether the disk of its directory is full, and at the log of this server"),
            QueueError::InUse(_) | QueueError::Topology { .. } | QueueError::Settings(_) => {
                Kind::Unavailable.with("the queue failed; the request was not taken")
            }
        }
    }

    /// The same of a job for a target: which queue it is that is full.
    pub(crate) fn of_queue_for(target: &TargetName, error: &QueueError) -> Problem {
        if !matches!(error, QueueError::Full) {
            return Problem::of_queue(error);
        }
        let pool = target.pool();
        Kind::QueueFull.with(format!("the queue is full for the pool `{pool}`; the request was not taken"))
    }

    fn no_worker(pool: &PoolName) -> Problem {
        Kind::NoWorker.with(format!("no worker has ever served the pool `{pool}`"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        let body = api::Problem {
            type_url: format!("/problems/{}", self.kind.slug()),
            title: self.kind.title().to_owned(),
            status: status.as_u16(),
            detail: self.detail,
            hint: self.hint.into_owned(),
        };
        let mut response = (status, Json(body)).into_response();
        response.extensions_mut().insert(Refused { kind: self.kind, by: self.by });
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"longshore\""));
        }
        if self.kind == Kind::EncodedBody {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        // In whole seconds, and never so soon that it is too soon.
        let after = self.after.map(|wait| HeaderValue::from(wait.as_secs() + 1));
        let usual = || self.kind.retry_after().map(HeaderValue::from_static);
        if let Some(seconds) = after.or_else(usual) {
            headers.insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_told_apart_and_what_passes_says_when_to_come_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_slug(kind.slug()), Some(*kind));
            let response = kind.with("x").into_response();
            let retry = response.headers().contains_key(header::RETRY_AFTER);
            let passing = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
            assert_eq!(retry, passing.contains(&kind.status()), "{kind:?}");
        }
    }

    #[test]
    fn what_the_caller_sent_is_cut_short() {
        let problem = Kind::BadImage.with("é".repeat(1_000));
        assert_eq!(problem.detail().chars().count(), LONGEST_DETAIL + 1);
    }
}
