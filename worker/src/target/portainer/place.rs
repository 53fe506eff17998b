//! Which environment and which stack are meant.

use std::time::{Duration, Instant};

use proto::{TargetName, ask::PortainerStackNumber};

use super::{
    PortainerStack, PortainerUrl,
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

/// `#5` is a number and nothing else; `5` may be a name as well.
fn name_or_number(text: &str) -> (Option<&str>, Option<u64>) {
    match text.strip_prefix('#').map(str::parse) {
        Some(Ok(number)) => (None, Some(number)),
        Some(Err(_)) | None => (Some(text), text.parse().ok()),
    }
}

fn is_called(stack: &Stack, name: &str) -> bool {
    stack.name == name || normalized(&stack.name) == normalized(name)
}

impl super::Portainer {
    /// Whether it is the one at this address.
    pub(crate) fn is_at(&self, url: &PortainerUrl) -> bool {
        self.client.is_at(url)
    }

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

    /// Which of the targets each of these stacks is.
    pub(crate) async fn which_are(
        &self,
        sought: &[PortainerStackNumber],
        targets: &[(&TargetName, &PortainerStack)],
    ) -> Result<Vec<Option<TargetName>>, TargetError> {
        let environment = match self.environment().await {
            Ok(environment) => environment,
            // Without its environment, no target of it is anything.
            Err(
                TargetError::Refused { .. }
                | TargetError::Declined { .. }
                | TargetError::OtherServer { .. }
                | TargetError::NotFound { .. },
            ) => {
                return Ok(vec![None; sought.len()]);
            }
            Err(error) => return Err(error),
        };
        let all = self.client.stacks().await?;
        let known: Vec<(&TargetName, &Stack)> =
            targets.iter().filter_map(|(name, it)| Some((*name, it.pick(&all, environment.id)?))).collect();
        let target_of = |one: &PortainerStackNumber| {
            let is_it = |stack: &Stack| {
                (stack.id, stack.environment) == (one.stack, one.environment)
                    && stack.environment == environment.id
            };
            known.iter().find(|(_, stack)| is_it(stack)).map(|(name, _)| (*name).clone())
        };
        Ok(sought.iter().map(target_of).collect())
    }

    fn choose(&self, all: &[Environment]) -> Result<Environment, TargetError> {
        let names = || {
            let names: Vec<String> = all.iter().map(|one| format!("`{}`", one.name)).collect();
            if names.is_empty() { "none that these credentials may see".to_owned() } else { names.join(", ") }
        };
        let found = match &self.named {
            Some(named) => {
                let (name, number) = name_or_number(named);
                let by_name = all.iter().find(|one| name == Some(&*one.name));
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
                    return Err(self.refused("use an environment", answer));
                }
            },
        };
        if !found.is_docker() {
            let answer = format!("the environment `{}` has no Docker engine", found.name);
            return Err(self.refused("use an environment", answer));
        }
        Ok(found.clone())
    }

    /// Our own refusal: by it, nothing was touched.
    pub(super) fn refused(&self, attempted: &'static str, why: impl Into<String>) -> TargetError {
        TargetError::Declined { system: self.client.system().to_owned(), attempted, why: why.into() }
    }
}

impl PortainerStack {
    /// The stack of this target, as it is recorded.
    pub(super) async fn find(&self) -> Result<Where, TargetError> {
        let environment = self.portainer.environment().await?;
        let all = self.portainer.client.stacks().await?;
        self.find_among(&all, environment).await
    }

    /// The same, looked for together with all who watch.
    async fn find_watching(&self) -> Result<Where, TargetError> {
        let environment = self.portainer.environment().await?;
        let client = &self.portainer.client;
        let all = client.lookout().stacks(client).await?;
        self.find_among(&all, environment).await
    }

    async fn find_among(&self, all: &[Stack], environment: Environment) -> Result<Where, TargetError> {
        self.refuse_twins(all, &environment)?;
        match self.pick(all, environment.id) {
            Some(stack) if stack.environment == environment.id => {
                self.note_variables(&stack.env);
                Ok(Where::Here(Box::new(stack.clone())))
            }
            Some(elsewhere) => Err(self.of_another(elsewhere, &environment).await),
            None => Ok(Where::Nowhere(environment)),
        }
    }

    /// Two that were made at once are two records of one stack to the engine, and each write of one takes away what the
    /// other brought.
    fn refuse_twins(&self, all: &[Stack], environment: &Environment) -> Result<(), TargetError> {
        let (Some(name), _) = name_or_number(&self.name) else { return Ok(()) };
        let twins: Vec<&Stack> = all
            .iter()
            .filter(|one| one.environment == environment.id && one.name == normalized(name))
            .collect();
        if twins.len() < 2 {
            return Ok(());
        }
        let numbers: Vec<String> = twins.iter().map(|one| one.id.to_string()).collect();
        let answer = format!(
            "Portainer has {} stacks `{}` in the environment `{}`, which are one to its engine (numbers {}): they were made at \
             the same moment; write the number of the one that is meant into the target, as in `stack: '#{}'`",
            twins.len(),
            normalized(name),
            environment.name,
            numbers.join(", "),
            twins[0].id
        );
        Err(self.portainer.refused("use the stack", answer))
    }

    /// The one that is meant, or one of that name elsewhere. A name goes first: one may be a number.
    pub(super) fn pick<'a>(&self, all: &'a [Stack], environment: u64) -> Option<&'a Stack> {
        let (name, number) = name_or_number(&self.name);
        let is_named = |stack: &&Stack| name.is_some_and(|name| is_called(stack, name));
        let by_name = all.iter().filter(is_named).find(|stack| stack.environment == environment);
        let by_number = || all.iter().find(|stack| Some(stack.id) == number);
        by_name.or_else(by_number).or_else(|| all.iter().find(is_named))
    }

    /// The number that the target names its stack by, where it can be nothing else.
    pub(super) fn own_number(&self) -> Option<u64> {
        match name_or_number(&self.name) {
            (None, number) => number,
            (Some(_), _) => None,
        }
    }

    async fn of_another(&self, stack: &Stack, ours: &Environment) -> TargetError {
        let all = self.portainer.client.environments().await.unwrap_or_default();
        let theirs = all.iter().find(|one| one.id == stack.environment);
        let (theirs, mend) = match theirs {
            Some(environment) => (
                format!("the environment `{}`", environment.name),
                "; declare the target on a system with that `environment`",
            ),
            None => (
                format!("an environment that is not there any more (number {})", stack.environment),
                "; move or remove it in Portainer",
            ),
        };
        let Environment { name, .. } = ours;
        let answer = format!("the stack `{}` belongs to {theirs}, not to `{name}`{mend}", self.name);
        self.portainer.refused("use the stack", answer)
    }

    /// The same where it has to be there.
    pub(super) async fn found(&self) -> Result<Stack, TargetError> {
        self.there(self.find().await?)
    }

    /// The same, looked for together with all who watch.
    pub(super) async fn found_watching(&self) -> Result<Stack, TargetError> {
        self.there(self.find_watching().await?)
    }

    fn there(&self, found: Where) -> Result<Stack, TargetError> {
        match found {
            Where::Here(stack) if stack.kind == StackKind::Kubernetes => Err(self
                .portainer
                .refused("use the stack", format!("the stack `{}` is one of Kubernetes", self.name))),
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
