//! How deliveries are fetched that never came: `backfill` of a source.

use std::time::Duration;

use config::{Faults, Node, Secret, Span};

use crate::{
    access::oidc::keys::is_in_the_clear,
    backfill::{BackfillSettings, LONGEST_SINCE, Place, github},
    section::BackfillSection,
};

const API: &str = "https://api.github.com";
const EVERY: Duration = Duration::from_secs(600);
const SHORTEST_EVERY: Duration = Duration::from_secs(1);
const LONGEST_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads the section of one source, whose node is given; none, with its faults, when something in it cannot be used.
pub(super) fn read(section: BackfillSection, source: &Node, faults: &mut Faults) -> Option<BackfillSettings> {
    let node = source.get("backfill").unwrap_or(source);
    let place = place(section.repo, section.org, node, faults);
    if section.hook == 0 {
        let fault = node.get("hook").unwrap_or(node).fault("a hook's number is greater than 0");
        faults.push(fault.hint("it is the last part of the address of the hook's page in the settings"));
    }
    check_token(section.token.as_ref(), node, faults);
    let every = every(section.every, node, faults);
    let since = since(section.since, node, faults);
    let api = api(section.api, node, faults);
    check_certificates(&api, section.ca.as_deref(), node, faults);
    let (hook, ca) = (section.hook, section.ca);
    Some(BackfillSettings { place: place?, hook, token: section.token?, every, since, api, ca })
}

fn check_token(token: Option<&Secret>, node: &Node, faults: &mut Faults) {
    let hint = "give `token_file` with a token that may read webhooks: fine-grained with *Webhooks: read*, classic with `read:repo_hook`, or `admin:org_hook` for an organization";
    let Some(token) = token else {
        faults.push(node.fault("there is no token to ask GitHub with").hint(hint));
        return;
    };
    if !token.expose().trim().chars().all(|c| c.is_ascii_graphic()) || token.expose().trim().is_empty() {
        let at = node.get("token_file").or(node.get("token")).unwrap_or(node);
        faults.push(at.fault("this is no token of GitHub: it is one word").hint(hint));
    }
}

fn place(repo: Option<String>, org: Option<String>, node: &Node, faults: &mut Faults) -> Option<Place> {
    match (repo, org) {
        (Some(repo), None) => match repo.split_once('/') {
            Some((owner, name)) if is_name(owner) && is_name(name) => Some(Place::Repository(repo)),
            Some(_) | None => {
                let fault = node.get("repo").unwrap_or(node).fault(format!("`{repo:.100}` is no repository"));
                faults.push(fault.hint("write `owner/name`, as in the address of its page"));
                None
            }
        },
        (None, Some(org)) if is_name(&org) => Some(Place::Organization(org)),
        (None, Some(org)) => {
            let fault = node.get("org").unwrap_or(node).fault(format!("`{org:.100}` is no organization"));
            faults.push(fault.hint("write its name alone, as in the address of its page"));
            None
        }
        (Some(_), Some(_)) => {
            let fault = node.fault("a hook is a repository's or an organization's, not both");
            faults.push(fault.hint("leave out `repo` or `org`"));
            None
        }
        (None, None) => {
            let fault = node.fault("whose hook it is is not said");
            faults.push(fault.hint("add `repo: owner/name`, or `org: name` for a hook of an organization"));
            None
        }
    }
}

/// Whether it can stand in a path as it is.
fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text != "." && text != ".." && text.len() <= 100 && text.chars().all(inner)
}

fn every(given: Option<Span>, node: &Node, faults: &mut Faults) -> Duration {
    let every = given.map_or(EVERY, Duration::from);
    if !(SHORTEST_EVERY..=LONGEST_EVERY).contains(&every) {
        let fault =
            node.get("every").unwrap_or(node).fault(format!("`{}` is too often or too seldom", Span(every)));
        faults.push(fault.hint("give from `1s` to `24h`, as in `10m`, the default"));
    }
    every
}

fn since(given: Option<Span>, node: &Node, faults: &mut Faults) -> Duration {
    let since = given.map_or(LONGEST_SINCE, Duration::from);
    if since.is_zero() || since > LONGEST_SINCE {
        let fault = node.get("since").unwrap_or(node).fault("GitHub keeps deliveries for three days");
        faults.push(fault.hint("give `3d` at most, the default"));
    }
    since
}

