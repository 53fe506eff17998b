#![doc = include_str!("../README.md")]

mod change;

use std::{
    collections::HashSet,
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use change::Changer;

/// Seconds for each target.
const SECONDS: &str = "LONGSHORE_FUZZ_SECONDS";
const SEED: &str = "LONGSHORE_FUZZ_SEED";
const USUAL_SECONDS: u64 = 3;

/// An input that takes as long is one that never ends.
const HANGS_AFTER: Duration = Duration::from_secs(30);

/// Most inputs that are kept to be changed.
const MOST_KEPT: usize = 20_000;

/// How often a finding is tried smaller.
const SMALLER: usize = 400;

/// What came of an input, in a number: equal for what went the same way.
pub fn outcome(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// The words of a text without its values: digits, and what stands in quotes.
#[must_use]
pub fn words(text: &str) -> String {
    let mut quoted = false;
    let mut words = String::new();
    for c in text.chars() {
        quoted ^= c == '`';
        if !quoted && !c.is_ascii_digit() {
            words.push(c);
        }
    }
    words
}

/// Tries `target` with inputs made of `seeds` and `dictionary` for as long as the environment says.
///
/// # Panics
/// With the input, when the target does.
pub fn run(
    name: &str,
    seeds: impl IntoIterator<Item = Vec<u8>>,
    dictionary: &[&str],
    target: impl Fn(&[u8]) -> u64,
) {
    let seconds = number(SECONDS).unwrap_or(USUAL_SECONDS);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = number(SEED).unwrap_or(u64::from(now.subsec_nanos()) ^ now.as_secs());
    let watched = Watched::begin(name);
    let mut kept: Vec<Vec<u8>> = seeds.into_iter().collect();
    let found = found(name);
    let (begin, mut tried, mut seen) = (Instant::now(), 0_u64, HashSet::new());
    for input in found.iter().chain(&kept) {
        seen.insert(try_one(&watched, &target, input).unwrap_or_else(|| fail(name, seed, &target, input)));
        tried += 1;
    }
    kept.extend(found);
    let mut changer = Changer::new(seed, dictionary);
    while begin.elapsed() < Duration::from_secs(seconds) {
        let input = changer.change(&kept);
        let Some(outcome) = try_one(&watched, &target, &input) else { fail(name, seed, &target, &input) };
        tried += 1;
        if kept.len() < MOST_KEPT && seen.insert(outcome) {
            kept.push(input);
        }
    }
    println!("fuzz {name}: {tried} inputs, {} outcomes, seed {seed}", seen.len());
    assert!(tried > 0, "nothing was tried");
}

/// None when the target panics.
fn try_one(watched: &Watched, target: &impl Fn(&[u8]) -> u64, input: &[u8]) -> Option<u64> {
    watched.note(input);
    catch_unwind(AssertUnwindSafe(|| target(input))).ok()
}

fn fail(name: &str, seed: u64, target: &impl Fn(&[u8]) -> u64, input: &[u8]) -> ! {
    let small = smaller(target, input);
    panic!(
        "fuzz {name}: the target panics (seed {seed}) at\n{}\nkeep it as a file in fuzz/found/{name}/",
        small.escape_ascii()
    )
}

/// A shorter input that panics as well.
fn smaller(target: &impl Fn(&[u8]) -> u64, input: &[u8]) -> Vec<u8> {
    let panics = |input: &[u8]| catch_unwind(AssertUnwindSafe(|| target(input))).is_err();
    let (mut input, mut length, mut left) = (input.to_vec(), input.len() / 2, SMALLER);
    while length > 0 {
        let mut at = 0;
        while at + length <= input.len() && left > 0 {
            let without = [&input[..at], &input[at + length..]].concat();
            left -= 1;
            if panics(&without) {
                input = without;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
    input
}

/// What was found before.
fn found(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("found").join(name);
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read(file.path()).ok()).collect()
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable} is no number: {text}"),
    }
}

/// The input that is being tried, and since when. One that never ends ends the process.
struct Watched {
    input: Arc<Mutex<(Vec<u8>, Instant)>>,
    is_over: Arc<AtomicBool>,
}

impl Watched {
    fn begin(name: &str) -> Watched {
        let input = Arc::new(Mutex::new((Vec::new(), Instant::now())));
        let is_over = Arc::new(AtomicBool::new(false));
        let (name, watched, over) = (name.to_owned(), Arc::clone(&input), Arc::clone(&is_over));
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(500));
                let (input, since) = watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if since.elapsed() > HANGS_AFTER && !over.load(Ordering::Relaxed) {
                    eprintln!("fuzz {name}: no end within {HANGS_AFTER:?} at\n{}", input.escape_ascii());
                    process::abort();
                }
            }
        });
        Watched { input, is_over }
    }

    fn note(&self, input: &[u8]) {
        let mut noted = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        noted.0.clear();
        noted.0.extend_from_slice(input);
        noted.1 = Instant::now();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_deep_inside_is_found_and_made_small() {
        let target = |input: &[u8]| {
            let text = String::from_utf8_lossy(input);
            assert!(!(text.contains("[[") && text.contains("key")), "found");
            outcome(&(text.matches('[').count().min(3), text.contains("key")))
        };
        let seeds = || [b"a long beginning { of something }".to_vec()];
        let caught = catch_unwind(AssertUnwindSafe(|| run("own", seeds(), &["key", "["], target)));
        let text = *caught.unwrap_err().downcast::<String>().unwrap_or_default();
        let input = text.lines().nth(1).unwrap_or_default();
        assert!(input.contains("[[") && input.contains("key") && input.len() <= 12, "{text}");
    }

    #[test]
    fn words_leave_values_out() {
        assert_eq!(words("line 12: `x 1` is no `y`"), "line : ` is no `");
    }
}
