//! Every stack of an environment, be it a target or not, with what its main container was given.

use std::collections::BTreeMap;

use futures::future::join_all;
use proto::{
    TargetName,
    ask::{PortainerStackNumber, PortainerStackShown},
};
use serde_json::Value;

use super::{
    Portainer, PortainerStack,
    answer::Call,
    objects::{Environment, Stack, StackKind, Status},
    veil::veil,
};
use crate::target::TargetError;

/// Containers that are looked at closely for one list.
const MOST_SHOWN: usize = 40;

/// One thing that runs of a stack.
struct Part {
    stack: String,
    service: String,
    /// As its engine names it.
    name: String,
    image: String,
    env: Vec<String>,
    /// Of a container whose variables were not read yet.
    id: Option<String>,
}

impl Portainer {
    /// The stacks of this system's environment, or the one that is a target.
    pub(crate) async fn listing(
        &self,
        targets: &[(&TargetName, &PortainerStack)],
        only: Option<&TargetName>,
    ) -> Result<Vec<PortainerStackShown>, TargetError> {
        let environment = self.environment().await?;
        let all = self.client.stacks().await?;
        let target_of = |stack: &Stack| {
            let is_it =
                |it: &PortainerStack| it.pick(&all, environment.id).is_some_and(|it| it.id == stack.id);
            targets.iter().find(|(_, it)| is_it(it)).map(|(name, _)| (*name).clone())
        };
        let is_asked = |stack: &&Stack| {
            stack.environment == environment.id
                && only.is_none_or(|only| target_of(stack).as_ref() == Some(only))
        };
        let ours: Vec<&Stack> = all.iter().filter(is_asked).collect();
        let parts = self.parts(&environment, &ours).await?;
        let about = join_all(ours.iter().take(MOST_SHOWN).map(|stack| self.about(stack))).await;
        let mut about = about.into_iter();
        let mut listing = Vec::new();
        for (at, stack) in ours.into_iter().enumerate() {
            let of_it: Vec<&Part> = parts.iter().filter(|part| part.stack == stack.name).collect();
            let given = match main_of(stack, &of_it) {
                Some(main) if at < MOST_SHOWN => self.given_to(environment.id, main).await,
                Some(main) => main.env.clone(),
                None => Vec::new(),
            };
            let shown = self.shown((stack, &environment), &of_it, &given, target_of(stack));
            listing.push(PortainerStackShown { variables: about.next().unwrap_or_default(), ..shown });
        }
        Ok(listing)
    }

    fn shown(
        &self,
        (stack, environment): (&Stack, &Environment),
        parts: &[&Part],
        given: &[String],
        target: Option<TargetName>,
    ) -> PortainerStackShown {
        let mut images: Vec<String> = parts.iter().map(|part| part.image.clone()).collect();
        images.sort();
        images.dedup();
        let git = |key: &str| stack.git.as_ref()?[key].as_str().filter(|text| !text.is_empty());
        PortainerStackShown {
            system: self.client.system().to_owned(),
            environment_name: environment.name.clone(),
            number: PortainerStackNumber { environment: environment.id, stack: stack.id },
            name: stack.name.clone(),
            kind: kind(stack.kind).to_owned(),
            state: state(stack.status).to_owned(),
            repository: git("URL").map(without_login),
            reference: git("ReferenceName").map(str::to_owned),
            target,
            images,
            env: merged(stack.env.pairs(), given),
            variables: BTreeMap::new(),
        }
    }

