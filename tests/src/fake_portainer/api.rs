//! Who is asked.

use std::sync::Arc;

use serde_json::{Value, json};

use super::connections::{Answer, BROKEN, filter};
use super::door::in_known_letters;
use super::engine::nodes;
use super::stacks::{error, no_environment, no_stack};
use super::{ATTIC, COMPOSE, Family, SWARM, Shared, USERNAME};
use crate::fake_http::Request;

impl Shared {
    pub(super) async fn answer(self: &Arc<Self>, request: &Request) -> Answer {
        self.state().go_on();
        let path: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
        let Some(("api", path)) = path.split_first().map(|(first, rest)| (*first, rest)) else {
            return (404, "404 page not found\n".to_owned());
        };
        let family = self.state().family;
        if let Some(refusal) = self.closed(request, path) {
            return refusal;
        }
        if !knows(family, path) {
            return (404, "404 page not found\n".to_owned());
        }
        let request = &in_known_letters(request);
        match (request.method.as_str(), path) {
            ("GET", ["system", "status"] | ["status"]) => {
                return (200, json!({"Version": self.state().version, "InstanceID": "fake"}).to_string());
            }
            ("POST", ["auth"]) => return self.log_in(request),
            // Without the cookie of a login it dies of the call (recorded: "logout without cookie").
            ("POST", ["auth", "logout"]) => return (BROKEN, String::new()),
            _ => {}
        }
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        match (request.method.as_str(), path) {
            ("GET", ["users", "me"]) => {
                let role = if self.state().hidden.is_some() { 2 } else { 1 };
                (200, json!({"Id": 1, "Username": USERNAME, "Role": role}).to_string())
            }
            ("GET", ["settings"]) if self.state().hidden.is_some() => {
                error(403, "Access denied to resource", "Access denied to resource")
            }
            ("GET", ["settings"]) => (200, json!({"AuthenticationMethod": 1}).to_string()),
            ("POST", ["gitops", "repo", "file", "preview"]) => self.preview_git(request),
            ("GET", ["endpoints"]) => (200, environments(request.parameter("name")).to_string()),
            (_, ["endpoints", id, "docker", rest @ ..]) => {
                if let ["containers", _, "restart"] = rest {
                    let takes = self.state().restart_takes;
                    tokio::time::sleep(takes).await;
                }
                self.docker(id.parse().unwrap_or(0), rest, request)
            }
            ("GET", ["stacks"]) => self.list(request),
            // As it was until 2.19, and still is.
            ("POST", ["stacks"]) => {
                let kind = if request.parameter("type") == Some("1") { "swarm" } else { "standalone" };
                match request.parameter("method") {
                    Some("repository") => self.create_from_git(kind, request).await,
                    _ => self.create(kind, request).await,
                }
            }
            ("POST", ["stacks", "create", kind, "string"]) => self.create(kind, request).await,
            ("POST", ["stacks", "create", kind, "repository"]) => self.create_from_git(kind, request).await,
            ("DELETE", ["stacks", name]) if request.parameter("external") == Some("true") => {
                self.delete_external(name, request)
            }
            (method, ["stacks", id, rest @ ..]) => {
                let Ok(id) = id.parse() else {
                    return error(
                        400,
                        "Invalid stack identifier route variable",
                        "Strconv.Atoi: invalid syntax",
                    );
                };
                if !self.state().stacks.contains_key(&id) {
                    return no_stack(id);
                }
                if self.state().hides(id) {
                    return error(403, "Access denied to resource", "Access denied to resource");
                }
                match (method, rest) {
                    ("GET", []) => (200, self.state().show(id).to_string()),
                    ("GET", ["file"]) => {
                        let file = self.state().stacks.get(&id).map(|record| record.file.clone());
                        (200, json!({"StackFileContent": file}).to_string())
                    }
                    ("PUT", []) => self.update(id, request).await,
                    ("PUT", ["git", "redeploy"]) => self.redeploy_git(id, request).await,
                    ("POST", ["git"]) => self.set_git(id, request),
                    ("POST", ["migrate"]) => self.migrate(id, request),
                    ("POST", ["start"]) => self.set_running(id, true, request).await,
                    ("POST", ["stop"]) => self.set_running(id, false, request).await,
                    ("DELETE", []) => self.delete(id, request),
                    _ => (405, String::new()),
                }
            }
            _ => (404, "404 page not found\n".to_owned()),
        }
    }

    /// The filter by environment leaves swarm stacks out, and the one by name is not known, which gives all.
    fn list(&self, request: &Request) -> Answer {
        let state = self.state();
        let filters: Value =
            request.parameter("filters").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        if filters["EndpointID"].is_string() {
            let details = format!(
                "Json: cannot unmarshal {:?} into Go struct field stacks.stackListOperationFilters.EndpointID of type int",
                format!("{}}}", filters["EndpointID"])
            );
            return error(400, "Invalid query parameter: filters", &details);
        }
        let environment = filters["EndpointID"].as_u64();
        // What nobody gave to a user is not there for that user.
        let listed = state.stacks.iter().filter(|(id, record)| {
            !state.hides(**id)
                && environment.is_none_or(|environment| record.kind == 2 && record.environment == environment)
        });
        let all: Value = listed.map(|(id, _)| state.show(*id)).collect();
        (200, all.to_string())
    }

