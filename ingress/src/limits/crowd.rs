//! How many of each client there are at a time.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Those who are there, counted by their address.
#[derive(Debug)]
pub(crate) struct Crowd {
    most: usize,
    there: Mutex<HashMap<IpAddr, usize>>,
}

/// One who is there, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    client: IpAddr,
}

impl Crowd {
    /// Of at most so many of one address.
    pub(crate) fn of(most: usize) -> Crowd {
        Crowd { most, there: Mutex::default() }
    }

    /// Lets one more of this address in, unless there are too many.
    pub(crate) fn enter(self: &Arc<Crowd>, client: IpAddr) -> Option<Place> {
        let mut there = self.there();
        let count = there.get(&client).copied().unwrap_or_default();
        if count >= self.most {
            return None;
        }
        there.insert(client, count + 1);
        Some(Place { crowd: Arc::clone(self), client })
    }

    fn there(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut there = self.crowd.there();
        if let Some(count) = there.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                there.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_places_and_leaves_nothing_behind() {
        let crowd = Arc::new(Crowd::of(2));
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let first = crowd.enter(one).unwrap();
        let second = crowd.enter(one).unwrap();
        assert!(crowd.enter(one).is_none());
        drop(crowd.enter(other).unwrap());
        drop(first);
        let third = crowd.enter(one).unwrap();
        drop((second, third));
        assert!(crowd.there().is_empty());
    }
}
