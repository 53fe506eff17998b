//! Configurations, tried with much else.

use config::{Document, Faults};

use crate::{configuration::Reading, reload};

const WORDS: &[&str] = &[
    "sources:",
    "targets:",
    "systems:",
    "windows:",
    "{kind: ",
    "follow: ",
    "at: swarm",
    "key: ",
    "\n  ",
    ": {",
    "}\n",
    "[a, b]",
    "*x",
    "&x ",
    "<<: *x",
    "${HOME}",
    "${NOT_SET:-x}",
    "key_file: /dev/null",
    "pool: ",
    "20:00",
    "Asia/Shanghai",
    "1h30m",
];

/// The configurations of the documentation, and the one that runs without a file.
fn seeds() -> Vec<Vec<u8>> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let pages = [
        "README.md",
        "docs/producers.md",
        "docs/gates.md",
        "docs/portainer.md",
        "docs/kubernetes.md",
        "docs/rancher.md",
    ];
    let mut seeds = vec![include_bytes!("demo.yaml").to_vec()];
    for page in pages {
        let text = std::fs::read_to_string(format!("{root}/{page}")).unwrap();
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        // Secrets are written out: no file is there.
        seeds.extend(blocks.map(|block| block.replace("_file: /", ": ").into_bytes()));
    }
    assert!(seeds.len() > 20, "the examples were not found");
    seeds
}

#[test]
fn fuzz_configuration() {
    fuzz::run("configuration", seeds(), WORDS, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return 0 };
        // Nothing of the machine is read: neither devices nor the keys of whoever runs this.
        if text.contains("_file") || text.contains("kubeconfig") {
            return 1;
        }
        let mut reading = match Reading::of_text("l.yaml", text) {
            Ok(reading) => reading,
            Err(faults) => return told(&faults, text),
        };
        let read = reading.common().zip(reading.ingress()).zip(reading.worker());
        match reading.finish(read) {
            Err(faults) => told(&faults, text),
            Ok(((common, ingress), worker)) => {
                let _bound = reload::Fixed::of(&common, None).and_ingress(&common, &ingress, None);
                fuzz::outcome(&(ingress.public_url().is_some(), worker.pools().len(), worker.has_stacks()))
            }
        }
    });
}

/// Each fault has its line, which is one of the text.
fn told(faults: &Faults, text: &str) -> u64 {
    assert!(!faults.is_empty(), "refused without a word");
    // YAML's lines end with a bare carriage return too, and what is missing at the end is missing behind the last.
    let lines = text.matches(['\n', '\r']).count() + 2;
    for fault in faults.iter() {
        if let Some(place) = &fault.place {
            let line: usize =
                place.to_string().rsplit(':').nth(1).and_then(|line| line.parse().ok()).unwrap_or_default();
            assert!((1..=lines).contains(&line), "{fault} in a text of {lines} lines");
        }
        assert!(!fault.message.is_empty());
    }
    let first = faults.iter().next().map(|fault| fuzz::words(&fault.message));
    fuzz::outcome(&(first, faults.len().min(4)))
}

/// A document alone, as deep and as wide as it comes.
#[test]
fn fuzz_document() {
    fuzz::run("document", seeds(), WORDS, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return 0 };
        match Document::parse("l.yaml", text) {
            Ok(document) => fuzz::outcome(&document.root().entries().count()),
            Err(faults) => told(&faults, text),
        }
    });
}
