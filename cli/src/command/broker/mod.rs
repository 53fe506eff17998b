//! `longshore broker`: what Longshore needs on its broker, and who may do what there.

mod declare;
mod users;

use config::{Faults, Node};

use crate::{
    arguments::{Broker, Setup},
    configuration::Reading,
    exit::Exit,
    failure::Failure,
    output::Output,
};

/// Carries one of them out.
pub(crate) async fn run(asked: Broker, output: Output) -> Result<Exit, Failure> {
    match asked {
        Broker::Setup(setup) if setup.print => print(&setup, output),
        Broker::Setup(setup) => declare::run(&setup, output).await,
    }
}

fn print(setup: &Setup, output: Output) -> Result<Exit, Failure> {
    let reading = Reading::of(&setup.files.config)?;
    let mut faults = Faults::new();
    let broker = Named::read(reading.root(), &mut faults);
    let Some(broker) = broker.filter(|_| faults.is_empty()) else { return Err(faults.into()) };
    broker.one_role_each(setup)?;
    let others = users::Others {
        publishers: broker.publishers(reading.root(), setup),
        subscribers: setup.subscriber.clone(),
        diun: setup.diun.clone(),
    };
    let steps = users::steps(&broker, &others);
    output.document(&steps, || users::script(&broker, &steps));
    Ok(Exit::Succeeded)
}

/// How a configuration calls its broker's parts. The password is not among it: whoever prints commands need not
/// have it.
#[derive(Debug)]
struct Named {
    user: String,
    /// Other names under which Longshore's own processes log in.
    logins: Vec<String>,
    vhost: String,
    prefix: String,
}

impl Named {
    fn read(root: &Node, faults: &mut Faults) -> Option<Named> {
        let Some(queue) = root.get("queue").filter(|queue| queue.is_map()) else {
            let node = root.get("queue").unwrap_or(root);
            let fault = node.fault("the configuration names no broker");
            faults.push(fault.hint("write `queue: {amqp: HOST, user: NAME, password_file: PATH}`"));
            return None;
        };
        let Some(user) = queue.get("user") else {
            faults.push(queue.fault("the key `user` is missing").hint("say who logs in to the broker"));
            return None;
        };
        let user: Option<String> = user.read(faults);
        let mut text = |key: &str, otherwise: &str| match queue.get(key) {
            Some(node) => node.read::<String>(faults),
            None => Some(otherwise.to_owned()),
        };
        let (vhost, prefix) = (text("vhost", "/"), text("prefix", "longshore"));
        let logins: Option<Vec<String>> =
            queue.get("logins").map_or(Some(Vec::new()), |node| node.read(faults));
        Some(Named { user: user?, logins: logins?, vhost: vhost?, prefix: prefix? })
    }

    /// The last rights that are set for a user are the ones it has: nobody gets two roles, Longshore's own user least of
    /// all. A name with a dash before it would be taken for an option.
    fn one_role_each(&self, setup: &Setup) -> Result<(), Failure> {
        let mut roles: Vec<&str> = [&self.user].into_iter().chain(&self.logins).map(String::as_str).collect();
        for name in setup.publisher.iter().chain(&setup.subscriber).chain(&setup.diun) {
            if name.starts_with('-') {
                let text = format!("`{name}` cannot be a user's name here");
                return Err(Failure::setup(text, "choose one that does not begin with a dash"));
            }
            if roles.contains(&name.as_str()) {
                let text = format!("the user `{name}` is named for two things");
                return Err(Failure::setup(
                    text,
                    "give each user of the broker one role, and each role its user",
                ));
            }
            roles.push(name);
        }
        Ok(())
    }

    /// Everyone who may publish and nothing else, once each.
    fn publishers(&self, root: &Node, setup: &Setup) -> Vec<String> {
        let listed = root.get("access").and_then(|access| access.get("amqp"));
        let listed = listed.into_iter().flat_map(Node::entries).map(|(key, _)| key.text.clone());
        let mut names: Vec<String> = listed.chain(setup.publisher.iter().cloned()).collect();
        let mut seen = std::collections::HashSet::new();
        // Longshore's own user, and Diun's, need more.
        names.retain(|name| {
            *name != self.user
                && !self.logins.contains(name)
                && Some(name) != setup.diun.as_ref()
                && seen.insert(name.clone())
        });
        names
    }
}
