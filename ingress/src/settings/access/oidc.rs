//! Whose identities let in: `access.oidc`.

use std::collections::BTreeMap;

use config::{Faults, Node};

use crate::{
    access::{
        oidc::{
            IssuerSettings,
            keys::{Keys, is_in_the_clear},
            rules::{Origin, Rule},
        },
        scope::Scope,
    },
    section::{IssuerKind, IssuerSection, Patterns, RuleSection},
};

const GITHUB: &str = "https://token.actions.githubusercontent.com";
const GITLAB: &str = "https://gitlab.com";
const GOOGLE: &str = "https://accounts.google.com";

/// Longest name of an issuer.
const LONGEST_NAME: usize = 30;

pub(super) fn read(
    sections: BTreeMap<String, IssuerSection>,
    node: &Node,
    faults: &mut Faults,
) -> Vec<IssuerSettings> {
    let mut issuers: Vec<IssuerSettings> = Vec::new();
    for (name, section) in sections {
        let at = node.get(&name).unwrap_or(node);
        check_name(&name, at, faults);
        let issuer = issuer(name, section, at, faults);
        if let Some(known) = issuers.iter().find(|known| known.url == issuer.url) {
            let fault = at.fault(format!("`{}` has the same issuer", known.name));
            faults.push(fault.hint("write the rules of both under one of them"));
        }
        issuers.push(issuer);
    }
    issuers
}

/// The name stands before callers' own, and in the name of a file.
fn check_name(name: &str, node: &Node, faults: &mut Faults) {
    let inner = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let taken = ["token", "user", "admin"].contains(&name);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(inner) || taken {
        let fault = node.fault(format!("`{name:.100}` is no name for an issuer"));
        faults.push(
            fault.hint("use letters, digits, `_` and `-`, as in `github`; not `token`, `user` or `admin`"),
        );
    }
}

fn issuer(name: String, section: IssuerSection, node: &Node, faults: &mut Faults) -> IssuerSettings {
    let (origin, usual) = match section.kind {
        IssuerKind::Github => (Origin::Github, GITHUB),
        IssuerKind::Gitlab => (Origin::Gitlab, GITLAB),
        IssuerKind::Google => (Origin::Google, GOOGLE),
        IssuerKind::Other => (Origin::Other, ""),
    };
    let url = section.issuer.unwrap_or_else(|| usual.to_owned());
    let at = |key: &str| node.get(key).unwrap_or(node);
    if !url.starts_with("https://") && !is_in_the_clear(&url) {
        let fault = at("issuer").fault("the issuer's address does not begin with `https://`");
        faults.push(
            fault.hint("write the issuer as it stands in tokens (`iss`), as in `https://gitlab.example.com`"),
        );
    }
    if section.audience.trim().is_empty() {
        let fault = at("audience").fault("the audience is empty");
        faults.push(fault.hint("write the URL of this Longshore, and let the CI ask for tokens for it"));
    }
    if section.rules.is_empty() {
        faults.push(
            at("rules")
                .fault("there is no rule, so nobody comes in")
                .hint("add one: `{claims: {…}, targets: […], operations: […]}`"),
        );
    }
    if let Err(error) = Keys::new(&url, section.ca.as_deref(), None) {
        let place = node.get("ca_file").or(node.get("ca")).unwrap_or(node);
        let fault = place.fault(format!("these certificates cannot be used: {error}"));
        faults.push(fault.hint("give a file with certificates in PEM"));
    }
    let places: Vec<&Node> = at("rules").items().collect();
    let rules = section.rules.into_iter().enumerate();
    let rules =
        rules.map(|(n, section)| rule(section, origin, places.get(n).unwrap_or(&node), faults)).collect();
    let (audience, ca, named_by) = (section.audience, section.ca, origin.named_by());
    IssuerSettings { name, url, audience, ca, rules, named_by }
}

fn rule(section: RuleSection, origin: Origin, node: &Node, faults: &mut Faults) -> Rule {
    let RuleSection { claims, targets, operations, sources } = section;
    let patterns = claims.into_iter().map(|(claim, patterns)| match patterns {
        Patterns::One(one) => (claim, vec![one]),
        Patterns::Several(several) => (claim, several),
    });
    let scope = Scope { targets, operations, sources };
    if let Err(error) = scope.check() {
        faults.push(node.fault(error.to_string()).hint(error.hint()));
    }
    let rule = Rule::new(patterns.collect(), scope);
    if !rule.is_bound(origin) {
        let fault =
            node.get("claims").unwrap_or(node).fault("the claims do not say whose pipelines these are");
        faults.push(fault.hint(match origin {
            Origin::Github => "add `repository: owner/name`, or `owner/*` for all of an owner's",
            Origin::Gitlab => "add `project_path: group/name`, or `group/*` for all of a group's",
            Origin::Google => "add `email: name@project.iam.gserviceaccount.com`, the service account",
            Origin::Other => {
                "add a claim that only your callers have, as `sub`, without a pattern at its beginning"
            }
        }));
    }
    rule
}
