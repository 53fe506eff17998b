//! What people do to a Portainer in a browser, or beside it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::connections::Answer;
use super::file::services;
use super::stacks::Deploy;
use super::{FakePortainer, SWARM, Shared, State};
use crate::fake_http::Request;

impl FakePortainer {
    /// From now on the stack is kept in git.
    pub fn keep_in_git(&self, stack: u64) {
        let git = json!({
            "URL": "https://git.example/shop.git", "ReferenceName": "refs/heads/main", "ConfigFilePath": "docker-compose.yml",
            "Authentication": {"Username": "robot", "Password": "of the robot"},
        });
        let file = self.file(stack);
        self.push_git("https://git.example/shop.git", &file, Some("of the robot"));
        self.change(stack, |record| record.git = git);
    }

    /// The same of a repository that anybody may read; `path` is that of the stack's file.
    pub fn keep_in_open_git(&self, stack: u64, url: &str, path: &str) {
        self.push_git(url, &self.file(stack), None);
        let git = json!({
            "URL": url, "ReferenceName": "", "ConfigFilePath": path, "Authentication": null,
        });
        self.change(stack, |record| record.git = git);
    }

    /// What a repository holds from now on, and with which password it is read, where it wants one.
    pub fn push_git(&self, url: &str, file: &str, password: Option<&str>) {
        let repository = (file.to_owned(), password.map(str::to_owned));
        self.shared.state().repositories.insert(url.to_owned(), repository);
    }

    /// Another file of a repository.
    pub fn push_beside(&self, url: &str, path: &str, content: &str) {
        let at = (url.to_owned(), path.to_owned());
        self.shared.state().beside.insert(at, content.to_owned());
    }

    /// How a stack is read from git, and when that is done without being asked.
    pub fn git(&self, stack: u64) -> (Value, Value) {
        let state = self.shared.state();
        let record = state.stacks.get(&stack);
        record.map(|record| (record.git.clone(), record.auto_update.clone())).unwrap_or_default()
    }

    /// The branch that a repository is cloned at where nobody names one.
    pub fn begin_git_at(&self, url: &str, branch: &str) {
        self.shared.state().branches.insert(url.to_owned(), branch.to_owned());
    }

    /// From now on whoever asks is no administrator, and sees all stacks but these.
    pub fn hide(&self, stacks: &[u64]) {
        self.shared.state().hidden = Some(stacks.iter().copied().collect());
    }

    /// Starts services on an engine itself, under the name of a stack that Portainer knows nothing of.
    pub fn start_beside(&self, environment: u64, stack: &str, file: &str) {
        let mut state = self.shared.state();
        let Ok(services) = services(file, &Value::Null) else { return };
        match environment {
            SWARM => _ = state.swarm.deploy(stack, &services, (false, true), false),
            _ => _ = state.compose(environment).deploy(stack, &services, true),
        }
    }

    /// Runs a container as somebody on the machine would with Compose: Portainer has no stack of it.
    pub fn run_by_hand(&self, environment: u64, project: &str, service: &str, image: &str) {
        self.shared.state().compose(environment).run(project, service, image);
    }

    /// Takes down what runs under a name, as somebody on the machine would.
    pub fn stop_by_hand(&self, environment: u64, stack: &str) {
        let mut state = self.shared.state();
        match environment {
            SWARM => state.swarm.remove(stack),
            _ => state.compose(environment).remove(stack),
        }
    }

    /// From now on the registry tells nothing to an engine that comes without a login, as those of forges do: the engine
    /// hands its status on, and Portainer, which has a login, deploys all the same.
    pub fn lock_registry(&self, status: u16) {
        self.shared.state().registry_refuses = Some(status);
    }

    /// The next images that Compose pulls do not come, as its registry has it.
    pub fn fail_next_pull(&self, why: &str) {
        self.shared.state().pull_fails = Some(why.to_owned());
    }

    /// From now on a container takes so long to be restarted.
    pub fn restart_slowly(&self, takes: Duration) {
        self.shared.state().restart_takes = takes;
    }

    /// From now on the stack's services that its file does not have are removed.
    pub fn set_prune(&self, stack: u64) {
        self.change(stack, |record| record.option = json!({"Prune": true}));
    }

    /// Gives a stack whose file is kept in Portainer a webhook, as the business edition can.
    pub fn give_webhook(&self, stack: u64, webhook: &str) {
        self.change(stack, |record| {
            webhook.clone_into(&mut record.webhook);
            record.auto_update = json!({"Interval": "", "Webhook": webhook});
        });
    }

    /// The webhook of a stack, and what else is done to it without being asked.
    pub fn webhook(&self, stack: u64) -> (String, Value) {
        let state = self.shared.state();
        let record = state.stacks.get(&stack);
        record.map(|record| (record.webhook.clone(), record.auto_update.clone())).unwrap_or_default()
    }

    /// Says that a stack is one of Kubernetes.
    pub fn make_kubernetes(&self, stack: u64) {
        self.change(stack, |record| record.kind = 3);
    }

