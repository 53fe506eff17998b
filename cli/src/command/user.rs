//! `longshore user`: who may log in, by the file that every running Longshore reads.

use std::path::Path;

use ingress::{
    USERS_FILE,
    users::{self, NewUser, UserError, UserRecord},
};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    accounts,
    arguments::{AddUser, User},
    exit::Exit,
    failure::{Failure, with_causes},
    output::{Output, table},
    password,
};

/// A user as they are listed; of the password nothing.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    role: &'static str,
    targets: Vec<String>,
    full_name: Option<String>,
    phone: Option<String>,
    disabled: bool,
    created_at: Timestamp,
}

pub(crate) fn run(user: &User, output: Output) -> Result<Exit, Failure> {
    match user {
        User::Add(add) => {
            let file = accounts::file(&add.reach, "users_file", USERS_FILE)?;
            let password = password::chosen(add.password_file.as_deref())?;
            let is_new = accounts::is_new(&file);
            users::add(&file, &new(add), &password).map_err(|error| failed(&error))?;
            done(output, "added", &add.name, "they can log in at once");
            if is_new {
                accounts::say_where(&file);
            }
        }
        User::Passwd { name, password_file, reach } => {
            let file = accounts::file(reach, "users_file", USERS_FILE)?;
            let password = password::chosen(password_file.as_deref())?;
            users::passwd(&file, name, &password).map_err(|error| failed(&error))?;
            done(
                output,
                "changed",
                name,
                "the former password is void, and every session of theirs has ended",
            );
        }
        User::Disable { name, reach } => {
            let file = accounts::file(reach, "users_file", USERS_FILE)?;
            users::disable(&file, name, true).map_err(|error| failed(&error))?;
            done(output, "disabled", name, "they cannot log in, and every session of theirs has ended");
        }
        User::Enable { name, reach } => {
            let file = accounts::file(reach, "users_file", USERS_FILE)?;
            users::disable(&file, name, false).map_err(|error| failed(&error))?;
            done(output, "enabled", name, "they can log in again");
        }
        User::Role { name, role, targets, reach } => {
            let file = accounts::file(reach, "users_file", USERS_FILE)?;
            let targets = Some(targets.clone()).filter(|targets| !targets.is_empty());
            let user = users::give_role(&file, name, *role, targets).map_err(|error| failed(&error))?;
            let text = || {
                let (role, targets) = (user.role.as_str(), user.targets.join("`, `"));
                format!("changed `{name}`: {role} on `{targets}` within a second; they stay logged in")
            };
            let document = serde_json::json!({"changed": name, "role": user.role, "targets": user.targets});
            output.document(&document, text);
        }
        User::Remove { name, reach } => {
            let file = accounts::file(reach, "users_file", USERS_FILE)?;
            users::remove(&file, name).map_err(|error| failed(&error))?;
            let then = "they cannot log in, every session of theirs has ended, and what they deployed stays in the history";
            done(output, "removed", name, then);
        }
        User::List { reach } => list(&accounts::file(reach, "users_file", USERS_FILE)?, output)?,
    }
    Ok(Exit::Succeeded)
}

fn done(output: Output, what: &str, name: &str, then: &str) {
    output.document(&serde_json::json!({what: name}), || format!("{what} `{name}`: {then}"));
}

fn new(add: &AddUser) -> NewUser {
    let targets = if add.targets.is_empty() { vec!["*".to_owned()] } else { add.targets.clone() };
    NewUser {
        name: add.name.clone(),
        role: add.role,
        targets,
        full_name: add.full_name.clone(),
        phone: add.phone.clone(),
    }
}

fn list(file: &Path, output: Output) -> Result<(), Failure> {
    let found = users::list(file).map_err(|error| failed(&error))?;
    let listed: Vec<Listed> = found.into_iter().map(|(name, user)| listed(name, user)).collect();
    output.document(&listed, || {
        if listed.is_empty() {
            return "there is no user; `longshore user add --help` shows how one is entered".to_owned();
        }
        let rows = listed.iter().map(|user| {
            let state = if user.disabled { "disabled" } else { "" };
            let (full_name, phone) = (user.full_name.clone(), user.phone.clone());
            [
                user.name.clone(),
                user.role.to_owned(),
                user.targets.join(","),
                full_name.unwrap_or_default(),
                phone.unwrap_or_default(),
                state.to_owned(),
            ]
        });
        table(["NAME", "ROLE", "TARGETS", "FULL NAME", "PHONE", ""], rows)
    });
    Ok(())
}

fn listed(name: String, user: UserRecord) -> Listed {
    let UserRecord { role, targets, full_name, phone, disabled, created_at, .. } = user;
    Listed { name, role: role.as_str(), targets, full_name, phone, disabled, created_at }
}

fn failed(error: &UserError) -> Failure {
    Failure::setup(with_causes(error), error.hint())
}
