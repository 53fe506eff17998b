//! `longshore stack`: a stack and its text.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use proto::{Given, Named, Operation, StackText, TargetName, ask::PortainerStackShown};

use super::operate::{Asked, carry_out};
use crate::{
    arguments::{ComposeText, DeployStack, GitStack, Migrate, RemoveStack, ShowStack, Stack},
    exit::Exit,
    failure::Failure,
    output::Output,
};

pub(crate) async fn run(stack: Stack, output: Output) -> Result<Exit, Failure> {
    let (operation, now, of) = match stack {
        Stack::Deploy(deploy) => return self::deploy(deploy, output).await,
        Stack::Remove(remove) => return self::remove(remove, output).await,
        Stack::List(list) => return super::stack_texts::list(list, output).await,
        Stack::Show(show) => return self::show(show, output).await,
        Stack::Git(git) => return from_git(git, output).await,
        Stack::Migrate(migrate) => return self::migrate(migrate, output).await,
        Stack::Start(of) => (Operation::Start, false, of),
        Stack::Stop(of) => (Operation::Stop, false, of),
        Stack::Restart(of) => (Operation::Restart, false, of),
        Stack::Redeploy(redeploy) => (Operation::Redeploy, redeploy.now, redeploy.of),
    };
    let asked = Asked { target: of.target, operation, now };
    carry_out(asked, (&of.following, &of.reach), output).await
}

async fn deploy(deploy: DeployStack, output: Output) -> Result<Exit, Failure> {
    let operation = Operation::DeployStack(text_of(&deploy.file, &deploy.with)?);
    let asked = Asked { target: deploy.target, operation, now: deploy.now };
    carry_out(asked, (&deploy.following, &deploy.reach), output).await
}

async fn remove(remove: RemoveStack, output: Output) -> Result<Exit, Failure> {
    let operation = Operation::RemoveStack { force: remove.force };
    let asked = Asked { target: remove.target, operation, now: remove.now };
    carry_out(asked, (&remove.following, &remove.reach), output).await
}

async fn from_git(git: GitStack, output: Output) -> Result<Exit, Failure> {
    let mut meant = proto::GitStack::of(git.url.clone());
    meant.reference.clone_from(&git.reference);
    meant.file.clone_from(&git.file);
    meant.more_files.clone_from(&git.more_files);
    meant.username.clone_from(&git.username);
    meant.password = git.password_secret.clone().map(|from| Named { from });
    meant.every_s = git.every.map(|every| every.0.as_secs());
    meant.settings_only = git.settings_only;
    meant.env = variables((&git.env, &git.secret_env))?;
    meant.check().map_err(|error| {
        let hint = "mend what is typed; `longshore stack git --help` shows examples";
        Failure::setup(error.to_string(), hint)
    })?;
    let asked = Asked { target: git.target, operation: Operation::DeployGit(Box::new(meant)), now: git.now };
    carry_out(asked, (&git.following, &git.reach), output).await
}

async fn migrate(migrate: Migrate, output: Output) -> Result<Exit, Failure> {
    let Migrate { target, to, name, now, following, reach } = migrate;
    let operation = Operation::Migrate { environment: to, name };
    carry_out(Asked { target, operation, now }, (&following, &reach), output).await
}

async fn show(show: ShowStack, output: Output) -> Result<Exit, Failure> {
    let client = super::client(&show.reach)?;
    let status = client.target(&show.target).await?;
    let Some(deployed) = status.now.deployed.clone() else {
        let stack = super::target::stack_of(&client, &status).await;
        return Err(Failure::Process { text: why_no_text(&show.target, stack) });
    };
    if show.before {
        let before = deployed.before.ok_or_else(|| Failure::Process {
            text: format!("no compose file of `{}` is kept from before {}", show.target, deployed.by),
        })?;
        output.document(&before, || before.text.compose.clone());
        return Ok(Exit::Succeeded);
    }
    if !output.is_json() {
        deployed.notes.iter().for_each(|note| eprintln!("note: {note}"));
    }
    output.document(&deployed, || deployed.text.compose.clone());
    Ok(Exit::Succeeded)
}

