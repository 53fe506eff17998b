//! What the docker command reads of a stack's file.

use config::Document;
use serde_json::Value;

/// A service of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileService {
    pub(super) name: String,
    pub(super) image: String,
    /// The file names no image: Compose makes one and calls it after the service, and a swarm refuses it.
    pub(super) is_built: bool,
    /// What an engine does when an update fails.
    pub(super) rolls_back: bool,
}

/// The external network that no engine has.
const NO_NETWORK: &str = "nonet";

/// The services of a file, variables filled in.
///
/// # Errors
/// The docker command's words.
pub(super) fn services(text: &str, env: &Value) -> Result<Vec<FileService>, String> {
    let document = Document::parse("file", text)
        .map_err(|_| "yaml: line 1: did not find expected node content".to_owned())?;
    let mut read = Vec::new();
    for (key, body) in document.root().get("services").into_iter().flat_map(config::Node::entries) {
        let image = body.get("image").and_then(config::Node::text).unwrap_or_default();
        let is_built = image.is_empty() && body.get("build").is_some();
        let image = if is_built { format!("built/{}", key.text) } else { filled(image, env) };
        if image.is_empty() || image.ends_with(':') || image.contains(char::is_whitespace) {
            return Err("invalid reference format".to_owned());
        }
        let action = body.get("deploy").and_then(|deploy| deploy.get("update_config"));
        let action = action.and_then(|config| config.get("failure_action")).and_then(config::Node::text);
        let rolls_back = action == Some("rollback");
        read.push(FileService { name: key.text.clone(), image, is_built, rolls_back });
    }
    let networks = document.root().get("networks").into_iter().flat_map(config::Node::entries);
    let mut names = networks.filter_map(|(_, network)| network.get("name")?.text());
    if names.any(|name| name == NO_NETWORK) {
        return Err(format!(
            "network \"{NO_NETWORK}\" is declared as external, but could not be found. You need to create a swarm-scoped \
             network before the stack is deployed"
        ));
    }
    Ok(read)
}

/// Of a variable that is given twice, the last counts.
fn filled(text: &str, env: &Value) -> String {
    let value_of = |name: &str| {
        let pairs = env.as_array().into_iter().flatten().rev();
        let found = pairs.into_iter().find(|pair| pair["name"] == name);
        found.and_then(|pair| pair["value"].as_str()).map(str::to_owned)
    };
    let Some((before, after)) = text.split_once("${") else { return text.to_owned() };
    let Some((inner, rest)) = after.split_once('}') else { return text.to_owned() };
    let (name, otherwise) = inner.split_once(":-").unwrap_or((inner, ""));
    let value = value_of(name).unwrap_or_else(|| otherwise.to_owned());
    format!("{before}{value}{}", filled(rest, env))
}
