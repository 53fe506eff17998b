//! Which environment and which stack are meant.

use std::time::{Duration, Instant};

use super::{
    PortainerStack,
    objects::{Environment, Stack, StackKind, normalized},
};
use crate::target::TargetError;

/// Numbers of environments change when one is made anew, so they are not believed for long.
const KNOWN_FOR: Duration = Duration::from_secs(30);

/// Where the stack of a target is, or is not.
pub(super) enum Where {
    Here(Box<Stack>),
    /// No stack of that name is to be seen in the environment.
    Nowhere(Environment),
}

impl super::Portainer {
    /// The environment that the configuration names, or the only one.
    pub(super) async fn environment(&self) -> Result<Environment, TargetError> {
        let mut known = self.known.lock().await;
        if let Some((at, environment)) = known.as_ref()
            && at.elapsed() < KNOWN_FOR
        {
            return Ok(environment.clone());
        }
        let all = self.client.environments().await?;
        let found = self.choose(&all)?;
        *known = Some((Instant::now(), found.clone()));
        Ok(found)
    }

    fn choose(&self, all: &[Environment]) -> Result<Environment, TargetError> {
        let names = || {
            let names: Vec<String> = all.iter().map(|one| format!("`{}`", one.name)).collect();
            if names.is_empty() { "none that these credentials may see".to_owned() } else { names.join(", ") }
        };
        let found = match &self.named {
            Some(named) => {
                let by_name = all.iter().find(|one| one.name == *named);
                let number = named.parse::<u64>().ok();
                let found = by_name.or_else(|| all.iter().find(|one| Some(one.id) == number));
                found.ok_or_else(|| TargetError::NotFound {
                    system: self.client.system().to_owned(),
                    what: format!("environment `{named}`; there is {}", names()),
                })?
            }
            None => match all {
                [only] => only,
                _ => {
                    let answer = format!("name one as `environment` of the system; there is {}", names());
                    return Err(self.refused("find the environment", answer));
                }
            },
        };
        if !found.is_docker() {
            let answer = format!("the environment `{}` has no Docker engine", found.name);
            return Err(self.refused("find the environment", answer));
        }
        Ok(found.clone())
    }

    pub(super) fn refused(&self, attempted: &'static str, answer: impl Into<String>) -> TargetError {
        TargetError::Refused { system: self.client.system().to_owned(), attempted, answer: answer.into() }
    }
}

impl PortainerStack {
    /// The stack of this target, as it is recorded.
    pub(super) async fn find(&self) -> Result<Where, TargetError> {
        let environment = self.portainer.environment().await?;
        let all = self.portainer.client.stacks().await?;
        let name = normalized(&self.name);
        let is_here = |stack: &&Stack| stack.environment == environment.id;
        let is_named = |stack: &&Stack| stack.name == self.name || normalized(&stack.name) == name;
        // A name goes first: one may be a number.
        let by_name = all.iter().filter(is_named).find(is_here);
        let number = self.name.parse::<u64>().ok();
        let found = by_name.or_else(|| all.iter().find(|stack| Some(stack.id) == number));
        match (found, all.iter().find(is_named)) {
            (Some(stack), _) if stack.environment == environment.id => {
                Ok(Where::Here(Box::new(stack.clone())))
            }
            (Some(elsewhere), _) | (None, Some(elsewhere)) => {
                Err(self.of_another(elsewhere, &environment).await)
            }
            (None, None) => Ok(Where::Nowhere(environment)),
        }
    }

    async fn of_another(&self, stack: &Stack, ours: &Environment) -> TargetError {
        let all = self.portainer.client.environments().await.unwrap_or_default();
        let theirs = all.iter().find(|one| one.id == stack.environment);
        let theirs = match theirs {
            Some(environment) => format!("the environment `{}`", environment.name),
            None => format!("an environment that is not there any more (number {})", stack.environment),
        };
        let Environment { name, .. } = ours;
        let answer = format!("the stack `{}` belongs to {theirs}, not to `{name}`", self.name);
        self.portainer.refused("find the stack", answer)
    }

    /// The same where it has to be there.
    pub(super) async fn found(&self) -> Result<Stack, TargetError> {
        match self.find().await? {
            Where::Here(stack) if stack.kind == StackKind::Kubernetes => Err(self
                .portainer
                .refused("find the stack", format!("the stack `{}` is one of Kubernetes", self.name))),
            Where::Here(stack) => Ok(*stack),
            Where::Nowhere(environment) => Err(TargetError::NotFound {
                system: self.portainer.client.system().to_owned(),
                what: format!(
                    "stack `{}` in the environment `{}` that these credentials may see",
                    self.name, environment.name
                ),
            }),
        }
    }
}