/// Nobody may read the token on the way, or make up deliveries.
fn api(given: Option<String>, node: &Node, faults: &mut Faults) -> String {
    let api = given.unwrap_or_else(|| API.to_owned());
    let is_url =
        reqwest::Url::parse(&api).is_ok_and(|url| url.query().is_none() && url.username().is_empty());
    if !is_url || !(api.starts_with("https://") || is_in_the_clear(&api)) {
        let fault = node.get("api").unwrap_or(node).fault("the API's address does not begin with `https://`");
        faults.push(
            fault.hint("write `https://HOST/api/v3` for a GitHub of your own; leave it out for github.com"),
        );
    }
    api.trim_end_matches('/').to_owned()
}

fn check_certificates(api: &str, ca: Option<&str>, node: &Node, faults: &mut Faults) {
    let why = match (github::client(api, ca), ca) {
        (Err(error), _) => format!("these certificates cannot be used: {error}"),
        (Ok(_), Some(ca)) if !ca.contains("-----BEGIN CERTIFICATE") => {
            "there are no certificates in it".to_owned()
        }
        (Ok(_), Some(_) | None) => return,
    };
    let at = node.get("ca_file").or(node.get("ca")).unwrap_or(node);
    faults.push(at.fault(why).hint("give a file with certificates in PEM"));
}

#[cfg(test)]
mod tests {
    use config::Document;

    use super::*;
    use crate::Settings;

    fn told(backfill: &str) -> Result<BackfillSettings, Vec<(String, String)>> {
        let text = format!("sources: {{g: {{kind: github, secret: s, backfill: {backfill}}}}}");
        let (mut faults, document) = (Faults::new(), Document::parse("b.yaml", &text).unwrap());
        let settings = Settings::read(&document, &mut faults);
        let told = settings.map(|settings| settings.sources["g"].backfill.clone().unwrap());
        told.ok_or_else(|| faults.iter().map(|f| (f.path.clone(), f.message.clone())).collect())
    }

    #[test]
    fn what_is_left_out_is_usual() {
        let usual = told("{repo: acme/web, hook: 7, token: t}").unwrap();
        assert_eq!(usual.place, Place::Repository("acme/web".to_owned()));
        assert_eq!((usual.every, usual.since), (Duration::from_secs(600), LONGEST_SINCE));
        assert_eq!(usual.api, API);
        let own =
            "{org: acme, hook: 7, token: t, every: 1m, since: 1d, api: \"https://git.acme.cn/api/v3/\"}";
        let own = told(own).unwrap();
        assert_eq!(own.place, Place::Organization("acme".to_owned()));
        assert_eq!((own.every, own.api.as_str()), (Duration::from_secs(60), "https://git.acme.cn/api/v3"));
        assert!(!format!("{own:?}").contains("token: t"), "{own:?}");
    }

    #[test]
    fn every_fault_has_its_place() {
        for (backfill, path, message) in [
            ("{hook: 7, token: t}", "", "whose hook it is is not said"),
            ("{repo: a/b, org: a, hook: 7, token: t}", "", "not both"),
            ("{repo: acme, hook: 7, token: t}", ".repo", "`acme` is no repository"),
            ("{repo: \"acme/../x\", hook: 7, token: t}", ".repo", "is no repository"),
            ("{org: \"a/b\", hook: 7, token: t}", ".org", "is no organization"),
            ("{repo: a/b, hook: 0, token: t}", ".hook", "greater than 0"),
            ("{repo: a/b, hook: 7}", "", "there is no token"),
            ("{repo: a/b, hook: 7, token: \"t t\"}", ".token", "one word"),
            ("{repo: a/b, hook: 7, token: t, every: 10ms}", ".every", "too often"),
            ("{repo: a/b, hook: 7, token: t, since: 4d}", ".since", "three days"),
            ("{repo: a/b, hook: 7, token: t, api: \"http://git.acme.cn\"}", ".api", "https://"),
            ("{repo: a/b, hook: 7, token: t, ca: nonsense}", ".ca", "certificates"),
        ] {
            let faults = told(backfill).unwrap_err();
            let [(at, said)] = &faults[..] else { panic!("{backfill}: {faults:?}") };
            assert_eq!(at, &format!("sources.g.backfill{path}"), "{backfill}");
            assert!(said.contains(message), "{backfill}: {said}");
        }
    }

    #[test]
    fn other_kinds_have_no_deliveries_to_fetch() {
        let text = "sources: {g: {kind: gitea, secret: s, backfill: {repo: a/b, hook: 7, token: t}}}";
        let (mut faults, document) = (Faults::new(), Document::parse("b.yaml", text).unwrap());
        assert!(Settings::read(&document, &mut faults).is_none());
        assert!(faults.to_string().contains("backfill"), "{faults}");
    }
}
