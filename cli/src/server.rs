//! Which Longshore to speak to, and with what token.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use config::{Document, Secret};
use ingress::ADMIN_TOKEN_FILE;

use crate::{arguments::Reach, failure::Failure, login::Login, typed};

const URL_VARIABLE: &str = "LONGSHORE_URL";
const TOKEN_VARIABLE: &str = "LONGSHORE_TOKEN";

/// Where `up` keeps its data unless told otherwise.
pub(crate) const DEFAULT_DATA: &str = "./longshore-data";
/// Where `up` can be reached unless told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// The file in the data directory in which `up` says where it can be reached.
pub(crate) const URL_FILE: &str = "url";

/// Whether somebody says which Longshore is meant.
pub(crate) fn is_named(reach: &Reach) -> bool {
    !reach.config.is_empty() || reach.data.is_some() || variable(URL_VARIABLE).is_some()
}

/// A Longshore and the key to it.
#[derive(Debug)]
pub(crate) struct Server {
    /// Without a slash at its end.
    pub(crate) url: String,
    /// None where none was found: Longshore then says what it wants.
    pub(crate) token: Option<Secret>,
    /// Where the token was found, or looked for, in words.
    pub(crate) token_place: String,
    /// The session that somebody began here, where there is no token.
    pub(crate) login: Option<Login>,
    /// The arguments by which another command finds the same one.
    pub(crate) reach: String,
}

/// What the files say, where there are any.
#[derive(Debug, Default)]
struct Local {
    url: Option<String>,
    token: Option<Secret>,
    token_path: PathBuf,
}

impl Server {
    /// Finds it: the environment first, then what `reach` names.
    ///
    /// # Errors
    /// When a configuration cannot be read, or an address is none.
    pub(crate) fn find(reach: &Reach) -> Result<Server, Failure> {
        let local = Local::read(reach)?;
        let mut server = Server::choose(variable(URL_VARIABLE), variable(TOKEN_VARIABLE), local)?;
        server.reach = typed::reach(reach);
        if server.token.is_none() {
            server.login = Login::kept_for(&server.url);
        }
        if let Some(login) = &server.login {
            server.token_place = format!("the session of `{}`", login.user);
        }
        Ok(server)
    }

    fn choose(url: Option<String>, token: Option<String>, local: Local) -> Result<Server, Failure> {
        let known = local.url.clone();
        let url = trimmed(&url.or(local.url).unwrap_or_else(|| DEFAULT_URL.to_owned()));
        check(&url)?;
        if let Some(token) = token {
            return Ok(Server {
                url,
                token: Some(Secret::new(token)),
                token_place: TOKEN_VARIABLE.to_owned(),
                login: None,
                reach: String::new(),
            });
        }
        // The token of a directory is shown only to the Longshore that keeps its data there.
        let ours = trimmed(known.as_deref().unwrap_or(DEFAULT_URL)) == url;
        let token_place =
            if ours { local.token_path.display().to_string() } else { TOKEN_VARIABLE.to_owned() };
        let token = local.token.filter(|_| ours);
        Ok(Server { url, token, token_place, login: None, reach: String::new() })
    }
}

impl Local {
    fn read(reach: &Reach) -> Result<Local, Failure> {
        if let Some(missing) = reach.data.as_ref().filter(|data| !data.is_dir()) {
            return Err(Failure::setup(
                format!("cannot look into `{}`: no such directory", missing.display()),
                "name the data directory of a `longshore up` on this machine with --data",
            ));
        }
        let mut configured = None;
        let mut data = reach.data.clone();
        if !reach.config.is_empty() {
            let document = Document::load(&reach.config)?;
            let text = |key: &str| text_of(&document, key);
            configured = text("public_url").or_else(|| text("listen").and_then(|listen| url_of(&listen)));
            data = data.or_else(|| text("data").map(PathBuf::from));
        }
        let data = data.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA));
        let token_path = data.join(ADMIN_TOKEN_FILE);
        Ok(Local {
            // Whoever runs on the directory knows best where it listens (`--listen`, port 0).
            url: first_line(&data.join(URL_FILE)).or(configured),
            token: first_line(&token_path).map(Secret::new),
            token_path,
        })
    }
}

