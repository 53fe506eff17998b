//! The calls made to one Rancher: who asks, whom it trusts, how many at once, and for how long.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::{
    Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::{
    answer::{OF_ONE_CLUSTER, failed, json, not_rancher},
    name::ClusterName,
    pin::{Pin, PinError, authorities},
    settings::{Credentials, DEFAULT_AT_ONCE, RancherSettings},
};
use crate::target::{
    CALL_TIMEOUT, TargetError,
    certificates::is_of_certificates,
    findings::Findings,
    web::{self, Trust},
    wire::{Answer, Call, Failure, Places, answer_to, is_html},
};

/// Rancher makes its certificate for a name when it is first asked under it: that one connection may fail.
const FIRST_CONTACT: Duration = Duration::from_millis(500);

/// The calls to one Rancher, so many at once.
pub(super) struct Session {
    system: String,
    url: String,
    credentials: Credentials,
    trust: Trusted,
    /// Made by the first call: authorities may have to be fetched.
    http: OnceCell<reqwest::Client>,
    places: Places,
    /// Ids of clusters by their names.
    clusters: Mutex<HashMap<String, String>>,
}

/// What settings say of certificates.
struct Trusted {
    authorities: Option<String>,
    pin: Option<Pin>,
    insecure: bool,
}

/// A request less who asks.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// Below the address, its query included where there is one.
    pub(super) path: String,
    /// What is added to the query.
    pub(super) query: &'a [(&'static str, String)],
    pub(super) content_type: Option<&'a str>,
    pub(super) body: Option<&'a Value>,
    pub(super) within: Duration,
}

impl<'a> Request<'a> {
    pub(super) fn get(path: impl Into<String>) -> Request<'a> {
        let (content_type, body) = (None, None);
        Request {
            method: Method::GET,
            path: path.into(),
            query: &[],
            content_type,
            body,
            within: CALL_TIMEOUT,
        }
    }

    pub(super) fn put(path: impl Into<String>, body: &'a Value) -> Request<'a> {
        let content_type = Some("application/json");
        Request { method: Method::PUT, content_type, body: Some(body), ..Request::get(path) }
    }
}

impl Session {
    /// Calls at the Rancher that messages call `system`. Nothing is connected yet.
    pub(super) fn new(system: &str, settings: &RancherSettings) -> Result<Session, TargetError> {
        let unusable = |source: Box<dyn std::error::Error + Send + Sync>| TargetError::Unreachable {
            system: system.to_owned(),
            source,
        };
        let credentials = settings.credentials().map_err(|wrong| unusable(wrong.into()))?;
        let places = Places::new(settings.at_once.unwrap_or(DEFAULT_AT_ONCE));
        Ok(Session {
            system: system.to_owned(),
            url: settings.url.as_str().to_owned(),
            credentials,
            trust: Trusted {
                authorities: settings.ca.clone(),
                pin: settings.ca_sha256,
                insecure: settings.insecure_tls.unwrap_or_default(),
            },
            http: OnceCell::new(),
            places: places.map_err(|error| unusable(error.into()))?,
            clusters: Mutex::default(),
        })
    }

    pub(super) fn system(&self) -> &str {
        &self.system
    }

    /// What `check --connect` begins with.
    pub(super) fn findings(&self) -> Findings {
        Findings::at(&self.url, self.trust.insecure)
    }

    /// What our key is called.
    pub(super) fn key(&self) -> &str {
        &self.credentials.name
    }

    /// Asks, and takes a success with JSON that is something.
    pub(super) async fn ask(&self, request: Request<'_>, call: Call<'_>) -> Result<Value, TargetError> {
        match self.send(&request).await {
            Ok(answer) => json(&self.system, answer, call),
            Err(failure) => Err(failed(&self.system, failure, call)),
        }
    }