    /// What runs of these stacks; what their kinds do not need is not asked for.
    async fn parts(&self, environment: &Environment, stacks: &[&Stack]) -> Result<Vec<Part>, TargetError> {
        let mut parts = Vec::new();
        let ask = |path: &'static str| async move {
            let call = Call::read("show what runs", path);
            let listed = self.client.docker(environment.id, (path, None), call).await?;
            Ok::<Vec<Value>, TargetError>(listed.as_array().cloned().unwrap_or_default())
        };
        if stacks.iter().any(|stack| stack.kind == StackKind::Swarm) {
            parts.extend(ask("services").await?.iter().filter_map(of_service));
        }
        if stacks.iter().any(|stack| stack.kind == StackKind::Compose) {
            parts.extend(ask("containers/json").await?.iter().filter_map(of_container));
        }
        Ok(parts)
    }

    /// The variables of a part; of a container they are in no list.
    async fn given_to(&self, environment: u64, part: &Part) -> Vec<String> {
        let Some(id) = &part.id else { return part.env.clone() };
        let path = format!("containers/{id}/json");
        let shown = self.client.docker(environment, (&path, None), Call::read("show what runs", &path)).await;
        // One that is gone meanwhile has none.
        shown.map(|shown| texts(&shown["Config"]["Env"])).unwrap_or_default()
    }
}

fn of_service(raw: &Value) -> Option<Part> {
    let spec = &raw["Spec"];
    let stack = spec["Labels"][StackKind::Swarm.label()].as_str()?.to_owned();
    let name = spec["Name"].as_str().unwrap_or_default().to_owned();
    let service = name.strip_prefix(&format!("{stack}_")).unwrap_or(&name).to_owned();
    let container = &spec["TaskTemplate"]["ContainerSpec"];
    let image = container["Image"].as_str().unwrap_or_default().to_owned();
    Some(Part { stack, service, name, image, env: texts(&container["Env"]), id: None })
}

fn of_container(raw: &Value) -> Option<Part> {
    let labels = &raw["Labels"];
    let stack = labels[StackKind::Compose.label()].as_str()?.to_owned();
    let service = labels["com.docker.compose.service"].as_str().unwrap_or_default().to_owned();
    let name = raw["Names"][0].as_str().unwrap_or_default().trim_start_matches('/').to_owned();
    let image = raw["Image"].as_str().unwrap_or_default().to_owned();
    Some(Part { stack, service, name, image, env: Vec::new(), id: raw["Id"].as_str().map(str::to_owned) })
}

/// The one that is named after its stack, else the first by its service's name.
fn main_of<'a>(stack: &Stack, parts: &[&'a Part]) -> Option<&'a Part> {
    let named = |part: &&&Part| part.name == stack.name || part.service == stack.name;
    let first = || parts.iter().min_by_key(|part| &part.service);
    parts.iter().find(named).or_else(first).copied()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The stack's own variables, and those of the container that it has not, without what may be secret.
fn merged<'a>(
    own: impl Iterator<Item = (&'a str, &'a str)>,
    given: &'a [String],
) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> =
        given.iter().filter_map(|line| line.split_once('=')).map(owned).collect();
    all.extend(own.map(owned));
    veil(&mut all);
    all
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn without_login(url: &str) -> String {
    match url.split_once("://").map(|(scheme, rest)| (scheme, rest.rsplit_once('@'))) {
        Some((scheme, Some((_, host)))) => format!("{scheme}://{host}"),
        Some((_, None)) | None => url.to_owned(),
    }
}

fn kind(kind: StackKind) -> &'static str {
    match kind {
        StackKind::Swarm => "swarm",
        StackKind::Compose => "compose",
        StackKind::Kubernetes => "kubernetes",
    }
}

fn state(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Inactive => "stopped",
        Status::Deploying => "deploying",
        Status::Error => "error",
        Status::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_merged_and_what_may_be_secret_is_hidden() {
        let given = [
            "PORT=9001",
            "COLOR=blue",
            "POWER_PASSWORD=sup3rs3cret",
            "DB=mysql://a:sup3rs3cret@db/x",
            "URL=https://u:p@h/x",
        ];
        let given = given.map(str::to_owned);
        let own = [("COLOR", "red"), ("api_token", "abc"), ("EMPTY_KEY", "")];
        let all = merged(own.into_iter(), &given);
        let told: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            told,
            [
                "COLOR=red",
                "DB=mysql://…@db/x",
                "EMPTY_KEY=",
                "PORT=9001",
                "POWER_PASSWORD=…",
                "URL=https://…@h/x",
                "api_token=…"
            ]
        );
        assert_eq!(without_login("https://a:b@git.example/x.git"), "https://git.example/x.git");
    }
}
