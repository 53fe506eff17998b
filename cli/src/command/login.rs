//! `longshore login` and `longshore logout`: a person's own session, for the commands that come after.

use std::io::{self, IsTerminal};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    arguments::{LogIn, LogOut},
    client::Client,
    exit::Exit,
    failure::Failure,
    login::Login,
    output::Output,
    password,
    server::Server,
    typed,
};

/// Who is logged in, where, and until when.
#[derive(Serialize)]
struct LoggedIn<'a> {
    user: &'a str,
    url: &'a str,
    /// Unless a command goes on with it before.
    until: Timestamp,
}

pub(crate) async fn run(log_in: LogIn, output: Output) -> Result<Exit, Failure> {
    let server = Server::find(&log_in.reach)?;
    let goes_before = server.token.is_some().then(|| server.token_place.clone());
    let client = Client::new(server)?;
    let user = match log_in.user {
        Some(user) => user,
        None => typed_name()?,
    };
    let password = password::known(log_in.password_file.as_deref())?;
    let login = client.log_in(&user, &password).await?;
    let file = login.keep()?;
    let Login { user, url, until, .. } = &login;
    output.document(&LoggedIn { user, url, until: *until }, || {
        format!(
            "logged in as `{user}` at {url}: every command uses the session, which is kept in {} and ends \
             seven days after the last",
            file.display()
        )
    });
    if let Some(place) = goes_before {
        eprintln!("note: the token of {place} goes before the session");
    }
    Ok(Exit::Succeeded)
}

pub(crate) async fn end(log_out: LogOut, output: Output) -> Result<Exit, Failure> {
    let found = Server::find(&log_out.reach)?;
    let Some(login) = Login::kept_for(&found.url) else {
        let hint = format!("`{} login{}` begins a session", typed::program(), found.reach);
        return Err(Failure::setup(format!("nobody is logged in at {} here", found.url), hint));
    };
    let client = Client::new(Server { token: None, login: Some(login.clone()), ..found })?;
    let ended = client.log_out(log_out.everywhere).await;
    // Whatever became of it there: from here nobody goes on with it.
    login.forget()?;
    ended?;
    let document = serde_json::json!({"logged_out": login.user, "everywhere": log_out.everywhere});
    output.document(&document, || match log_out.everywhere {
        true => format!("logged out `{}` at {}, everywhere", login.user, login.url),
        false => format!("logged out `{}` at {}", login.user, login.url),
    });
    Ok(Exit::Succeeded)
}

fn typed_name() -> Result<String, Failure> {
    let missing =
        || Failure::setup("it is not said who logs in", "name the user, as in `longshore login anna`");
    if !io::stdin().is_terminal() {
        return Err(missing());
    }
    let terminal = console::Term::stderr();
    let name = terminal.write_str("User: ").and_then(|()| terminal.read_line()).map_err(|_| missing())?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty()).ok_or_else(missing)
}
