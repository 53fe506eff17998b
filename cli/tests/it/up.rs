//! `up` as a new user tries it: started, pushed to, killed, started again.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Child, Command},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::shell::Shell;

const PATIENCE: Duration = Duration::from_secs(20);

/// A running `longshore up`; killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Running {
    pub(crate) fn start(shell: &Shell, words: &str) -> Running {
        let mut child = shell.start(&format!("up --listen 127.0.0.1:0 {words}"));
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (stdout, kept) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Running { child, lines }
    }

    /// The first line that has all these words, now or soon.
    #[track_caller]
    fn line(&mut self, words: &[&str]) -> String {
        let began = Instant::now();
        loop {
            let lines = self.lines.lock().unwrap().clone();
            if let Some(line) = lines.iter().find(|line| words.iter().all(|word| line.contains(word))) {
                return line.clone();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                began.elapsed() < PATIENCE && ended.is_none(),
                "no line with {words:?} (ended: {ended:?}) in:\n{}",
                lines.join("\n")
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn url(&mut self) -> String {
        self.line(&["page", "http://"]).split_whitespace().last().unwrap().trim_end_matches('/').to_owned()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `curl -d BODY URL` does.
fn curl(url: &str, body: &str) -> (u16, Value) {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// Pushes `image` to the demo's hook and gives the job's id.
fn push(url: &str, image: &str) -> String {
    let (status, body) = curl(&format!("{url}/hooks/demo"), &format!("{{\"image\":\"{image}\"}}"));
    assert_eq!(status, 202, "{body}");
    body["jobs"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_push_is_carried_out_and_told() {
    let shell = Shell::new();
    let mut up = Running::start(&shell, "");
    let url = up.url();
    up.line(&["curl -d", &format!("{url}/hooks/demo")]);
    let job = push(&url, "demo:2");
    shell.run(&format!("watch {job}")).ended(0).said(&["accepted", "started", "succeeded"]);
    for state in ["accepted", "started", "succeeded"] {
        up.line(&["default/demo", state, "demo:2"]);
    }
    shell.run(&format!("job show {job}")).ended(0).said(&["docker.io/library/demo:2", "succeeded"]);
    shell.run("jobs --target demo").ended(0).said(&[&job]);
    shell.run("targets").ended(0).said(&["default/demo", "demo:*"]);
    shell.run("deploy demo --image demo:3 --wait").ended(0).said(&["succeeded"]);
    shell.run("deploy nowhere --image demo:3").ended(5).said(&["nowhere", "hint: "]);
}

#[test]
fn the_token_is_for_its_owner_and_is_asked_for() {
    let shell = Shell::new();
    let mut up = Running::start(&shell, "--data kept");
    let url = up.url();
    up.line(&["token", "kept/admin-token"]);
    let token = shell.folder().join("kept/admin-token");
    assert_eq!(std::fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(token).unwrap();
    assert!(token.starts_with("lsh_"), "{token}");
    assert!(!up.lines.lock().unwrap().join("\n").contains(token.trim()));
    shell.run("jobs --data kept").ended(0);
    Shell::at(&url).run("jobs").ended(5).said(&["refuses the token", "LONGSHORE_TOKEN"]);
}

#[test]
fn what_was_accepted_survives_a_sudden_death() {
    let shell = Shell::new();
    let mut up = Running::start(&shell, "");
    let url = up.url();
    let done = push(&url, "demo:1");
    up.line(&["succeeded", "demo:1"]);
    let cut_off = push(&url, "demo:2");
    up.line(&["started", "demo:2"]);
    let waiting = push(&url, "demo:3");
    up.kill();

    let mut up = Running::start(&shell, "");
    up.url();
    shell.run(&format!("watch {waiting}")).ended(0).said(&["accepted", "succeeded"]);
    // A newer wish for the same thing may have taken the place of the one that was cut off.
    let ran = shell.run(&format!("watch {cut_off}"));
    assert!(ran.code == 0 || ran.code == 4, "{}\n{}", ran.stdout, ran.stderr);
    shell.run(&format!("job show {done}")).ended(0).said(&["accepted", "started", "succeeded"]);
    up.line(&["demo:3", "succeeded"]);
}

#[test]
fn what_is_in_use_is_told() {
    let shell = Shell::new();
    let mut up = Running::start(&shell, "");
    up.url();
    shell.run("up --listen 127.0.0.1:0").ended(2).said(&["longshore-data", "in use", "--data"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ran = shell.run(&format!("up --data other --listen {address}")).ended(2);
    ran.said(&["cannot listen on", "another process", "--listen"]);
    shell.write("file", "");
    shell.run("up --listen 127.0.0.1:0 --data file/data").ended(2).said(&["file/data", "--data"]);
}

#[test]
fn it_ends_in_good_order_when_asked() {
    let shell = Shell::new();
    let mut up = Running::start(&shell, "");
    up.url();
    let pid = up.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let began = Instant::now();
    let ended = loop {
        if let Some(ended) = up.child.try_wait().unwrap() {
            break ended;
        }
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(ended.success());
}

#[test]
fn a_configuration_of_ones_own_is_used_instead() {
    let shell = Shell::new();
    shell.write(
        "longshore.yaml",
        "version: 1\ndata: kept\nsources:\n  any: {kind: plain, open: true}\nsystems:\n  lab: {kind: rehearsal}\n\
         targets:\n  good: {at: lab, takes: 0s, follow: 'acme/good:*'}\n  bad: {at: lab, takes: 0s, ends: failed}\n  \
         back: {at: lab, takes: 0s, ends: rolled-back}\n",
    );
    let mut up = Running::start(&shell, "--config longshore.yaml");
    let url = up.url();
    up.line(&["hook", &format!("{url}/hooks/any")]);
    for (target, code) in [("good", 0), ("bad", 1), ("back", 3)] {
        let typed = format!("deploy {target} --image acme/{target}:1 --wait --data kept");
        shell.run(&typed).ended(code);
    }
}

#[test]
fn that_any_certificate_is_taken_is_said_at_every_start() {
    let shell = Shell::new();
    shell.write(
        "longshore.yaml",
        "version: 1\ndata: kept\nsystems:\n  docks: {kind: portainer, url: 'https://127.0.0.1:1', api_key: secret-x, insecure_tls: true}\n  \
         farm: {kind: rancher, url: 'https://127.0.0.1:1', token: 'token-a:secret-x', insecure_tls: true}\n  \
         k8s: {kind: kubernetes, url: 'https://127.0.0.1:1', token: secret-x, insecure_tls: true}\n\
         targets:\n  shop: {at: docks, stack: shop}\n  admin: {at: farm, workload: 'local:p-a/deployment:shop:web'}\n  \
         web: {at: k8s, workload: shop/deployment/web}\n",
    );
    for _ in 0..2 {
        let mut child = shell.start("up --listen 127.0.0.1:0 --config longshore.yaml");
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (tell, said) = std::sync::mpsc::channel();
        // Ends with the command.
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let mut left = vec!["docks", "farm", "k8s"];
        while !left.is_empty()
            && let Ok(line) = said.recv_timeout(Duration::from_secs(30))
        {
            assert!(!line.contains("secret-x"), "{line}");
            left.retain(|system| !(line.contains("any certificate is taken") && line.contains(system)));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(left.is_empty(), "nothing is said of {left:?}");
    }
}
