//! A registry of a test's own, with images that the engine pulls.

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use proto::ImageRef;
use tempfile::TempDir;

use crate::lab::{docker, environment};

/// User of a registry that asks for a key.
pub(crate) const USER: &str = "ci";
/// Its password: in standard base64 its encoding has characters that the URL-safe alphabet has not.
pub(crate) const PASSWORD: &str = "s?cr>t~~";
const PASSWORD_HASH: &str = "$2b$04$LGGh72.TWuzZCGHrK/wgoe3U90u/LlbpLtp94BHjhAaKTOesSPThe";

/// A registry on a free port, stopped when dropped.
pub(crate) struct Registry {
    address: SocketAddr,
    child: Child,
    _storage: TempDir,
}

impl Registry {
    /// One that anybody may use.
    pub(crate) fn start() -> Registry {
        Registry::start_with("")
    }

    /// One that takes only [`USER`] with [`PASSWORD`].
    pub(crate) fn start_private() -> Registry {
        Registry::start_with("auth: {htpasswd: {realm: test, path: HOME/users}}\n")
    }

    /// One that `more` of its configuration is for, in which `HOME` is a directory of its own.
    pub(crate) fn start_with(more: &str) -> Registry {
        Registry::start_at("", more, tempfile::tempdir().unwrap())
    }

    /// One that is reached over TLS alone, and the certificate that vouches for it, in PEM.
    pub(crate) fn start_over_tls() -> (Registry, String) {
        let storage = tempfile::tempdir().unwrap();
        let file = |name: &str| storage.path().join(name).display().to_string();
        let done = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=registry"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", &file("key.pem"), "-out", &file("certificate.pem")])
            .output()
            .unwrap();
        assert!(done.status.success(), "openssl: {}", String::from_utf8_lossy(&done.stderr));
        let certificate = std::fs::read_to_string(file("certificate.pem")).unwrap();
        let tls = ", tls: {certificate: HOME/certificate.pem, key: HOME/key.pem}";
        (Registry::start_at(tls, "", storage), certificate)
    }

    fn start_at(http: &str, more: &str, storage: TempDir) -> Registry {
        let home = storage.path().to_str().unwrap();
        std::fs::write(storage.path().join("users"), format!("{USER}:{PASSWORD_HASH}\n")).unwrap();
        let address = free_address();
        let configuration = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {home}/data}}}}\n\
             http: {{addr: {address}, secret: test{}}}\n{}",
            http.replace("HOME", home),
            more.replace("HOME", home)
        );
        let file = storage.path().join("config.yml");
        std::fs::write(&file, configuration).unwrap();
        let binary =
            std::env::var("LONGSHORE_TEST_REGISTRY_BIN").unwrap_or("/usr/bin/docker-registry".into());
        let child = Command::new(&binary)
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {binary}: {error}; run tests through tests/run"));
        let registry = Registry { address, child, _storage: storage };
        registry.wait_until_it_listens();
        registry
    }

    /// Its host, as image references name it.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Builds an image that runs `command` and pushes it; what the tag names, without a digest.
    pub(crate) fn push(&self, name_and_tag: &str, command: &[&str]) -> ImageRef {
        let image = format!("{}/{name_and_tag}", self.address);
        build(&image, command);
        docker(&["push", &image]);
        image.parse().unwrap()
    }

    /// The same under the tag `latest`; the image as those write it who name no tag.
    pub(crate) fn push_untagged(&self, name: &str, command: &[&str]) -> String {
        self.push(&format!("{name}:latest"), command);
        format!("{}/{name}", self.address)
    }

    /// Keeps the docker CLI's login for this registry in a directory of its own, for a push.
    pub(crate) fn push_with_login(&self, name_and_tag: &str, command: &[&str]) -> ImageRef {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().to_str().unwrap();
        let host = self.host();
        let login = ["--config", home, "login", "-u", USER, "-p", PASSWORD, &host];
        docker(&login);
        let image = format!("{host}/{name_and_tag}");
        build(&image, command);
        docker(&["--config", home, "push", &image]);
        // So that the tasks have to pull it.
        docker(&["image", "rm", &image]);
        image.parse().unwrap()
    }

    fn wait_until_it_listens(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.address).is_err() {
            assert!(Instant::now() < deadline, "the registry did not come up on {}", self.address);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Below those ports that the kernel gives to outgoing connections, so that none takes it before the registry does.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(31_000);
    let next = || SocketAddr::from((Ipv4Addr::LOCALHOST, NEXT.fetch_add(1, Ordering::Relaxed)));
    std::iter::repeat_with(next).find(|address| TcpListener::bind(address).is_ok()).unwrap()
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without the cache: tests run side by side, and one may remove a layer that another is about to reuse.
fn build(image: &str, command: &[&str]) {
    let base = environment("LONGSHORE_TEST_BASE_IMAGE");
    let command = serde_json::to_string(command).unwrap();
    // The label makes each image one of its own.
    let made_at = proto::Timestamp::now();
    let recipe = format!("FROM {base}\nLABEL test.image={image} test.made_at={made_at}\nCMD {command}\n");
    let mut build = Command::new("docker")
        .args(["build", "-q", "--no-cache", "-t", image, "-"])
        .env("DOCKER_HOST", environment("LONGSHORE_TEST_DOCKER"))
        .env("DOCKER_BUILDKIT", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    build.stdin.take().unwrap().write_all(recipe.as_bytes()).unwrap();
    let done = build.wait_with_output().unwrap();
    assert!(done.status.success(), "docker build: {}", String::from_utf8_lossy(&done.stderr));
}
