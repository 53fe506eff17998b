//! The section `access`.

mod oidc;

use std::path::Path;

use config::{Faults, Node};

use crate::{
    access::{
        Access, TokenHash,
        file::{self, Accounts, FileError},
        role::Role,
        tokens::TokenBook,
        users::UserBook,
    },
    section::{AccessSection, RegistrationSection},
};

/// Shortest key that sessions may be signed with, in bytes.
const SHORTEST_KEY: usize = 32;

pub(super) fn read(node: &Node, faults: &mut Faults) -> Option<Access> {
    let section: AccessSection = node.read(faults)?;
    let at = |key: &str| node.get(key).unwrap_or(node);
    if let Some(file) = &section.tokens_file {
        is_sound::<TokenBook>(file, at("tokens_file"), faults);
    }
    if let Some(file) = &section.users_file {
        is_sound::<UserBook>(file, at("users_file"), faults);
    }
    if section.session_key.as_ref().is_some_and(|key| key.expose().len() < SHORTEST_KEY) {
        let place = node.get("session_key").or(node.get("session_key_file")).unwrap_or(node);
        let fault = place.fault(format!("the key has fewer than {SHORTEST_KEY} characters"));
        faults.push(fault.hint("make one with `openssl rand -hex 32`"));
    }
    let registration = section.registration.map(|section| registration(section, at("registration"), faults));
    let issuers = oidc::read(section.oidc.unwrap_or_default(), node.get("oidc").unwrap_or(node), faults);
    let mut access = Access {
        admins: Vec::new(),
        tokens_file: section.tokens_file,
        users_file: section.users_file,
        session_key: section.session_key,
        registration,
        issuers,
    };
    if let Some(token) = section.admin_token {
        access.grant_admin(TokenHash::of(token.expose()));
    }
    Some(access)
}

fn registration(section: RegistrationSection, node: &Node, faults: &mut Faults) -> (Role, Vec<String>) {
    let targets = section.targets.unwrap_or_else(|| vec!["*".to_owned()]);
    if section.role == Role::Admin {
        let fault = node.fault("whoever registers cannot be an admin");
        faults.push(fault.hint("write `role: viewer`; an admin is entered with `longshore user add`"));
    }
    if let Err(error) = section.role.scope(&targets).check() {
        faults.push(node.fault(error.to_string()).hint(error.hint()));
    }
    (section.role, targets)
}

/// Finds the faults of a file of accounts; one that is not there yet has none.
fn is_sound<T: Accounts>(file: &Path, node: &Node, faults: &mut Faults) {
    match file::read::<T>(file) {
        Ok(_) => {}
        Err(FileError::Faulty { faults: found, .. }) => faults.append(found),
        Err(error @ (FileError::Disk { .. } | FileError::TooLarge { .. })) => {
            faults.push(node.fault(error.to_string()).hint(error.hint()))
        }
    }
}