/// Where others reach what runs on a configuration, as far as that says it.
pub(crate) fn configured_url(document: &Document) -> String {
    let listen = || text_of(document, "listen").and_then(|listen| url_of(&listen));
    trimmed(&text_of(document, "public_url").or_else(listen).unwrap_or_else(|| DEFAULT_URL.to_owned()))
}

fn text_of(document: &Document, key: &str) -> Option<String> {
    document.root().get(key).and_then(|node| node.text()).map(str::to_owned)
}

/// The address under which a listener can be reached from this machine.
pub(crate) fn url_at(listen: SocketAddr) -> String {
    let ip = listen.ip();
    match ip.is_unspecified() {
        true if ip.is_ipv4() => format!("http://127.0.0.1:{}", listen.port()),
        true => format!("http://[::1]:{}", listen.port()),
        false => format!("http://{listen}"),
    }
}

/// Nothing for port 0, which says nothing about where the process can be reached: its `url` file does.
fn url_of(listen: &str) -> Option<String> {
    listen.parse().ok().filter(|listen: &SocketAddr| listen.port() != 0).map(url_at)
}

fn trimmed(url: &str) -> String {
    url.trim().trim_end_matches('/').to_owned()
}

fn check(url: &str) -> Result<(), Failure> {
    let parsed = reqwest::Url::parse(url).ok();
    match parsed.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        Some(_) => Ok(()),
        None => Err(Failure::setup(
            format!("`{url}` is no address of a Longshore"),
            match url.contains("://") {
                true => format!("set {URL_VARIABLE} to something like `https://deploy.example.org`"),
                false => format!("`http://` or `https://` is missing in front, as in `http://{url}`"),
            },
        )),
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty()).map(|value| value.trim().to_owned())
}

fn first_line(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(url: Option<&str>) -> Local {
        Local {
            url: url.map(str::to_owned),
            token: Some(Secret::new("lsh_local")),
            token_path: "data/admin-token".into(),
        }
    }

    fn token(server: &Server) -> Option<&str> {
        server.token.as_ref().map(|token| token.expose())
    }

    #[test]
    fn the_environment_comes_first() {
        let server =
            Server::choose(Some("https://a.example/".into()), Some("lsh_env".into()), local(None)).unwrap();
        assert_eq!((server.url.as_str(), token(&server)), ("https://a.example", Some("lsh_env")));
    }

    #[test]
    fn a_local_token_is_not_shown_to_another_longshore() {
        let here = local(Some("http://127.0.0.1:8080"));
        let server = Server::choose(Some("https://elsewhere.example".into()), None, here).unwrap();
        assert_eq!(token(&server), None);
        assert_eq!(server.token_place, "LONGSHORE_TOKEN");
        let here = local(Some("http://127.0.0.1:8080"));
        let server = Server::choose(Some("http://127.0.0.1:8080/".into()), None, here).unwrap();
        assert_eq!(token(&server), Some("lsh_local"));
    }

    #[test]
    fn what_is_no_address_is_said() {
        for bad in ["localhost:8080", "ftp://x", "nonsense"] {
            assert!(Server::choose(Some(bad.into()), None, local(None)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        assert_eq!(url_of("0.0.0.0:80").as_deref(), Some("http://127.0.0.1:80"));
        assert_eq!(url_of("[::]:80").as_deref(), Some("http://[::1]:80"));
        assert_eq!(url_of("10.1.2.3:80").as_deref(), Some("http://10.1.2.3:80"));
        assert_eq!(url_of("127.0.0.1:0"), None);
    }
}
