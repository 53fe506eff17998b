//! Guessing is slow: after a few wrong passwords each further one has to wait, longer and longer.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Who is counted for how long after the last attempt.
const FORGET_AFTER: Duration = Duration::from_secs(60 * 60);
/// Most who are counted apart.
const MOST_COUNTED: usize = 10_000;

/// One user from one address; one address, whoever it asks for; one user, from wherever.
const OF_BOTH: Patience = Patience { free: 5, longest: Duration::from_secs(15 * 60) };
const OF_ADDRESS: Patience = Patience { free: 20, longest: Duration::from_secs(15 * 60) };
/// Short, or anybody could keep a user out by asking in their name.
const OF_USER: Patience = Patience { free: 30, longest: Duration::from_secs(10) };

/// How many attempts are free, and how long the next ones have to wait at most.
#[derive(Debug, Clone, Copy)]
struct Patience {
    free: u32,
    longest: Duration,
}

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Both(String, IpAddr),
    Address(IpAddr),
    User(String),
}

/// The attempts that were let through, and failed or are not decided yet.
#[derive(Debug, Clone, Copy)]
struct Attempts {
    count: u32,
    last: Instant,
}

/// Counts attempts to log in.
#[derive(Debug, Default)]
pub(crate) struct Guesses(Mutex<HashMap<Who, Attempts>>);

impl Guesses {
    /// Counts an attempt before it is decided, so that many at a time do not slip through.
    ///
    /// # Errors
    /// How long to wait, where there were too many; then this one does not count.
    pub(crate) fn begin(&self, user: &str, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let who = of(user, address);
        let waits = who.iter().filter_map(|(who, patience)| patience.wait(*counted.get(who)?, now)).max();
        if let Some(wait) = waits {
            return Err(wait);
        }
        make_room(&mut counted, now);
        for (who, _) in who {
            let attempts = counted.entry(who).or_insert(Attempts { count: 0, last: now });
            if now.saturating_duration_since(attempts.last) >= FORGET_AFTER {
                attempts.count = 0;
            }
            *attempts = Attempts { count: attempts.count.saturating_add(1), last: now };
        }
        Ok(())
    }

    /// The attempt was the user: what was counted of them is forgotten, and of their address this one.
    pub(crate) fn succeeded(&self, user: &str, address: IpAddr) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (who, _) in of(user, address) {
            match &who {
                Who::Both(..) | Who::User(_) => drop(counted.remove(&who)),
                Who::Address(_) => {
                    if let Some(attempts) = counted.get_mut(&who) {
                        attempts.count = attempts.count.saturating_sub(1);
                    }
                }
            }
        }
    }
}

impl Patience {
    /// How much longer to wait; none when there is no need.
    fn wait(self, attempts: Attempts, now: Instant) -> Option<Duration> {
        let passed = now.saturating_duration_since(attempts.last);
        let beyond = attempts.count.checked_sub(self.free)?;
        let pause = Duration::from_secs(1 << beyond.min(20)).min(self.longest);
        pause.checked_sub(passed).filter(|wait| !wait.is_zero() && passed < FORGET_AFTER)
    }
}

/// Behind a proxy on this machine everybody has its address, which then says nothing.
fn of(user: &str, address: IpAddr) -> Vec<(Who, Patience)> {
    let (user, address) = (user.to_lowercase(), address.to_canonical());
    let mut who = vec![(Who::Both(user.clone(), address), OF_BOTH), (Who::User(user), OF_USER)];
    if !address.is_loopback() {
        who.push((Who::Address(address), OF_ADDRESS));
    }
    who
}

fn make_room(counted: &mut HashMap<Who, Attempts>, now: Instant) {
    if counted.len() + 3 <= MOST_COUNTED {
        return;
    }
    counted.retain(|_, attempts| now.saturating_duration_since(attempts.last) < FORGET_AFTER);
    // Whoever fills it up makes room with those who were wrong least, seldom the ones who guess one password.
    for count in 1.. {
        if counted.len() + 3 <= MOST_COUNTED {
            return;
        }
        let mut rest = counted.len() + 3 - MOST_COUNTED + MOST_COUNTED / 10;
        counted.retain(|_, attempts| {
            let goes = rest > 0 && attempts.count <= count;
            rest -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    #[test]
    fn each_wrong_password_makes_the_next_one_wait_longer() {
        let (guesses, mut now) = (Guesses::default(), Instant::now());
        for _ in 0..5 {
            guesses.begin("anna", address(1), now).unwrap();
        }
        let mut waits = Vec::new();
        for _ in 0..14 {
            let wait = guesses.begin("Anna", address(1), now).unwrap_err();
            waits.push(wait.as_secs());
            now += wait;
            guesses.begin("anna", address(1), now).unwrap();
        }
        assert_eq!(waits[..10], [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
        assert_eq!(waits[10..], [900, 900, 900, 900]);
        guesses.begin("anna", address(2), now).unwrap();
        guesses.begin("bert", address(1), now).unwrap();
        guesses.begin("anna", address(1), now + FORGET_AFTER).unwrap();
        guesses.begin("anna", address(1), now + FORGET_AFTER).unwrap();
    }

    #[test]
    fn one_address_cannot_try_all_users_nor_all_addresses_one_user() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let let_through = (0..200).filter(|n| guesses.begin(&format!("user{n}"), address(1), now).is_ok());
        assert_eq!(let_through.count(), 20);
        let guesses = Guesses::default();
        let let_through = (0..200).filter(|n| guesses.begin("anna", address(*n), now).is_ok());
        assert_eq!(let_through.count(), 30);
        let guesses = Guesses::default();
        let here = IpAddr::from([127, 0, 0, 1]);
        assert_eq!((0..200).filter(|n| guesses.begin(&format!("user{n}"), here, now).is_ok()).count(), 200);
    }

    #[test]
    fn who_was_right_starts_anew() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for _ in 0..100 {
            guesses.begin("anna", address(1), now).unwrap();
            guesses.succeeded("anna", address(1));
        }
        for _ in 0..5 {
            guesses.begin("anna", address(1), now).unwrap();
        }
        assert!(guesses.begin("anna", address(1), now).is_err());
    }

    #[test]
    fn what_is_counted_is_bounded_and_who_guesses_much_is_kept() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let here = IpAddr::from([127, 0, 0, 1]);
        for _ in 0..5 {
            guesses.begin("anna", here, now).unwrap();
        }
        for n in 0..20_000 {
            let _ = guesses.begin(&format!("user{n}"), here, now);
        }
        assert!(guesses.0.lock().unwrap().len() <= MOST_COUNTED);
        assert!(guesses.begin("anna", here, now).is_err());
    }
}
