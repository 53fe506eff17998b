//! Passwords: hashed with argon2id, a few at a time and never where requests are served.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use config::Secret;
use tokio::sync::Semaphore;

/// Shortest and longest password, in characters and in bytes.
const SHORTEST: usize = 10;
const LONGEST: usize = 1_024;

/// Hashed at a time: each takes 19 MiB and a processor for a moment.
const AT_ONCE: usize = 2;
/// Those who wait for that at most.
const MOST_WAITING: usize = 64;

/// Why a password cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too easily guessed.
    #[error("the password has fewer than {SHORTEST} characters")]
    Short,
    /// Nobody types that.
    #[error("the password has more than {LONGEST} bytes")]
    Long,
    /// The machine gave no memory or no randomness.
    #[error("the password could not be hashed")]
    Failed,
}

/// Why a password was not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotCompared {
    /// Too many wait.
    Busy,
    /// The machine failed.
    Failed,
}

/// The hash of a password, with its salt and cost, as it stands in a file.
///
/// # Errors
/// When the password is too short or too long, or the machine fails.
pub(crate) fn hash(password: &Secret) -> Result<String, PasswordError> {
    let text = password.expose();
    if text.chars().count() < SHORTEST {
        return Err(PasswordError::Short);
    }
    if text.len() > LONGEST {
        return Err(PasswordError::Long);
    }
    let hashed = Argon2::default().hash_password(text.as_bytes());
    hashed.map(|hash| hash.to_string()).map_err(|_| PasswordError::Failed)
}

/// Whether a text is a hash that passwords can be compared with.
pub(crate) fn is_hash(text: &str) -> bool {
    text.starts_with("$argon2id$") && PasswordHash::new(text).is_ok()
}

fn matches(hash: &str, password: &Secret) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok()
}

/// Compares what is presented where there is nothing to compare with, so that the time does not tell who exists.
static NOBODYS: LazyLock<String> = LazyLock::new(|| {
    let random = Secret::new(hex::encode(rand::random::<[u8; 16]>()));
    hash(&random).unwrap_or_default()
});

/// Compares and hashes passwords aside, a few at a time.
#[derive(Debug)]
pub(crate) struct Hashing {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Default for Hashing {
    fn default() -> Hashing {
        Hashing { places: Arc::new(Semaphore::new(AT_ONCE)), waiting: AtomicUsize::new(0) }
    }
}

impl Hashing {
    /// Whether `password` is that of `hash`; none never is, and takes as long.
    pub(crate) async fn compare(&self, hash: Option<String>, password: Secret) -> Result<bool, NotCompared> {
        self.aside(move || match hash {
            Some(hash) => matches(&hash, &password),
            None => {
                matches(&NOBODYS, &password);
                false
            }
        })
        .await
    }

    /// Hashes a new password.
    pub(crate) async fn hash(&self, password: Secret) -> Result<Result<String, PasswordError>, NotCompared> {
        self.aside(move || hash(&password)).await
    }

    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotCompared> {
        let _waiting = Waiting::begin(&self.waiting).ok_or(NotCompared::Busy)?;
        // Never closed. The place is held until the work is done, also when the caller hangs up.
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| NotCompared::Failed)?;
        let working = tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        });
        working.await.map_err(|_| NotCompared::Failed)
    }
}

/// One of those who wait, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn begin(waiting: &AtomicUsize) -> Option<Waiting<'_>> {
        let one = Waiting(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING).then_some(one)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash() {
        let good = Secret::new("correct horse battery");
        let kept = hash(&good).unwrap();
        assert!(is_hash(&kept) && !kept.contains("horse"));
        assert!(matches(&kept, &good) && !matches(&kept, &Secret::new("correct horse batterY")));
        assert_ne!(hash(&good).unwrap(), kept);
        assert!(!is_hash("") && !is_hash("$argon2i$v=19$x") && !is_hash("plain"));
        assert_eq!(hash(&Secret::new("short")), Err(PasswordError::Short));
        assert_eq!(hash(&Secret::new("x".repeat(2_000))), Err(PasswordError::Long));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn those_who_wait_are_bounded_and_none_is_lost() {
        let hashing = Arc::new(Hashing::default());
        let stuck = Arc::clone(&hashing.places).acquire_many_owned(2).await.unwrap();
        let asking: Vec<_> = (0..MOST_WAITING + 5)
            .map(|_| {
                let hashing = Arc::clone(&hashing);
                tokio::spawn(async move { hashing.aside(|| 7).await })
            })
            .collect();
        let busy = |done: &[_]| done.iter().filter(|one| **one == Err(NotCompared::Busy)).count();
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
        while hashing.waiting.load(Ordering::Relaxed) < MOST_WAITING {
            assert!(tokio::time::Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
        while asking.iter().filter(|one| one.is_finished()).count() < 5 {
            assert!(tokio::time::Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
        drop(stuck);
        let mut done = Vec::new();
        for one in asking {
            done.push(one.await.unwrap());
        }
        assert_eq!((busy(&done), done.iter().filter(|one| **one == Ok(7)).count()), (5, MOST_WAITING));
        assert_eq!(hashing.waiting.load(Ordering::Relaxed), 0);
    }
}
