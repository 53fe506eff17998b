//! The house stands as it was drawn: who may know whom, which crates stay where, and how long a file may be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Dependency, DependencyKind, MetadataCommand, Package};

/// What each package may know of ours; the arrows go one way, and the rooms beside each other stay apart.
const ARROWS: &[(&str, &[&str])] = &[
    ("fuzz", &[]),
    ("proto", &[]),
    ("config", &[]),
    ("queue", &["proto", "config"]),
    ("ingress", &["proto", "config", "queue"]),
    ("worker", &["proto", "config", "queue"]),
    ("notifier", &["proto", "config", "queue"]),
    ("cli", &["proto", "config", "queue", "ingress", "worker", "notifier"]),
];

/// Crates that stay in the rooms named, so that what they stand for can be changed there.
const KEPT: &[(&str, &[&str])] = &[
    ("lapin", &["queue"]),
    ("bollard", &["worker"]),
    ("deadpool", &["worker"]),
    ("reqwest", &["ingress", "worker", "notifier", "cli"]),
];

/// One crypto provider, and none that needs a C library of the machine.
const BANNED: &[&str] = &["aws-lc-rs", "aws-lc-sys", "native-tls", "openssl", "openssl-sys"];

/// Knows everything, and nothing knows it.
const TESTS: &str = "tests";

const LONGEST_FILE: usize = 400;

#[test]
fn every_arrow_between_our_packages_goes_down() {
    let packages = packages().unwrap();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut wrong = Vec::new();
    for package in packages.iter().filter(|package| package.name.as_str() != TESTS) {
        let Some((_, below)) = ARROWS.iter().find(|(name, _)| *name == package.name.as_str()) else {
            wrong.push(format!("{} has no place in the arrows: give it one", package.name));
            continue;
        };
        let known = package.dependencies.iter().filter(|dependency| !is_for_tests(dependency));
        let known = known.map(|dependency| dependency.name.as_str());
        // A package's own tests may ask it for what it keeps for tests.
        let others = known.filter(|known| *known != package.name.as_str());
        let upward = others.filter(|known| ours.contains(known) && !below.contains(known));
        wrong.extend(upward.map(|known| format!("{} must not know {known}", package.name)));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// The fuzzer, where only tests have it.
fn is_for_tests(dependency: &Dependency) -> bool {
    dependency.name == "fuzz" && dependency.kind == DependencyKind::Development
}

#[test]
fn crates_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for package in packages().unwrap().iter().filter(|package| package.name.as_str() != TESTS) {
        for (kept, rooms) in KEPT {
            let named = package.dependencies.iter().any(|dependency| dependency.name == *kept);
            if named && !rooms.contains(&package.name.as_str()) {
                wrong.push(format!("{} names {kept}, which stays in {rooms:?}", package.name));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_lock_file_holds_no_banned_crate() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let names: BTreeSet<&str> = lock.lines().filter_map(locked_name).collect();
    assert!(names.contains("ring"), "the lock file was not understood: {} names", names.len());
    let found: Vec<_> = BANNED.iter().filter(|banned| names.contains(*banned)).collect();
    assert!(found.is_empty(), "banned: {found:?}; `cargo tree -i NAME` shows who brings it");
}

#[test]
fn no_source_file_is_longer_than_a_reader_can_bear() {
    let mut long = Vec::new();
    assert!(files().unwrap().contains(&root().join("worker/src/lib.rs")), "the sources were not found");
    for file in files().unwrap().iter().filter(|file| file.extension().is_some_and(|end| end == "rs")) {
        let lines = std::fs::read_to_string(file).unwrap().lines().count();
        if lines > LONGEST_FILE {
            long.push(format!("{}: {lines} lines", file.display()));
        }
    }
    assert!(long.is_empty(), "longer than {LONGEST_FILE} lines, divide by meaning: {long:#?}");
}

#[test]
fn no_file_names_a_path_of_the_machine_it_was_written_on() {
    let mut found = Vec::new();
    for file in files().unwrap() {
        // What is not text holds no words.
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let lines = text.lines().enumerate().filter(|(_, line)| names_machine_path(line));
        found.extend(lines.map(|(number, line)| format!("{}:{}: {line}", file.display(), number + 1)));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_path_of_a_machine_is_told_from_a_part_of_an_address() {
    let path = |head: &str| format!("see {head}/someone/file");
    for head in ["/home", "/root", "/work"] {
        assert!(names_machine_path(&path(head)), "{head}");
    }
    assert!(!names_machine_path("https://example.org/work/file"));
    assert!(!names_machine_path("rework/home"));
}

/// In halves, so that this file does not find itself.
fn names_machine_path(line: &str) -> bool {
    ["home", "root", "work"].iter().any(|head| {
        let path = format!("/{head}/");
        line.match_indices(&path).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            before.is_none_or(|before| !before.is_alphanumeric() && !"./~_-}*".contains(before))
        })
    })
}

fn packages() -> Result<Vec<Package>> {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml")).no_deps().other_options(vec!["--offline".to_owned()]);
    Ok(command.exec().context("run cargo metadata")?.packages)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Every file of the repository, less what is built, what a trial run left and the secrets made there.
fn files() -> Result<Vec<PathBuf>> {
    let passed_over = [".git", "target", "longshore-data", "deploy/secrets"].map(|name| root().join(name));
    let mut files = Vec::new();
    let mut directories = vec![root()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))? {
            let entry = entry.context("read a directory")?;
            let kind = entry.file_type().context("read a file's type")?;
            if passed_over.contains(&entry.path()) {
                continue;
            } else if kind.is_file() {
                files.push(entry.path());
            } else if kind.is_dir() {
                directories.push(entry.path());
            }
        }
    }
    Ok(files)
}

fn locked_name(line: &str) -> Option<&str> {
    line.strip_prefix("name = \"")?.strip_suffix('"')
}