    /// Sets the variables of a stack as somebody in the browser would.
    pub fn set_env(&self, stack: u64, env: Value) {
        self.change(stack, |record| record.env = env);
    }

    /// Writes a stack's file as somebody in the browser would who deploys nothing.
    pub fn put_file(&self, stack: u64, file: &str) {
        self.change(stack, |record| file.clone_into(&mut record.file));
    }

    /// Says that a stack is of another environment.
    pub fn move_to(&self, stack: u64, environment: u64) {
        self.change(stack, |record| record.environment = environment);
    }

    /// Deploys a stack's file as somebody in the browser would.
    pub fn deploy_by_hand(&self, stack: u64, file: &str) {
        self.put_file(stack, file);
        let mut state = self.shared.state();
        let Some(record) = state.stacks.get_mut(&stack) else { return };
        record.update_date += 1;
        let (text, env) = (file.to_owned(), record.env.clone());
        let _ = state.run(&Deploy { stack, text, env, prune: false, pull: true, afresh: false });
    }

    /// Somebody writes a stack's file in the very moment, with the stack's variables, and waits for the end of it.
    pub fn write_beside(&self, stack: u64, file: &str) {
        let (environment, env) = {
            let state = self.shared.state();
            let record = state.stacks.get(&stack);
            record.map(|record| (record.environment, record.env.clone())).unwrap_or_default()
        };
        let body = json!({"StackFileContent": file, "Env": env, "PullImage": false});
        self.ask_beside(environment, body, move |shared, request| async move {
            shared.update(stack, &request).await
        });
    }

    /// Somebody makes a stack in the very moment, and waits for the end of it.
    pub fn make_beside(&self, environment: u64, name: &str, file: &str) {
        let kind = if environment == SWARM { "swarm" } else { "standalone" };
        let body = json!({"Name": name, "SwarmID": "fakeswarm", "StackFileContent": file, "Env": []});
        self.ask_beside(environment, body, move |shared, request| async move {
            shared.create(kind, &request).await
        });
    }

    fn ask_beside<A: Future<Output = Answer> + Send + 'static>(
        &self,
        environment: u64,
        body: Value,
        ask: impl FnOnce(Arc<Shared>, Request) -> A + Send + 'static,
    ) {
        let query = vec![("endpointId".to_owned(), environment.to_string())];
        let (method, path, headers) = ("PUT".to_owned(), String::new(), Vec::new());
        let request = Request { method, path, query, headers, body };
        let shared = Arc::clone(&self.shared);
        if let Some(runtime) = &self.runtime {
            runtime.spawn(ask(shared, request));
        }
    }

    /// Whether a deploy is under way.
    pub fn is_deploying(&self) -> bool {
        self.shared.deploying.try_lock().is_err()
    }

    /// The engine of an environment does not answer from now on, or does so again.
    pub fn stop_engine(&self, environment: u64, is_down: bool) {
        let mut state = self.shared.state();
        if is_down {
            state.engines_down.insert(environment);
        } else {
            state.engines_down.remove(&environment);
        }
    }

    /// In the midst of the next deploy somebody else writes to a service.
    pub fn meddle_with_next_deploy(&self) {
        self.shared.state().meddled = true;
    }

    /// Says that nobody made an administrator within five minutes of its first start, or that one was made now.
    pub fn lack_administrator(&self, is_lacking: bool) {
        self.shared.state().lacks_administrator = is_lacking;
    }

    /// A backup begins, for which every write waits in vain; or it is done.
    pub fn back_up(&self, goes_on: bool) {
        self.shared.state().backs_up = goes_on;
    }

    /// A task of a service of the swarm comes down and is made anew: it had been there for so long, its image being
    /// pulled and its health check not passed, and had run for the last part of that.
    pub fn fall(&self, service: &str, there_for: Duration, ran_for: Duration) {
        self.shared.state().swarm.fall(service, (there_for, ran_for));
    }

    /// The services of the swarm, as its engine shows them.
    pub fn services(&self) -> Value {
        self.shared.state().swarm.services(&[])
    }

    /// Removes the record of a stack, and leaves what runs.
    pub fn forget(&self, stack: u64) {
        self.shared.state().stacks.remove(&stack);
    }

    /// From now on a rollout takes so long.
    pub fn roll_out_slowly(&self, takes: Duration) {
        self.shared.state().rollout = takes;
    }
}

impl State {
    /// Whether whoever asks does not see a stack.
    pub(super) fn hides(&self, stack: u64) -> bool {
        self.hidden.as_ref().is_some_and(|hidden| hidden.contains(&stack))
    }

    /// Whether whoever asks does not see a service, since it is of such a stack.
    pub(super) fn hides_service(&self, service: &Value) -> bool {
        let name = &service["Spec"]["Labels"]["com.docker.stack.namespace"];
        self.stacks.iter().any(|(id, record)| self.hides(*id) && *name == record.name.as_str())
    }
}
