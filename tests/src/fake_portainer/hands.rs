//! What people do to a Portainer in a browser, or beside it.

use std::time::Duration;

use serde_json::Value;

use super::stacks::Deploy;
use super::{FakePortainer, State};

impl FakePortainer {
    /// The branch that a repository is cloned at where nobody names one.
    pub fn begin_git_at(&self, url: &str, branch: &str) {
        self.shared.state().branches.insert(url.to_owned(), branch.to_owned());
    }

    /// From now on whoever asks is no administrator, and sees all stacks but these.
    pub fn hide(&self, stacks: &[u64]) {
        self.shared.state().hidden = Some(stacks.iter().copied().collect());
    }

    /// Runs a container as somebody on the machine would with Compose: Portainer has no stack of it.
    pub fn run_by_hand(&self, environment: u64, project: &str, service: &str, image: &str) {
        self.shared.state().compose(environment).run(project, service, image);
    }

    /// From now on the registry tells nothing to an engine that comes without a login, as those of forges do: the engine
    /// hands its status on, and Portainer, which has a login, deploys all the same.
    pub fn lock_registry(&self, status: u16) {
        self.shared.state().registry_refuses = Some(status);
    }

    /// From now on a container takes so long to be restarted.
    pub fn restart_slowly(&self, takes: Duration) {
        self.shared.state().restart_takes = takes;
    }

    /// From now on the stack's services that its file does not have are removed.
    pub fn set_prune(&self, stack: u64) {
        self.change(stack, |record| record.prune = true);
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