    fn docker(&self, environment: u64, path: &[&str], request: &Request) -> Answer {
        let mut state = self.state();
        let rollout = state.rollout;
        let label = filter(request, "label");
        let not_found = || (404, json!({"message": "page not found"}).to_string());
        let found = |told: Value| (200, told.to_string());
        match (request.method.as_str(), environment, path) {
            (_, 0 | 3 | 5.., _) => {
                no_environment("an environment with the specified identifier", environment)
            }
            // Its proxy has no word of its own for it (recorded: "engine down: proxy").
            (_, down, _) if state.engines_down.contains(&down) => (502, String::new()),
            ("GET", SWARM, ["info"]) => {
                found(json!({"Swarm": {"ControlAvailable": true, "Cluster": {"ID": "fakeswarm"}}}))
            }
            ("GET", _, ["info"]) => found(json!({"Swarm": {"ControlAvailable": false}})),
            ("GET", SWARM, ["services"]) => {
                let mut services = state.swarm.services(&label);
                if let Some(services) = services.as_array_mut() {
                    services.retain(|service| !state.hides_service(service));
                }
                found(services)
            }
            ("GET", SWARM, ["services", id]) => {
                let services = state.swarm.services(&[]);
                let it = services.as_array().into_iter().flatten().find(|service| service["ID"] == *id);
                it.cloned().map_or_else(not_found, found)
            }
            ("GET", SWARM, ["nodes"]) => found(nodes()),
            ("GET", SWARM, ["tasks"]) if !label.is_empty() => found(state.swarm.tasks_of(&label, rollout)),
            ("GET", SWARM, ["tasks"]) => {
                let current = !filter(request, "_up-to-date").is_empty();
                found(state.swarm.tasks(&filter(request, "service"), current, rollout))
            }
            ("GET", COMPOSE, ["services" | "nodes" | "tasks", ..]) => {
                let words = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to \
                             connect this node to swarm and try again.";
                (503, json!({"message": words}).to_string())
            }
            ("POST", SWARM, ["services", id, "update"]) => {
                let version = request.parameter("version").and_then(|version| version.parse().ok());
                match state.swarm.write(id, version.unwrap_or(0), &request.body) {
                    Ok(()) => found(json!({"Warnings": null})),
                    Err((status, words)) => (status, json!({"message": words}).to_string()),
                }
            }
            // The containers of a swarm's tasks bear no label of Compose.
            ("GET", SWARM, ["containers", "json"]) => found(json!([])),
            ("GET", SWARM, ["containers", id, "json"]) => {
                state.swarm.container(id).map_or_else(not_found, found)
            }
            ("GET", COMPOSE | ATTIC, ["containers", "json"]) => {
                found(state.compose(environment).list(&label))
            }
            ("GET", COMPOSE | ATTIC, ["containers", id, "json"]) => {
                state.compose(environment).show(id).map_or_else(not_found, found)
            }
            ("POST", COMPOSE | ATTIC, ["containers", id, "restart"])
                if state.compose(environment).restart(id) =>
            {
                (204, String::new())
            }
            ("GET", _, ["distribution", ..]) if state.registry_refuses.is_some() => {
                let words = "errors:\ndenied: requested access to the resource is denied\n\
                             unauthorized: authentication required\n";
                (state.registry_refuses.unwrap_or(401), json!({"message": words}).to_string())
            }
            ("GET", _, ["distribution", image @ .., "json"]) => match state.swarm.look_up(&image.join("/")) {
                Some(digest) => found(json!({"Descriptor": {"digest": digest}, "Platforms": []})),
                None => (404, json!({"message": "manifest unknown: manifest unknown"}).to_string()),
            },
            _ => not_found(),
        }
    }
}

/// All, or the one of that name.
fn environments(name: Option<&str>) -> Value {
    let all = [(SWARM, "production", 1), (COMPOSE, "office", 1), (3, "cluster", 5), (ATTIC, "attic", 1)];
    let asked = all.into_iter().filter(|(_, known, _)| name.is_none_or(|name| name == *known));
    asked
        .map(
            |(id, name, kind)| json!({"Id": id, "Name": name, "Type": kind, "Status": 1, "URL": "unix:///x"}),
        )
        .collect()
}

/// Whether a version has a route.
fn knows(family: Family, path: &[&str]) -> bool {
    match family {
        Family::Synchronous | Family::Asynchronous => true,
        Family::Old => !matches!(
            path,
            ["system", "status"] | ["users", "me"] | ["stacks", "create", ..] | ["gitops", ..]
        ),
        Family::First => {
            knows(Family::Old, path)
                && !matches!(path, ["stacks", _, "start" | "stop"] | ["stacks", _, "git", ..])
        }
    }
}
