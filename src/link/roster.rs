//! The members that another box has in a room, by what it has said.

use std::fmt;

use crate::protocol::{Folded, Mode, Name};
use crate::state::saved;

/// A member of another box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: Name,
    /// Its session's mode.
    pub mode: Mode,
}

saved!(struct Member { name, mode });

/// Tells two rosters apart: the sum, as numbers of 64 bits that wrap around, of one number for
/// each member. So it does not depend on their order, and changes with each that comes or goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RosterHash(pub u64);

saved!(struct RosterHash(sum));

impl fmt::Display for RosterHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl RosterHash {
    /// Adds a member.
    pub fn add(&mut self, name: Name, mode: Mode) {
        self.0 = self.0.wrapping_add(number_of(name, mode));
    }

    /// Removes a member.
    pub fn remove(&mut self, name: Name, mode: Mode) {
        self.0 = self.0.wrapping_sub(number_of(name, mode));
    }
}

/// The number of a member: FNV-1a (Fowler, Noll, Vo; RFC 9923) of its name in small letters and its mode,
/// with the last step of SplitMix64, so that sums differ.
fn number_of(name: Name, mode: Mode) -> u64 {
    let name = name.folded().to_name();
    let bytes = name.as_str().bytes().chain([b'/']);
    let hash = bytes
        .chain(mode.as_str().bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let z = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A list of members, sorted by name. It may be shorter than the box's own: what has no place is only
/// counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    members: Vec<Member>,
    /// How many there are, listed or not.
    count: u64,
    hash: RosterHash,
}

saved!(struct Roster { members, count, hash });

impl Roster {
    /// Those that are listed.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many members there are, listed or not.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What tells this list from others.
    pub fn hash(&self) -> RosterHash {
        self.hash
    }

    /// Whether some are not listed.
    pub fn is_partial(&self) -> bool {
        self.count > self.members.len() as u64
    }

    /// Whether it could have come about: sorted, with as many members as it says.
    pub fn is_sound(&self) -> bool {
        let folded = |member: &Member| member.name.folded();
        self.members.is_sorted_by(|a, b| folded(a) < folded(b))
            && self.count >= self.members.len() as u64
    }

    /// What the list takes, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.members.capacity() * size_of::<Member>()
    }

    /// Adds a member, and lists it if `has_place` says so. One of that name is replaced.
    pub fn add(&mut self, member: Member, has_place: bool) {
        match self.place(member.name.folded()) {
            Ok(at) => {
                let known = std::mem::replace(&mut self.members[at], member);
                self.hash.remove(known.name, known.mode);
            }
            Err(at) => {
                self.count = self.count.saturating_add(1);
                if has_place {
                    self.members.insert(at, member);
                }
            }
        }
        self.hash.add(member.name, member.mode);
    }

    /// Removes the member of a name. One that is not listed is taken to be a push member.
    pub fn remove(&mut self, name: Name) {
        let mode = match self.place(name.folded()) {
            Ok(at) => self.members.remove(at).mode,
            Err(_) if self.is_partial() => Mode::Push,
            Err(_) => return,
        };
        self.count -= 1;
        self.hash.remove(name, mode);
        if self.members.len() < self.members.capacity() / 4 {
            self.members.shrink_to(2 * self.members.len());
        }
    }

    /// Those behind a name, or all.
    pub fn after(&self, name: Option<Folded>) -> &[Member] {
        let from = name.map_or(0, |name| match self.place(name) {
            Ok(at) => at + 1,
            Err(at) => at,
        });
        &self.members[from..]
    }

    /// Those from a name on, with the one of this name.
    pub fn from(&self, name: Folded) -> &[Member] {
        let (Ok(from) | Err(from)) = self.place(name);
        &self.members[from..]
    }

    fn place(&self, name: Folded) -> Result<usize, usize> {
        self.members
            .binary_search_by_key(&name, |member| member.name.folded())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, mode: Mode) -> Member {
        let name = Name::parse(name).unwrap();
        Member { name, mode }
    }

    #[test]
    fn the_order_of_members_does_not_matter_and_each_change_does() {
        let (ann, bob) = (member("ann", Mode::Push), member("Bob", Mode::Pull));
        let mut one = Roster::default();
        let mut other = Roster::default();
        one.add(ann, true);
        assert_ne!(one.hash(), other.hash());
        one.add(bob, true);
        other.add(bob, true);
        other.add(ann, true);
        assert_eq!((one.hash(), &one), (other.hash(), &other));
        one.remove(ann.name);
        one.add(member("ANN", Mode::Push), true);
        assert_eq!(one.hash(), other.hash());
        one.add(member("ann", Mode::Pull), true);
        assert_ne!(one.hash(), other.hash());
        assert_eq!((one.count(), one.members().len()), (2, 2));
        one.remove(ann.name);
        one.remove(bob.name);
        assert_eq!((one.hash(), one.count()), (RosterHash::default(), 0));
        one.remove(bob.name);
        assert_eq!(one.count(), 0);
    }

    #[test]
    fn what_has_no_place_is_counted() {
        let mut roster = Roster::default();
        roster.add(member("ann", Mode::Push), true);
        roster.add(member("bob", Mode::Push), false);
        assert!(roster.is_partial() && roster.is_sound());
        assert_eq!((roster.count(), roster.members().len()), (2, 1));
        roster.remove(Name::parse("bob").unwrap());
        assert!(!roster.is_partial());
        let mut alone = Roster::default();
        alone.add(member("ann", Mode::Push), true);
        assert_eq!(roster, alone);
    }

    #[test]
    fn a_list_goes_on_behind_a_name() {
        let mut roster = Roster::default();
        for name in ["cy", "Ann", "bob"] {
            roster.add(member(name, Mode::Push), true);
        }
        for (after, names) in [
            (None, &["Ann", "bob", "cy"][..]),
            (Some("ann"), &["bob", "cy"]),
            (Some("b"), &["bob", "cy"]),
            (Some("zoe"), &[]),
        ] {
            let after = after.map(|name| Name::parse(name).unwrap().folded());
            let found = roster.after(after).iter();
            let found: Vec<_> = found.map(|member| member.name.to_string()).collect();
            assert_eq!(found, names);
        }
    }
}
