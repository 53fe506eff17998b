//! Every refusal in the log, with a bound: whoever knocks often fills no disk and hides nobody else's knocking.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::problem::Kind;

/// How long is counted at a time.
const SPELL: Duration = Duration::from_secs(60);
/// Refusals told one by one in that time: of one kind and caller from one address, and of all.
const MOST_OF_ONE: u32 = 10;
const MOST_OF_ALL: u32 = 100;
/// Knocks counted apart; the others are one.
const MOST_APART: usize = 1_000;

/// Somebody was not let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal<'a> {
    pub(crate) kind: Kind,
    pub(crate) peer: Option<IpAddr>,
    /// Who it was, where that is known for certain.
    pub(crate) by: Option<&'a str>,
    pub(crate) method: &'a str,
    /// Without keys and query.
    pub(crate) path: &'a str,
}

/// Tells and counts refusals.
#[derive(Debug)]
pub(crate) struct Audit {
    /// By the place of the kind in [`Kind::ALL`].
    counts: Vec<AtomicU64>,
    spell: Mutex<Spell>,
    /// What else is told of callers: it hides no refusal.
    others: Mutex<Spell>,
}

/// What is counted apart: one who knocks must not hide another behind the same proxy, nor what else they tried.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Knock {
    kind: &'static str,
    peer: Option<IpAddr>,
    by: Option<String>,
}

impl Knock {
    fn of(refusal: &Refusal<'_>) -> Knock {
        Knock { kind: refusal.kind.slug(), peer: refusal.peer, by: refusal.by.map(str::to_owned) }
    }
}

/// What was told since `began`.
#[derive(Debug)]
struct Spell {
    began: Instant,
    told: u32,
    by_knock: HashMap<Option<Knock>, u32>,
    untold: u64,
}

/// What is said of a refusal.
#[derive(Debug, PartialEq, Eq)]
struct Word {
    /// This one is told.
    tell: bool,
    /// So many were not told in the spell before.
    missed: u64,
}

impl Default for Audit {
    fn default() -> Audit {
        let counts = Kind::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        let spell = || Mutex::new(Spell::new(Instant::now()));
        Audit { counts, spell: spell(), others: spell() }
    }
}

impl Audit {
    /// Counts a refusal, and tells it unless too many were told.
    pub(crate) fn note(&self, refusal: &Refusal<'_>) {
        if let Some(count) = self.counts.get(refusal.kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let word = self
            .spell
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .word(Knock::of(refusal), Instant::now());
        if word.missed > 0 {
            tracing::warn!(target: "audit", refusals = word.missed, "further refusals were counted and not told one by one");
        }
        if word.tell {
            tracing::warn!(
                target: "audit",
                reason = refusal.kind.slug(),
                status = refusal.kind.status().as_u16(),
                peer = refusal.peer.map(tracing::field::display),
                by = refusal.by,
                method = refusal.method,
                path = short(refusal.path),
                "access refused"
            );
        }
    }

    /// Whether something of this kind that a caller did is told one by one: whoever does it often fills no log. `by` is
    /// who it was, or through which source.
    pub(crate) fn is_told(&self, kind: &'static str, by: Option<&str>) -> bool {
        let knock = Knock { kind, peer: None, by: by.map(str::to_owned) };
        let word = self.others.lock().unwrap_or_else(PoisonError::into_inner).word(knock, Instant::now());
        if word.missed > 0 {
            tracing::warn!(
                requests = word.missed,
                "further requests that could not be used were not told one by one"
            );
        }
        word.tell
    }

    /// How many were refused, by the reason; those that never happened are left out.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (Kind, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        Kind::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0)
    }
}

impl Spell {
    fn new(began: Instant) -> Spell {
        Spell { began, told: 0, by_knock: HashMap::new(), untold: 0 }
    }

    fn word(&mut self, knock: Knock, now: Instant) -> Word {
        let mut missed = 0;
        if now.saturating_duration_since(self.began) >= SPELL {
            missed = self.untold;
            *self = Spell::new(now);
        }
        let knock = Some(knock);
        let full = self.by_knock.len() >= MOST_APART && !self.by_knock.contains_key(&knock);
        let of_this = self.by_knock.entry(if full { None } else { knock }).or_default();
        let tell = *of_this < MOST_OF_ONE && self.told < MOST_OF_ALL;
        if tell {
            *of_this += 1;
            self.told += 1;
        } else {
            self.untold += 1;
        }
        Word { tell, missed }
    }
}

/// A path may hold whatever the caller liked.
fn short(path: &str) -> &str {
    path.char_indices().nth(200).map_or(path, |(end, _)| &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knock(peer: IpAddr) -> Knock {
        Knock { kind: "wrong-token", peer: Some(peer), by: None }
    }

    #[test]
    fn one_who_knocks_often_does_not_hide_another() {
        let began = Instant::now();
        let mut spell = Spell::new(began);
        let peer = |n: u8| knock(IpAddr::from([10, 0, 0, n]));
        let told = (0..1_000).filter(|_| spell.word(peer(1), began).tell).count();
        assert_eq!(told, MOST_OF_ONE as usize);
        let named = Knock { by: Some("token:ci".to_owned()), ..peer(1) };
        assert!(spell.word(peer(2), began).tell && spell.word(named, began).tell);
        let rest: usize = (3..=255).map(|n| (0..3).filter(|_| spell.word(peer(n), began).tell).count()).sum();
        assert_eq!(told + 2 + rest, MOST_OF_ALL as usize);
        let later = spell.word(peer(1), began + SPELL);
        assert_eq!(later, Word { tell: true, missed: (1_000 - told + 253 * 3 - rest) as u64 });
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let began = Instant::now();
        let mut spell = Spell::new(began);
        for n in 0..5_000_u32 {
            spell.word(knock(IpAddr::from(n.to_be_bytes())), began);
        }
        assert!(spell.by_knock.len() <= MOST_APART + 1);
        assert_eq!(short(&"é".repeat(500)).chars().count(), 200);
    }

    #[test]
    fn what_is_no_refusal_is_told_within_a_bound_and_hides_none() {
        let audit = Audit::default();
        let told = |by| (0..500).filter(|_| audit.is_told("too-large", by)).count();
        assert_eq!((told(Some("hub")), told(Some("acr"))), (MOST_OF_ONE as usize, MOST_OF_ONE as usize));
        let knock = knock(IpAddr::from([10, 0, 0, 1]));
        assert!(audit.spell.lock().unwrap().word(knock, Instant::now()).tell);
    }

    #[test]
    fn every_reason_is_in_the_guide() {
        let guide = include_str!("../../docs/access.md");
        let rows = || guide.lines().filter(|line| line.starts_with("| `"));
        for kind in Kind::ALL.iter().filter(|kind| kind.is_refusal()) {
            let (name, status) = (format!("`{}`", kind.slug()), format!("| {} |", kind.status().as_u16()));
            assert!(
                rows().any(|row| row.contains(&name) && row.contains(&status)),
                "{name} {status} is missing"
            );
        }
    }

    #[test]
    fn every_refusal_is_counted_by_its_reason() {
        let audit = Audit::default();
        let refusal =
            Refusal { kind: Kind::WrongToken, peer: None, by: None, method: "GET", path: "/v1/jobs" };
        (0..50).for_each(|_| audit.note(&refusal));
        audit.note(&Refusal { kind: Kind::NotAllowed, ..refusal });
        assert_eq!(audit.refused().collect::<Vec<_>>(), [(Kind::WrongToken, 50), (Kind::NotAllowed, 1)]);
    }
}
