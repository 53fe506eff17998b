//! The way to Kubernetes behind a Rancher: through Rancher's proxy, which changes nothing of what passes; and where that
//! is closed, for the workload alone, by the link to its object in Kubernetes. Never through the form that Rancher's own
//! API gives to workloads: whatever is written in that form loses its secrets for pulling, and more.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    answer::{NO_CLUSTER, Part, is_no_cluster, part, words},
    name::RancherWorkload,
    session::{Request as Asked, Session},
};
use crate::target::{
    TargetError,
    kubernetes::{
        client::{Request, Way},
        edit::merge_by_name,
    },
    wire::{Answer, Call, Failure},
};

/// The one kind of patch that is carried out here.
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// The way to one workload, and to what belongs to it.
pub(super) struct Behind {
    session: Arc<Session>,
    workload: RancherWorkload,
    /// The proxy was found closed to our reading of the workload: it is read by its link, until a write gets through.
    reads_are_closed: AtomicBool,
    /// The proxy was found closed to our last write. The next one tries it all the same: rights come late, and what
    /// stood before Rancher at a bad moment is gone again.
    writes_are_closed: AtomicBool,
}

#[async_trait]
impl Way for Behind {
    async fn send(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let named = &self.workload.cluster;
        let cluster = self.session.cluster(named).await.map_err(Failure::NotAsked)?;
        let sent = self.send_to(&cluster, request).await;
        if !sent.as_ref().is_err_and(is_of_no_cluster) {
            return sent;
        }
        self.session.forget(named);
        match self.session.cluster(named).await {
            // Nothing was written in a cluster that there is none of.
            Ok(now) if now != cluster => self.send_to(&now, request).await,
            Ok(_) | Err(_) => sent,
        }
    }
}

impl Behind {
    async fn send_to(&self, cluster: &str, request: &Request<'_>) -> Result<Answer, Failure> {
        let link = self.link(cluster, request);
        let reads_by_link = request.method == Method::GET && self.reads_are_closed.load(Ordering::Relaxed);
        if let Some(link) = link.as_deref().filter(|_| reads_by_link) {
            return self.by_link(link, request).await.and_then(|answer| self.read(answer, request));
        }
        let answer = self.proxied(cluster, request).await?;
        if !is_closed(&answer) {
            self.note_open(request);
            return self.read(answer, request);
        }
        match link {
            Some(link) => self.around(&link, answer, request).await,
            None if self.is_of_it(request) => Err(Failure::NotAsked(self.without_a_link(answer))),
            // Whoever asks for more than the workload makes do without.
            None if self.reads_are_closed.load(Ordering::Relaxed) => Err(Failure::NotAsked(self.closed())),
            None => self.read(answer, request),
        }
    }

    pub(super) fn new(session: Arc<Session>, workload: RancherWorkload) -> Behind {
        let [reads_are_closed, writes_are_closed] = Default::default();
        Behind { session, workload, reads_are_closed, writes_are_closed }
    }

    /// The proxy let a request of the workload itself through. Of what belongs to it that would say nothing: there are
    /// keys for pods alone.
    fn note_open(&self, request: &Request<'_>) {
        if request.method == Method::GET || !self.is_of_it(request) {
            return;
        }
        let were_closed =
            [&self.reads_are_closed, &self.writes_are_closed].map(|it| it.swap(false, Ordering::Relaxed));
        if were_closed.contains(&true) {
            tracing::info!(
                system = self.session.system(),
                workload = %self.workload,
                "Kubernetes' own API is open to this key again"
            );
        }
    }

    fn note_closed(&self, request: &Request<'_>) {
        let reads = request.method == Method::GET;
        let were_closed = if reads { &self.reads_are_closed } else { &self.writes_are_closed };
        if were_closed.swap(true, Ordering::Relaxed) {
            return;
        }
        let (system, workload) = (self.session.system(), &self.workload);
        if reads {
            tracing::info!(
                system,
                %workload,
                "Kubernetes' own API is closed to this key: the workload is asked by its link, and nothing is known of its \
                 pods; the next write tries it again"
            );
        } else {
            tracing::info!(
                system,
                %workload,
                "Kubernetes' own API takes no writes of this key: the workload is written by its link; the next write \
                 tries it again"
            );
        }
    }

    async fn proxied(&self, cluster: &str, request: &Request<'_>) -> Result<Answer, Failure> {
        let asked = Asked {
            method: request.method.clone(),
            path: format!("/k8s/clusters/{cluster}{}", request.path),
            query: &request.query,
            content_type: request.body.map(|(kind, _)| kind),
            body: request.body.map(|(_, body)| body),
            within: request.within,
        };
        self.session.send(&asked).await
    }

