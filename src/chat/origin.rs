//! Where clients come from, and how many come from there.

use std::cmp::Ordering;

use slab::Slab;

use super::memory::{INDEX_ENTRY_BYTES, table};
use crate::sorted_index::{SortedIndex, Sought};

/// Whose share of connections and sessions something is counted against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// This machine, through a Unix socket: not counted.
    Local,
    /// An IPv4 address.
    V4([u8; 4]),
    /// The first 64 bits of an IPv6 address, which are one network's (RFC 4291, section 2.5.4).
    V6([u8; 8]),
}

/// Names an origin that has something; void once it has nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OriginKey(u32);

impl OriginKey {
    /// That of all who are not counted.
    pub const LOCAL: OriginKey = OriginKey(u32::MAX);
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
    shares: Slab<(Origin, Share)>,
    by_origin: SortedIndex,
}

impl Shares {
    /// How many connections an origin has.
    pub fn connections(&self, origin: Origin) -> u32 {
        let key = self.by_origin.get(&by_origin(&self.shares, origin));
        key.map_or(0, |key| self.shares[key as usize].1.connections)
    }

    /// Counts one more connection of an origin.
    pub fn connect(&mut self, origin: Origin) -> OriginKey {
        if origin == Origin::Local {
            return OriginKey::LOCAL;
        }
        let key = self.by_origin.get(&by_origin(&self.shares, origin));
        let key = key.unwrap_or_else(|| {
            let key = self.shares.insert((origin, Share::default())) as u32;
            self.by_origin.insert(key, &by_origin(&self.shares, origin));
            key
        });
        self.shares[key as usize].1.connections += 1;
        OriginKey(key)
    }

    /// What an origin has.
    pub fn get(&self, key: OriginKey) -> Share {
        self.shares
            .get(key.0 as usize)
            .map_or(Share::default(), |(_, share)| *share)
    }

    /// Changes an origin's share, which is forgotten when nothing is left of it.
    pub fn change(&mut self, key: OriginKey, change: impl FnOnce(&mut Share)) {
        let Some((origin, share)) = self.shares.get_mut(key.0 as usize) else {
            return;
        };
        change(share);
        if *share == Share::default() {
            let origin = *origin;
            self.by_origin.remove(&by_origin(&self.shares, origin));
            self.shares.remove(key.0 as usize);
            if self.by_origin.is_empty() {
                *self = Shares::default();
            }
        }
    }

    /// The most that the shares of so many origins take, in bytes.
    pub fn memory_max(origins: u64) -> u64 {
        table(origins, size_of::<(Origin, Share)>()) + origins * INDEX_ENTRY_BYTES
    }

    /// Gives back the memory behind the last share that there is.
    pub fn shrink(&mut self) {
        self.shares.shrink_to_fit();
    }

    /// What all origins have together.
    pub fn sum(&self) -> Share {
        let mut sum = Share::default();
        for (_, (_, share)) in &self.shares {
            sum.connections += share.connections;
            sum.sessions += share.sessions;
        }
        sum
    }
}

/// How the origin of a key compares with an origin.
fn by_origin(shares: &Slab<(Origin, Share)>, origin: Origin) -> Sought<impl Fn(u32) -> Ordering> {
    let head = match origin {
        Origin::Local => 0,
        Origin::V4(address) => u32::from_be_bytes(address),
        // The end tells networks of one provider apart.
        Origin::V6([.., a, b, c, d]) => u32::from_be_bytes([a, b, c, d]),
    };
    Sought {
        head,
        compare: move |key| shares[key as usize].0.cmp(&origin),
    }
}