    /// Asks, and takes whatever comes.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let _place = self.places.take(&self.system).await.map_err(Failure::NotAsked)?;
        let http = self.http().await?;
        let built = || {
            let mut built = self.request(http, request.method.clone(), &request.path, request.within);
            built = built.header(AUTHORIZATION, self.credentials.header.clone());
            if !request.query.is_empty() {
                built = built.query(request.query);
            }
            if let Some(body) = request.body {
                built = built.body(body.to_string());
            }
            match request.content_type {
                Some(kind) => built.header(CONTENT_TYPE, kind),
                None => built,
            }
        };
        match answer_to(built()).await {
            // Nothing was sent: it may be sent again, whatever it is.
            Err(Failure::NotConnected(error)) if is_of_certificates(&*error) => {
                tokio::time::sleep(FIRST_CONTACT).await;
                answer_to(built()).await
            }
            other => other,
        }
    }

    fn request(
        &self,
        http: &reqwest::Client,
        method: Method,
        path: &str,
        within: Duration,
    ) -> reqwest::RequestBuilder {
        let request = http.request(method, format!("{}{path}", self.url)).timeout(within);
        // What is called a browser, or asks for anything, gets web pages.
        request.header(ACCEPT, "application/json")
    }

    async fn http(&self) -> Result<&reqwest::Client, Failure> {
        let made = self.http.get_or_try_init(async || {
            let Trusted { authorities, pin, insecure } = &self.trust;
            let fetched = match pin {
                Some(pin) => Some(self.pinned(pin).await?),
                None => None,
            };
            let trusted = fetched.as_deref().or(authorities.as_deref());
            web::client(Trust::of(&self.url, trusted, *insecure), None).map_err(Failure::NotConnected)
        });
        made.await
    }

    /// The authorities that Rancher shows, where they are those that were pinned. Our key is not sent to whoever
    /// answers this.
    async fn pinned(&self, pin: &Pin) -> Result<String, Failure> {
        let anyone = web::client(Trust::Anyone, None).map_err(Failure::NotConnected)?;
        let mut answer = None;
        for path in ["/v3/settings/cacerts", "/cacerts"] {
            let got = answer_to(self.request(&anyone, Method::GET, path, CALL_TIMEOUT)).await?;
            if got.status.is_success() {
                answer = Some(got);
                break;
            }
            answer.get_or_insert(got);
        }
        let call = Call::read("show its authorities", "setting `cacerts`");
        let answer = answer.ok_or_else(|| Failure::Nonsense(String::new()))?;
        if !answer.status.is_success() {
            return Err(Failure::NotAsked(failed(&self.system, Failure::Answered(answer), call)));
        }
        if is_html(&answer.body) {
            return Err(Failure::NotAsked(not_rancher(&self.system, call.attempted)));
        }
        let system = self.system.clone();
        pin.trusted(&authorities(&answer.body)).map_err(|why| {
            Failure::NotAsked(match why {
                PinError::Other { .. } => TargetError::Untrusted { system, why: why.to_string() },
                // As while it starts for the first time.
                PinError::None => TargetError::Unreachable { system, source: Box::new(why) },
            })
        })
    }

    /// The id of a cluster.
    pub(super) async fn cluster(&self, named: &ClusterName) -> Result<String, TargetError> {
        let name = match named {
            ClusterName::Id(id) => return Ok(id.clone()),
            ClusterName::Name(name) => name,
        };
        let known = |clusters: &Mutex<HashMap<String, String>>| {
            clusters.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
        };
        if let Some(id) = known(&self.clusters) {
            return Ok(id);
        }
        let id = self.found(name).await?;
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        clusters.insert(name.clone(), id.clone());
        Ok(id)
    }

    /// Forgets the id of a cluster that there is none of any more: one may have been made anew under its name.
    pub(super) fn forget(&self, named: &ClusterName) {
        if let ClusterName::Name(name) = named {
            self.clusters.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
    }

    /// Rancher overlooks filters that it does not know: what is listed has to be looked at.
    async fn found(&self, name: &str) -> Result<String, TargetError> {
        let what = format!("cluster `{name}`");
        let call = Call::read("list the clusters", &what);
        let query: String = form_encoded(name);
        let mut next = Some(format!("/v3/clusters?name={query}"));
        let (mut found, mut others) = (Vec::new(), Vec::new());
        while let Some(path) = next.take() {
            let listed = match self.ask(Request::get(path), call).await {
                Err(TargetError::CredentialsRefused { system, answer })
                    if answer.starts_with(OF_ONE_CLUSTER) =>
                {
                    let answer =
                        format!("{answer}; name the cluster by its id (`c-xxxxx`) instead of `{name}`");
                    return Err(TargetError::CredentialsRefused { system, answer });
                }
                other => other?,
            };
            for cluster in listed["data"].as_array().into_iter().flatten() {
                match (cluster["name"].as_str(), cluster["id"].as_str()) {
                    (Some(one), Some(id)) if one == name => found.push(id.to_owned()),
                    (Some(one), Some(id)) => others.push(format!("`{one}` ({id})")),
                    (None, _) | (_, None) => {}
                }
            }
            next = self.below(listed["pagination"]["next"].as_str());
        }
        match found.as_slice() {
            [id] => Ok(id.clone()),
            [] if others.is_empty() => Err(TargetError::NotFound {
                system: self.system.clone(),
                what: format!("{what} for this key"),
            }),
            [] => {
                let what = format!("{what}; there is {}", others.join(", "));
                Err(TargetError::NotFound { system: self.system.clone(), what })
            }
            several => {
                let answer =
                    format!("several are called `{name}`; name one by its id: {}", several.join(", "));
                Err(TargetError::Refused { system: self.system.clone(), attempted: call.attempted, answer })
            }
        }
    }

    /// The path of a link below our own address; none where it leads elsewhere.
    fn below(&self, link: Option<&str>) -> Option<String> {
        let url = reqwest::Url::parse(link?).ok()?;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let prefix = reqwest::Url::parse(&self.url).ok()?.path().trim_end_matches('/').to_owned();
        Some(format!("{}{query}", url.path().strip_prefix(&prefix)?))
    }
}

fn form_encoded(text: &str) -> String {
    reqwest::Url::parse_with_params("http://x", [("n", text)])
        .ok()
        .and_then(|url| url.query()?.strip_prefix("n=").map(str::to_owned))
        .unwrap_or_default()
}