    /// What Rancher itself, or what stands before it, has to say. A write that may yet have been carried out is left
    /// to whoever reads it back.
    fn read(&self, answer: Answer, request: &Request<'_>) -> Result<Answer, Failure> {
        let is_settled =
            matches!(answer.status.as_u16(), 300..=407 | 410..=499) || request.method == Method::GET;
        let speaks = answer.body.trim() == "null"
            || !answer.status.is_success() && part(&answer) != Part::Kubernetes && is_settled;
        // A cluster that is not there takes no writes either.
        if speaks || !answer.status.is_success() && is_no_cluster(&words(&answer)) {
            return Err(Failure::NotAsked(self.meant(answer)));
        }
        Ok(answer)
    }

    fn meant(&self, answer: Answer) -> TargetError {
        let what = self.workload.workload.to_string();
        let call = Call::read("ask Kubernetes behind it", &what);
        match super::answer::json(self.session.system(), answer, call) {
            Err(error) => error,
            Ok(_) => TargetError::BadAnswer {
                system: self.session.system().to_owned(),
                attempted: call.attempted,
                answer: "a success without an object".to_owned(),
            },
        }
    }

    fn closed(&self) -> TargetError {
        let answer = "Kubernetes' own API is closed to this key".to_owned();
        TargetError::CredentialsRefused { system: self.session.system().to_owned(), answer }
    }

    /// What the proxy said, and what else could be tried.
    fn without_a_link(&self, refusal: Answer) -> TargetError {
        let error = self.meant(refusal);
        let TargetError::CredentialsRefused { system, answer } = &error else { return error };
        if self.workload.project.is_some() {
            return error;
        }
        let answer = format!(
            "{answer}; where only Kubernetes' own API is closed to it, name the workload with its project \
             (`c-xxxxx:p-xxxxx/…`)"
        );
        TargetError::CredentialsRefused { system: system.clone(), answer }
    }

    fn is_of_it(&self, request: &Request<'_>) -> bool {
        request.path == self.workload.workload.path()
    }

    /// Where Rancher links to the object in Kubernetes, for a request of the workload itself.
    fn link(&self, cluster: &str, request: &Request<'_>) -> Option<String> {
        let is_known = matches!(request.method, Method::GET | Method::PATCH) && self.is_of_it(request);
        let project = self.workload.project.as_deref().filter(|_| is_known)?;
        Some(format!("/v3/project/{cluster}:{project}/workloads/{}/yaml", self.workload.id()))
    }

    /// The proxy refused: the link may yet lead there. Where it is closed as well, what the proxy said counts.
    async fn around(&self, link: &str, refusal: Answer, request: &Request<'_>) -> Result<Answer, Failure> {
        let answer = self.by_link(link, request).await?;
        if answer.status.is_success() || part(&answer) == Part::Kubernetes && !is_closed(&answer) {
            self.note_closed(request);
            return self.read(answer, request);
        }
        match answer.status {
            // It may not be asked either: that is no news.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.read(refusal, request),
            StatusCode::NOT_FOUND => Err(Failure::NotAsked(self.meant(answer))),
            // Whatever else, the way is there, and may be free the next time.
            _ => self.read(answer, request),
        }
    }

    async fn by_link(&self, link: &str, request: &Request<'_>) -> Result<Answer, Failure> {
        let shown = self.session.send(&Asked::get(link)).await?;
        if request.method == Method::GET || !shown.status.is_success() {
            return Ok(shown);
        }
        let (Some((kind, patch)), Ok(mut object)) =
            (request.body, serde_json::from_str::<Value>(&shown.body))
        else {
            return Ok(shown);
        };
        if !object.is_object() {
            return Ok(shown);
        }
        for key in ["resourceVersion", "uid"] {
            let (expected, stands) = (&patch["metadata"][key], &object["metadata"][key]);
            if !expected.is_null() && expected != stands {
                return Ok(conflict());
            }
        }
        if kind != STRATEGIC {
            let attempted = "change the workload by its link";
            let why = format!("it takes no {kind}");
            let system = self.session.system().to_owned();
            return Err(Failure::NotAsked(TargetError::Declined { system, attempted, why }));
        }
        merge_by_name(&mut object, patch);
        // With the version that was read: whoever was faster is not overwritten.
        self.session.send(&Asked::put(link, &object)).await
    }
}

/// Whether a request was kept from Kubernetes, or Kubernetes from us. A policy that looked at the object is another
/// matter, and so is a workload that is not there.
fn is_closed(answer: &Answer) -> bool {
    match answer.status.as_u16() {
        403 => !words(answer).contains("denied the request"),
        404 => part(answer) == Part::Unknown,
        _ => false,
    }
}

fn conflict() -> Answer {
    let body = json!({"kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409});
    Answer { status: StatusCode::CONFLICT, body: body.to_string(), retry_after: None }
}

fn is_of_no_cluster(failure: &Failure) -> bool {
    matches!(failure, Failure::NotAsked(TargetError::NotFound { what, .. }) if what.starts_with(NO_CLUSTER))
}
