//! How many connections the system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process has open besides: its files, the broker, what its workers reach.
const BESIDES: u64 = 512;

/// Raises what the process may have open as far as `connections` want it and the system allows, and gives how many
/// connections fit.
pub(crate) fn make_room_for(connections: usize) -> usize {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(BESIDES);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None stands for no limit.
    let Some(allowed) = current.filter(|allowed| *allowed < wanted) else { return connections };
    let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted)).max(allowed);
    let allowed = match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => raised,
        Err(error) => {
            tracing::warn!(%error, "cannot raise how many files may be open");
            allowed
        }
    };
    // Where hardly any are allowed, half of them.
    let fitting = allowed.saturating_sub(BESIDES).max(allowed / 2);
    let fitting = usize::try_from(fitting).unwrap_or(usize::MAX).min(connections);
    if fitting < connections {
        tracing::warn!(
            allowed,
            fitting,
            wanted = connections,
            "fewer connections are served than configured: raise how many files the process may open (ulimit -n)"
        );
    }
    fitting
}
