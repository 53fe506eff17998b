//! `check --connect` asks what is behind a source as well.

use serde_json::Value;

use crate::{
    fake_github::{FakeGithub, TOKEN},
    fake_http::Mishap,
    shell::{Ran, Shell},
};

fn check(github: &FakeGithub, change: impl Fn(String) -> String, words: &str) -> Ran {
    let shell = Shell::new();
    let text = format!(
        "version: 1\nsources:\n  forge: {{kind: github, secret: of-the-hook, backfill: {}}}\n\
         systems: {{lab: {{kind: rehearsal}}}}\ntargets: {{demo: {{at: lab, follow: 'a/b:*'}}}}\n",
        github.section("10m")
    );
    shell.write("longshore.yaml", &change(text));
    shell.run(&format!("check --config longshore.yaml {words}"))
}

#[track_caller]
fn without_token(ran: Ran) -> Ran {
    for printed in [&ran.stdout, &ran.stderr] {
        assert!(
            !printed.contains(TOKEN) && !printed.contains("another-token"),
            "the token was printed:\n{printed}"
        );
    }
    ran
}

#[test]
fn a_token_that_fetches_missed_deliveries_is_tried() {
    let github = FakeGithub::start().unwrap();
    // Nobody is asked unless that is wished.
    check(&github, |text| text, "").ended(0);
    assert_eq!(github.listed(), 0);
    let ran = without_token(check(&github, |text| text, "--connect").ended(0));
    ran.said(&[
        "source forge:",
        "missed deliveries of the hook 4711 of the repository `acme/web` can be fetched",
    ]);
    assert_eq!((github.listed(), github.fetched()), (1, 0), "one cheap call");

    let ran = check(&github, |text| text.replace(TOKEN, "another-token"), "--connect --json").ended(1);
    let ran = without_token(ran);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(told["connected"][0]["source"], "forge", "{told}");
    let missing = told["connected"][0]["missing"][0].as_str().unwrap();
    assert!(missing.contains("GitHub does not take the token of `backfill`: give it another"), "{missing}");

    for (mishap, why) in [
        (Mishap::Instead(403, "{}"), "may not read the hook's deliveries: it needs to read webhooks"),
        (Mishap::Instead(404, "{}"), "GitHub knows no such hook"),
        (Mishap::Instead(301, ""), "has moved: write its name of today"),
        (Mishap::Instead(502, ""), "GitHub's API answered with 502"),
        (Mishap::Instead(200, "<html>"), "makes no sense"),
        (Mishap::CutBefore, "cannot reach GitHub's API"),
    ] {
        github.befall_next("/deliveries", mishap);
        let ran = without_token(check(&github, |text| text, "--connect").ended(1));
        ran.said(&[
            "source forge:",
            "missing: missed deliveries of the hook 4711",
            why,
            "something is missing:\n  ",
        ]);
    }
}
