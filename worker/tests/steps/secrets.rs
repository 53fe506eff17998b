//! What an engine or the docker command quotes of a secret never leaves the worker.

use std::fs;

use proto::{Given, ImageRef, Job, Named, Operation, StackText, State};
use serde_json::json;

use crate::{
    dying::{events_of, run},
    lab::{STAYS_UP, environment, job},
    registry::Registry,
    texts::Stack,
};

const PROGRAM: &str = "PLAINSECRETXYZ";
const LINES: &str = "DB_USER=app\nmy PASSPHRASEXYZ line=1\nDB_PASS=ok\n";
const ESCAPED: &str = "PASSPHRASE\"XYZ4\\x";

fn secret(name: &str) -> Given {
    Given::Secret(Named { from: name.to_owned() })
}

fn texts(image: &ImageRef) -> [(&'static str, StackText); 3] {
    let with = |more: serde_json::Value| {
        let mut service = json!({
            "image": image, "networks": ["outside"],
            "deploy": {"restart_policy": {"condition": "any", "delay": "200ms"}},
        });
        service.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let networks = json!({"outside": {"external": true, "name": "host"}});
        StackText::of(json!({"services": {"web": service}, "networks": networks}).to_string())
    };
    // The engine quotes it in a task's error.
    let mut program = with(json!({"command": ["${M}"]}));
    program.env.insert("M".to_owned(), secret("program"));
    // The command quotes a part of a line.
    let mut lines = with(json!({"env_file": ["e.env"]}));
    lines.files.insert("e.env".to_owned(), secret("lines"));
    // The command quotes it with escapes.
    let mut escaped = with(json!({"volumes": ["${M}:relative/x:zz"]}));
    escaped.env.insert("M".to_owned(), secret("escaped"));
    [
        ("executable file not found", program),
        ("invalid env file (e.env)", lines),
        ("undefined volume", escaped),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_quoted_in_an_error_reaches_no_event() {
    let registry = Registry::start();
    let image = registry.push("quoted:1", STAYS_UP);
    for (error, text) in texts(&image) {
        let (stack, folder) = (Stack::new(), tempfile::tempdir().unwrap());
        let mut configuration = format!(
            "systems:\n  swarm: {{kind: swarm, host: \"{}\"}}\ntargets:\n  web: {{at: swarm, stack: {}}}\nsecrets:\n",
            environment("LONGSHORE_TEST_DOCKER"),
            stack.0
        );
        for (name, value) in [("program", PROGRAM), ("lines", LINES), ("escaped", ESCAPED)] {
            let file = folder.path().join(name);
            fs::write(&file, value).unwrap();
            configuration.push_str(&format!("  {name}: {{value_file: {}}}\n", file.display()));
        }
        fs::write(folder.path().join("longshore.yaml"), configuration).unwrap();
        let mut job: Job = job(&image);
        job.operation = Operation::DeployStack(text);
        job.slots = job.operation.slots();
        fs::write(folder.path().join("job.json"), serde_json::to_vec(&job).unwrap()).unwrap();
        assert!(run(&folder, None).await.success());

        let events = events_of(&folder).await;
        let end = events.iter().find(|event| event.state().is_end()).unwrap();
        assert_eq!(end.state(), State::Failed, "{end:?}");
        let all = format!("{events:?}");
        assert!(all.contains(error), "{error}: {all}");
        let kept = fs::read_dir(folder.path().join("queue")).unwrap();
        let kept: Vec<u8> =
            kept.flat_map(|file| fs::read(file.unwrap().path()).unwrap_or_default()).collect();
        for part in ["PLAINSECRETXYZ", "PASSPHRASEXYZ", "XYZ4"] {
            assert!(!all.contains(part), "{part}: {all}");
            let is_kept = kept.windows(part.len()).any(|window| window == part.as_bytes());
            assert!(!is_kept, "{part} is in the queue's files");
        }
    }
}