/// Why no text of a target can be printed, and what to do.
fn why_no_text(target: &TargetName, stack: Option<PortainerStackShown>) -> String {
    if let Some(url) = stack.as_ref().and_then(|stack| stack.repository.as_ref()) {
        let reference = stack.as_ref().and_then(|stack| stack.reference.as_ref());
        let reference = reference.map(|reference| format!(", {reference}")).unwrap_or_default();
        return format!("the file of `{target}` is kept in git: {url}{reference}; look there");
    }
    format!(
        "`{target}` was not deployed from a compose file by Longshore; take it over with one: `longshore stack deploy {target} \
         --file compose.yml --adopt`"
    )
}

/// The text with all that was typed and read for it.
pub(super) fn text_of(compose: &Path, with: &ComposeText) -> Result<StackText, Failure> {
    let mut text = StackText::of(read(compose)?);
    (text.prune, text.adopt) = (with.prune, with.adopt);
    for file in &with.env_file {
        for (number, line) in read(file)?.lines().enumerate() {
            if let Some((name, value)) = variable_of(line).map_err(|why| {
                let place = format!("{}:{}", file.display(), number + 1);
                Failure::setup(format!("{place}: {why}"), "write `NAME=VALUE`, one on each line")
            })? {
                text.env.insert(name, Given::Value(value));
            }
        }
    }
    text.env.extend(variables((&with.env, &with.secret_env))?);
    for path in &with.files {
        text.files.insert(path.clone(), Given::Value(read(&beside(compose, path))?));
    }
    for typed in &with.secret_file {
        let (path, secret) = named(typed, "--secret-file", "db_password.txt=shop_db")?;
        text.files.insert(path, secret);
    }
    text.check().map_err(|error| {
        Failure::setup(
            error.to_string(),
            "mend what is typed; `longshore stack deploy --help` shows examples",
        )
    })?;
    Ok(text)
}

/// The variables that were typed, by value and by the name of a secret.
fn variables((values, secrets): (&[String], &[String])) -> Result<BTreeMap<String, Given>, Failure> {
    let mut all = BTreeMap::new();
    for typed in values {
        let (name, value) = match typed.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => (typed.as_str(), from_environment(typed)?),
        };
        all.insert(name.to_owned(), Given::Value(value));
    }
    for typed in secrets {
        let (name, secret) = named(typed, "--secret-env", "DB_PASSWORD=shop_db")?;
        all.insert(name, secret);
    }
    Ok(all)
}

fn read(path: &Path) -> Result<String, Failure> {
    let read = match path.to_str() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        Some(_) | None => fs::read_to_string(path),
    };
    read.map_err(|error| {
        let text = format!("cannot read `{}`: {error}", path.display());
        Failure::setup(text, "check the path, and that it is a text in UTF-8")
    })
}

/// What a compose file names stands beside it.
fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

fn from_environment(name: &str) -> Result<String, Failure> {
    std::env::var(name).map_err(|_| {
        let text = format!("`--env {name}` gives no value, and this shell's environment has none");
        Failure::setup(text, format!("write `--env {name}=VALUE`, or export it"))
    })
}

fn named(typed: &str, option: &str, example: &str) -> Result<(String, Given), Failure> {
    match typed.split_once('=') {
        Some((name, from)) if !name.is_empty() && !from.is_empty() => {
            Ok((name.to_owned(), Given::Secret(Named { from: from.to_owned() })))
        }
        Some(_) | None => Err(Failure::setup(
            format!("`{option}` names no secret"),
            format!(
                "write it as in `{option} {example}`: the secret's name in the workers' configuration, never its value"
            ),
        )),
    }
}

/// One line of a file of variables; none where it says nothing.
fn variable_of(line: &str) -> Result<Option<(String, String)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, value) = line.split_once('=').ok_or("this is no `NAME=VALUE`")?;
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    let value = value.trim();
    let quoted = |quote: char| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
    let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
    Ok(Some((name.to_owned(), value.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_file_of_variables_are_read() {
        let read = |line| variable_of(line).unwrap().map(|(name, value)| format!("{name}|{value}"));
        assert_eq!(read("TAG=1.2").as_deref(), Some("TAG|1.2"));
        assert_eq!(read(" export TAG = \"a b\" ").as_deref(), Some("TAG|a b"));
        assert_eq!(read("URL='a=b'").as_deref(), Some("URL|a=b"));
        assert_eq!(read("EMPTY=").as_deref(), Some("EMPTY|"));
        assert_eq!((read(""), read("# TAG=1")), (None, None));
        assert!(variable_of("TAG").is_err());
    }
}
