//! Behind nginx with TLS, as docs/tls.md has it.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Certificate, Client};
use serde_json::json;
use tests::{
    fleet::{Engine, Fleet},
    http, ports,
    process::Process,
    sse::EventStream,
    wait::eventually,
};
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(30);
const GUIDE: &str = include_str!("../../../docs/tls.md");
const HOST: &str = "deploy.example.org";

#[tokio::test]
async fn nginx_as_the_guide_has_it_hands_everything_on() {
    let mut fleet = Fleet::prepare(Engine::Embedded).await.unwrap();
    let (hooks, https) = (ports::take_two().unwrap(), ports::take_two().unwrap());
    let sections = format!(
        "hooks_listen: 127.0.0.1:{hooks}\npublic_url: https://{HOST}:{https}\n\
         limits: {{trusted_proxies: [127.0.0.1], loopback: true, clients: {{per_second: 1, burst: 40}}}}\n\
         sources: {{demo: {{kind: plain, key: sesame-open-sesame}}}}\nsystems: {{stage: {{kind: rehearsal}}}}\n\
         targets: {{demo: {{at: stage, follow: 'demo:*', takes: 20ms}}}}\n"
    );
    fleet.configure(&sections).unwrap();
    fleet.start().await.unwrap();
    certificate(fleet.folder()).await.unwrap();
    let nginx = nginx(&fleet, hooks, https).unwrap();
    let url = |path: &str| format!("https://{HOST}:{https}{path}");
    let caller = |from: &str| caller(fleet.folder(), https, from);
    let one = caller("127.0.0.2").unwrap();
    eventually(SOON, "nginx to answer", || async { Ok(one.get(url("/healthz")).send().await?) })
        .await
        .unwrap_or_else(|error| panic!("{error:#}: {}", nginx.lines().join("\n")));

    // Events come while the stream is open.
    let mut events = EventStream::open(fleet.with_token(one.get(url("/v1/events")))).await.unwrap();
    let push = |client: &Client, body: &str| {
        http::answer(client.post(url("/hooks/demo?key=sesame-open-sesame")).body(body.to_owned()))
    };
    let (status, told) = push(&one, r#"{"image":"demo:1"}"#).await.unwrap();
    assert_eq!(status.as_u16(), 202, "{told}");
    let link = told["jobs"][0]["status_url"].as_str().unwrap().to_owned();
    assert!(link.starts_with(&url("/v1/jobs/")), "{link}");
    for state in ["accepted", "started"] {
        let event = events.next(SOON).await.unwrap().unwrap();
        assert_eq!(event.event, format!("longshore.job.{state}"));
    }
    let (status, shown) = http::answer(fleet.with_token(one.get(&link))).await.unwrap();
    assert_eq!((status.as_u16(), &shown["id"]), (200, &told["jobs"][0]["id"]));
    let (status, _) = http::answer(one.get(url("/v1/jobs"))).await.unwrap();
    assert_eq!(status.as_u16(), 401);

    // What asks for no token stays within, however it is written.
    for inner in ["/metrics", "/openapi.json"] {
        let (status, _) = http::answer(fleet.get(inner)).await.unwrap();
        assert_eq!(status.as_u16(), 200, "{inner}");
        for written in
            [inner.to_owned(), format!("/{inner}"), format!("/hooks/%2e%2e{inner}"), format!("{inner}?x=1")]
        {
            let (status, told) = http::answer(one.get(url(&written))).await.unwrap();
            assert_eq!(status.as_u16(), 404, "{written}: {told}");
        }
    }

    // Each caller has its own share, whatever it writes of itself.
    let mut statuses = Vec::new();
    for _ in 0..80 {
        let asked = one.get(url("/v1/jobs")).header("x-forwarded-for", "198.51.100.7");
        statuses.push(http::answer(asked).await.unwrap().0.as_u16());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    let other = caller("127.0.0.3").unwrap();
    let (status, told) = push(&other, r#"{"image":"nobody:1"}"#).await.unwrap();
    assert_eq!((status.as_u16(), told["jobs"].clone()), (200, json!([])), "{told}");

    // No key in any log, neither of what was handed on nor of what could not be.
    fleet.kill().await.unwrap();
    let (status, _) = http::answer(other.post(url("/hooks/demo?key=sesame-open-sesame"))).await.unwrap();
    assert_eq!(status.as_u16(), 502);
    let (status, _) = http::answer(other.get(url("/v1/jobs?state=away"))).await.unwrap();
    assert_eq!(status.as_u16(), 502);
    let kept =
        ["access.log", "hooks.log"].map(|log| std::fs::read_to_string(fleet.folder().join(log)).unwrap());
    let logged = kept.concat() + &nginx.lines().join("\n");
    assert!(logged.contains("state=away"), "{logged}");
    assert!(!logged.contains("sesame-open-sesame"), "{logged}");
}

/// Runs nginx with the guide's text; only the ports and the paths of the certificate are other ones.
fn nginx(fleet: &Fleet, hooks: u16, https: u16) -> Result<Process> {
    let guide = GUIDE.split("```nginx\n").nth(1).and_then(|rest| rest.split("```").next());
    let mut text = guide.context("find the guide's configuration")?.to_owned();
    let folder = fleet.folder().display().to_string();
    for (there, here) in [
        ("listen 443 ssl", format!("listen 127.0.0.1:{https} ssl")),
        ("/etc/ssl/deploy.example.org", format!("{folder}/server")),
        ("/var/log/nginx/error.log", format!("{folder}/hooks.log")),
        ("127.0.0.1:8081", format!("127.0.0.1:{hooks}")),
        ("127.0.0.1:8080", fleet.address.clone()),
    ] {
        ensure!(text.contains(there), "the guide lacks `{there}`");
        text = text.replace(there, &here);
    }
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/nginx-{kind};\n"))
        .concat();
    let whole = format!(
        "user root;\ndaemon off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log {folder}/access.log;\n{paths}{text}}}\n"
    );
    let file = fleet.folder().join("nginx.conf");
    std::fs::write(&file, whole)?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(&folder).arg("-e").arg("stderr").arg("-c").arg(&file);
    Process::start(command).context("start nginx: tests/run installs it")
}

/// Makes an authority, and a certificate of its for the host.
async fn certificate(folder: &Path) -> Result<()> {
    std::fs::write(folder.join("names"), format!("subjectAltName=DNS:{HOST}\n"))?;
    let authority = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout authority.key -out authority.pem";
    let asked = format!("req -newkey rsa:2048 -nodes -subj /CN={HOST} -keyout server.key -out server.csr");
    let signed = "x509 -req -days 2 -extfile names -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -out server.pem";
    for arguments in [authority, &asked, signed] {
        let made = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output().await;
        let made = made.context("run openssl")?;
        ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    }
    Ok(())
}

/// One who trusts the authority, and calls from this address.
fn caller(folder: &Path, https: u16, from: &str) -> Result<Client> {
    http::client()?;
    let authority = Certificate::from_pem(&std::fs::read(folder.join("authority.pem"))?)?;
    let from: IpAddr = from.parse()?;
    let client = Client::builder().add_root_certificate(authority).local_address(from);
    let client = client.resolve(HOST, ([127, 0, 0, 1], https).into());
    client.build().context("build a client")
}
