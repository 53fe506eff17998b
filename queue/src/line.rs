//! Where messages wait.

use std::fmt;

use proto::PoolName;

/// A line of waiting messages: the jobs of a pool, or what came in for the ingresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LineName {
    /// The jobs of a pool, which its workers take.
    Pool(PoolName),
    /// The intake, which ingresses take.
    Intake,
}

impl LineName {
    /// The name as it stands in a file: nothing for the intake, which is what no pool is called.
    pub(crate) fn as_str(&self) -> &str {
        self.pool().map_or("", PoolName::as_str)
    }

    /// The line of this name in a file; none where no line is called so.
    pub(crate) fn in_a_file(name: &str) -> Option<LineName> {
        if name.is_empty() { Some(LineName::Intake) } else { name.parse().ok().map(LineName::Pool) }
    }

    /// The pool, where it is one's.
    pub(crate) fn pool(&self) -> Option<&PoolName> {
        match self {
            LineName::Pool(pool) => Some(pool),
            LineName::Intake => None,
        }
    }
}

impl From<&PoolName> for LineName {
    fn from(pool: &PoolName) -> LineName {
        LineName::Pool(pool.clone())
    }
}

impl fmt::Display for LineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineName::Pool(pool) => write!(f, "the pool `{pool}`"),
            LineName::Intake => f.write_str("the intake"),
        }
    }
}
