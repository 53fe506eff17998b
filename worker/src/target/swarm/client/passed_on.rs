//! Questions of others that are passed on to the engine as they are.

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;

use super::Client;
use crate::target::{
    TargetError,
    swarm::answer::{Call, Failure},
};

/// What the engine answered, whatever that is.
pub(in crate::target::swarm) struct Answer {
    pub(in crate::target::swarm) status: StatusCode,
    pub(in crate::target::swarm) headers: HeaderMap,
    pub(in crate::target::swarm) body: Vec<u8>,
}

impl Client {
    /// Asks what stands at `path`, with its query, from the root of the engine on.
    pub(in crate::target::swarm) async fn pass_on(
        &self,
        head: bool,
        path: &str,
    ) -> Result<Answer, TargetError> {
        let call = Call { system: &self.system, attempted: "answer", writes: false, what: path };
        let mut session = self.session().await?;
        let url = session.url(&[]).map_err(|failure| failure.of(call))?;
        let url = url.join(path).map_err(|error| Failure::NotConnected(error.into()).of(call))?;
        let request = session.http.request(if head { Method::HEAD } else { Method::GET }, url);
        let answer = async {
            let response = request.send().await?;
            let (status, headers) = (response.status(), response.headers().clone());
            Ok::<_, reqwest::Error>(Answer { status, headers, body: response.bytes().await?.to_vec() })
        };
        let answer = answer.await;
        session.note(answer).map_err(|failure| failure.of(call))
    }

    /// A config object by its id or name; none where there is none.
    pub(in crate::target::swarm) async fn config(&self, id: &str) -> Result<Option<Value>, TargetError> {
        let call =
            Call { system: &self.system, attempted: "show the config", writes: false, what: "configs" };
        match self.get(&["configs", id], None).await? {
            Ok(config) => Ok(Some(config)),
            Err(Failure::Answered { status: 404, .. }) => Ok(None),
            Err(failure) => Err(failure.of(call)),
        }
    }

    /// What a network is called; none where it is gone.
    pub(in crate::target::swarm) async fn network_name(
        &self,
        id: &str,
    ) -> Result<Option<String>, TargetError> {
        let call =
            Call { system: &self.system, attempted: "show the network", writes: false, what: "networks" };
        // Lists have only those of the engine itself.
        match self.get(&["networks", id], None).await? {
            Ok(network) => Ok(network["Name"].as_str().map(str::to_owned)),
            Err(Failure::Answered { status: 404, .. }) => Ok(None),
            Err(failure) => Err(failure.of(call)),
        }
    }
}
