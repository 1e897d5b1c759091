//! Where clients come from, and how many come from there.

use std::collections::HashMap;

/// Whose share of connections and sessions something is counted against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// This machine, through a Unix socket: not counted.
    Local,
    /// An IPv4 address.
    V4([u8; 4]),
    /// The first 64 bits of an IPv6 address, which are one network's (RFC 4291, section 2.5.4).
    V6([u8; 8]),
}

/// What there is of one origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub connections: u32,
    pub sessions: u32,
}

/// The shares of all origins that have something.
#[derive(Debug, Default)]
pub(super) struct Shares {
    by_origin: HashMap<Origin, Share>,
}

impl Shares {
    pub fn get(&self, origin: Origin) -> Share {
        self.by_origin.get(&origin).copied().unwrap_or_default()
    }

    /// Changes an origin's share, which is forgotten when nothing is left of it.
    pub fn change(&mut self, origin: Origin, change: impl FnOnce(&mut Share)) {
        if origin == Origin::Local {
            return;
        }
        let share = self.by_origin.entry(origin).or_default();
        change(share);
        if *share == Share::default() {
            self.by_origin.remove(&origin);
            if self.by_origin.is_empty() {
                self.by_origin = HashMap::new();
            }
        }
    }

    /// What all origins have together.
    pub fn sum(&self) -> Share {
        let mut sum = Share::default();
        for share in self.by_origin.values() {
            sum.connections += share.connections;
            sum.sessions += share.sessions;
        }
        sum
    }
}
