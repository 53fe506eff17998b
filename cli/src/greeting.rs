//! What `up` says first: where things are, and what to do next.

use std::net::SocketAddr;

use config::Node;

use crate::{arguments::Up, directory::Directory, server::url_at, typed};

/// What a new user needs to know.
#[derive(Debug)]
pub(crate) struct Greeting {
    public_url: Option<String>,
    /// The names of the hooks.
    sources: Vec<String>,
    /// Those that anybody may use who reaches the address.
    open: Vec<String>,
    /// Whether the built-in configuration runs.
    demo: bool,
}

impl Greeting {
    pub(crate) fn of(root: &Node, up: &Up) -> Greeting {
        let is_hook = |node: &Node| node.get("kind").and_then(Node::text) != Some("poll");
        let sources =
            || root.get("sources").into_iter().flat_map(Node::entries).filter(|(_, node)| is_hook(node));
        let says = |node: &Node, key: &str| node.get(key).and_then(Node::text) == Some("true");
        let open = sources().filter(|(_, node)| says(node, "open") && !says(node, "loopback_only"));
        Greeting {
            public_url: root.get("public_url").and_then(Node::text).map(str::to_owned),
            open: open.map(|(key, _)| key.text.clone()).collect(),
            sources: sources().map(|(key, _)| key.text.clone()).collect(),
            demo: up.files.config.is_empty(),
        }
    }

    /// The text, for a Longshore that listens on `address`.
    pub(crate) fn text(&self, address: SocketAddr, directory: &Directory) -> String {
        let local = url_at(address);
        let url = self.public_url.as_deref().map_or(local.as_str(), |url| url.trim_end_matches('/'));
        let mut text = format!(
            "Longshore is up. Ctrl-C stops it; what is unfinished goes on at the next start.\n\n  \
             page    {url}/\n  token   in {} (the page asks for it)\n",
            directory.token_path().display()
        );
        if self.demo {
            text.push_str(&format!(
                "\nTry a deploy, from another terminal:\n\n  \
                 curl -d '{{\"image\":\"demo:2\"}}' {local}/hooks/demo\n"
            ));
        } else {
            let hooks = self.sources.iter().map(|name| format!("  hook    {url}/hooks/{name}\n"));
            text.extend(hooks);
        }
        // The file `url` in the directory tells the other commands where this one listens.
        let (program, reach) = (typed::program(), typed::reach_of(directory.path()));
        text.push_str(&format!(
            "\nor with this command:\n\n  {program} deploy {} --wait{reach}\n  {program} watch{reach}\n",
            if self.demo { "demo --image demo:3" } else { "TARGET --image IMAGE" },
        ));
        text
    }

    /// A word of caution where anybody on the network may deploy.
    pub(crate) fn warning(&self, address: SocketAddr) -> Option<String> {
        if address.ip().is_loopback() || self.open.is_empty() {
            return None;
        }
        let names = self.open.join("`, `");
        Some(format!(
            "warning: whoever reaches {address} may deploy through `{names}`, which asks for no secret\n\
             hint: give it a `key_file`, or listen on 127.0.0.1"
        ))
    }
}

#[cfg(test)]
mod tests {
    use config::Document;

    use super::*;

    const SOURCES: &str = "sources:\n  any: {kind: plain, open: true}\n  here: {kind: plain, open: true, loopback_only: true}\n  mine: {kind: plain, key: k}\n";

    #[test]
    fn whoever_may_reach_an_open_source_is_warned_of() {
        let document = Document::parse("longshore.yaml", SOURCES).unwrap();
        let files = crate::arguments::OptionalFiles { config: vec!["longshore.yaml".into()] };
        let greeting = Greeting::of(document.root(), &Up { files, listen: None, data: None });
        assert_eq!(greeting.warning("127.0.0.1:8080".parse().unwrap()), None);
        let warning = greeting.warning("10.0.0.1:8080".parse().unwrap()).unwrap();
        assert!(warning.contains("10.0.0.1:8080 may deploy through `any`"), "{warning}");
    }
}
