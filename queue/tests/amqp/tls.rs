//! A broker that speaks TLS only, and lets in who shows a certificate.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use config::Secret;
use queue::{AmqpSettings, ClientCertificate, Queue, TlsSettings, amqp::Amqp};
use tempfile::TempDir;

use crate::support::{SOON, soon};

/// Longest start of a broker.
const START: Duration = Duration::from_secs(90);

/// A node of the test's own; dropping it kills it.
struct TlsBroker {
    folder: TempDir,
    port: u16,
    process: Child,
}

impl TlsBroker {
    fn start() -> TlsBroker {
        // A newer broker of the run sees the run's directory and nothing else of the machine.
        let run = std::env::var("LONGSHORE_TEST_DIR").expect("the tests are run through tests/run");
        let folder = TempDir::new_in(run).unwrap();
        make_certificates(folder.path());
        let (port, distribution) = (free_port(), free_port());
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("rabbitmq.conf"), configuration(folder.path(), port)).unwrap();
        std::fs::write(path("enabled_plugins"), "[].").unwrap();
        std::fs::write(path("advanced.config"), "[].").unwrap();
        let log = std::fs::File::create(path("log")).unwrap();
        let mut command = Command::new("rabbitmq-server");
        command
            .env("RABBITMQ_NODENAME", format!("tls-{port}@localhost"))
            .env("RABBITMQ_NODE_PORT", port.to_string())
            .env("RABBITMQ_DIST_PORT", distribution.to_string())
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", path("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
            .env("RABBITMQ_LOG_BASE", path("logs"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", path("generated"))
            .env("RABBITMQ_PID_FILE", path("pid"))
            .env("ERL_CRASH_DUMP", path("crash.dump"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        // A group of its own, so that one signal reaches the node and the script that starts it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let process = command.spawn().expect("a broker can be started: run the tests through tests/run");
        TlsBroker { folder, port, process }
    }

    /// Settings for it, with this certificate to show.
    fn settings(&self, certificate: Option<&str>) -> AmqpSettings {
        // As they come out of files that a configuration names.
        let read = |name: String| {
            std::fs::read_to_string(self.folder.path().join(name)).unwrap().trim_end().to_owned()
        };
        let certificate = certificate.map(|name| {
            let (chain, key) = (read(format!("{name}.pem")), Secret::new(read(format!("{name}.key"))));
            Box::new(ClientCertificate { chain, key })
        });
        AmqpSettings {
            tls: Some(TlsSettings { authorities: Some(read("ca.pem".to_owned())), certificate }),
            ..AmqpSettings::new(vec![format!("localhost:{}", self.port)], "guest", Secret::new("guest"))
        }
    }

    /// Waits until it lets in who may come in.
    async fn opened(&self) -> Amqp {
        let queue = Amqp::open(&self.settings(Some("client"))).await.unwrap();
        let coming = async {
            while !queue.is_available() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let came = tokio::time::timeout(START, coming).await;
        assert!(came.is_ok(), "{}", std::fs::read_to_string(self.folder.path().join("log")).unwrap());
        queue
    }
}

impl Drop for TlsBroker {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("/bin/kill").args(["-s", "KILL", "--", &group]).status();
        let _ = self.process.wait();
    }
}

/// Below those that the kernel gives to outgoing connections, so that none takes it before the broker does.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(30_000);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed)).find(is_free).unwrap()
}

fn configuration(folder: &Path, port: u16) -> String {
    let file = |name: &str| folder.join(name).display().to_string();
    format!(
        "listeners.tcp = none\nlisteners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {}\n\
         ssl_options.certfile = {}\nssl_options.keyfile = {}\nssl_options.verify = verify_peer\n\
         ssl_options.fail_if_no_peer_cert = true\nlog.console = true\nlog.file = false\n\
         vm_memory_high_watermark.absolute = 1GiB\ndisk_free_limit.absolute = 100MB\n",
        file("ca.pem"),
        file("server.pem"),
        file("server.key"),
    )
}

/// Two authorities, and of the first a certificate for the broker and one for us; of the second one for nobody.
fn make_certificates(folder: &Path) {
    for authority in ["ca", "other-ca"] {
        let subject = format!("/CN=test {authority}");
        let (key, certificate) = (format!("{authority}.key"), format!("{authority}.pem"));
        let made =
            ["-x509", "-nodes", "-days", "2", "-subj", &subject, "-keyout", &key, "-out", &certificate];
        openssl(folder, &[&["req", "-newkey", "rsa:2048"], &made[..]].concat());
    }
    for (name, authority) in [("server", "ca"), ("client", "ca"), ("stranger", "other-ca")] {
        let (key, request, certificate) =
            (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        let made = ["-nodes", "-subj", &subject, "-keyout", &key, "-out", &request];
        openssl(folder, &[&["req", "-newkey", "rsa:2048"], &made[..]].concat());
        std::fs::write(folder.join("names"), "subjectAltName = DNS:localhost\n").unwrap();
        let (ca, ca_key) = (format!("{authority}.pem"), format!("{authority}.key"));
        let signing =
            ["-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-out", &certificate];
        openssl(folder, &[&["x509", "-req", "-days", "2", "-extfile", "names"], &signing[..]].concat());
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let made = Command::new("openssl").current_dir(folder).args(arguments).output().expect("openssl runs");
    assert!(made.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_asks_for_a_certificate_lets_in_who_shows_its_own() {
    let broker = TlsBroker::start();
    let queue = broker.opened().await;
    let pool = proto::PoolName::default();
    let mut taking = soon(queue.take(&pool, 1)).await.unwrap();
    let job = crate::support::job("web");
    soon(queue.publish(&job)).await.unwrap();
    assert_eq!(soon(taking.next()).await.unwrap().body().as_ref(), job.encode());
    // Questions go over connections of their own, which must show it as well.
    let mut questions = soon(queue.questions(&pool)).await.unwrap();
    let answering = async { soon(questions.next()).await.unwrap().answer("yes".into()).await };
    let (answer, ()) = futures::join!(queue.ask(&pool, "?".into(), SOON), answering);
    assert_eq!(answer.unwrap(), "yes");
    for refused in [None, Some("stranger")] {
        let outside = Amqp::open(&broker.settings(refused)).await.unwrap();
        assert!(!outside.is_available(), "{refused:?}");
    }
    let trusting_another = AmqpSettings {
        tls: Some(TlsSettings {
            authorities: Some(std::fs::read_to_string(broker.folder.path().join("other-ca.pem")).unwrap()),
            ..broker.settings(Some("client")).tls.unwrap()
        }),
        ..broker.settings(None)
    };
    assert!(!Amqp::open(&trusting_another).await.unwrap().is_available(), "a broker that is not trusted");
    queue.close().await;
}
