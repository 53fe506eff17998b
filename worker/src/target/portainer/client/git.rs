//! The calls for stacks that are kept in git. All of them replace everything: what is left out is emptied, credentials
//! included.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    super::{
        answer::{Answer, Failure},
        objects::{Env, Stack},
    },
    Client, Request,
    calls::DEPLOY_WITHIN,
};

/// All that Portainer keeps of how a stack is read from git.
pub(in super::super) struct GitUpdate<'a> {
    /// The whole reference; empty for the repository's own.
    pub(in super::super) reference: &'a str,
    /// User and password. With an empty password the stored one is used.
    pub(in super::super) login: Option<(&'a str, &'a str)>,
    pub(in super::super) env: &'a Env,
    pub(in super::super) skip_tls: bool,
    pub(in super::super) auto_update: Value,
}

impl GitUpdate<'_> {
    fn body(&self, stack: &Stack) -> Value {
        let (username, password) = self.login.unwrap_or_default();
        json!({
            "RepositoryReferenceName": self.reference,
            // Without it, what is stored is deleted, and the repository asked as nobody.
            "RepositoryAuthentication": self.login.is_some(),
            "RepositoryUsername": username,
            "RepositoryPassword": password,
            "Env": self.env.to_json(),
            "Prune": stack.prune,
            "TLSSkipVerify": self.skip_tls,
        })
    }
}

impl Client {
    /// Makes a stack of a repository. `swarm`: the number of the swarm that it is for, where it is for one.
    pub(in super::super) async fn create_from_git(
        &self,
        environment: u64,
        swarm: Option<&str>,
        mut body: Value,
    ) -> Result<(), Failure> {
        // An older name of the same, which 2.0 knows alone.
        body["ComposeFilePathInRepository"] = body["ComposeFile"].clone();
        let (kind, number) = match swarm {
            Some(swarm) => {
                body["SwarmID"] = json!(swarm);
                ("swarm", 1)
            }
            None => ("standalone", 2),
        };
        self.make((kind, number, "repository"), environment, &body).await
    }

    /// Changes how a stack is read from git, and deploys nothing.
    pub(in super::super) async fn set_git(
        &self,
        stack: &Stack,
        update: &GitUpdate<'_>,
    ) -> Result<(), Failure> {
        let mut body = update.body(stack);
        body["AutoUpdate"] = update.auto_update.clone();
        let request = Request::new(Method::POST, format!("/stacks/{}/git", stack.id))
            .of(stack)
            .query("endpointId", stack.environment)
            .body(&body)
            .within(DEPLOY_WITHIN);
        self.send(&request).await.and_then(Answer::json).map(drop)
    }

    /// Pulls a stack that is kept in git and deploys it again.
    pub(in super::super) async fn redeploy_git(
        &self,
        stack: &Stack,
        update: &GitUpdate<'_>,
    ) -> Result<(), Failure> {
        let mut body = update.body(stack);
        body["PullImage"] = json!(true);
        body["RepullImageAndRedeploy"] = json!(true);
        let request = Request::new(Method::PUT, format!("/stacks/{}/git/redeploy", stack.id))
            .of(stack)
            .query("endpointId", stack.environment)
            .body(&body)
            .within(DEPLOY_WITHIN);
        self.send(&request).await.and_then(Answer::json).map(drop)
    }

    /// A file of a repository that is read without a login. Known from 2.17 on.
    pub(in super::super) async fn file_in_git(&self, git: &Value, file: &str) -> Result<String, Failure> {
        let named = git["ReferenceName"].as_str().unwrap_or_default();
        let body = json!({
            "repository": git["URL"],
            // Without one, this call alone takes `main` instead of what the repository itself begins at.
            "reference": if named.is_empty() { "HEAD" } else { named },
            "targetFile": file,
            "tlsSkipVerify": git["TLSSkipVerify"] == true,
        });
        let request = Request::new(Method::POST, "/gitops/repo/file/preview").body(&body);
        let answer = self.send(&request).await.and_then(Answer::json)?;
        Ok(answer["FileContent"].as_str().unwrap_or_default().to_owned())
    }
}
