//! What this box knows of all others: where they are in each room, and how fast they send.

use super::remote::Remote;
use crate::protocol::{BYTES_PER_LINE, Folded, LifeId, Name};
use crate::state::{Damage, IMPOSSIBLE, saved};
use crate::time::Millis;

/// The most bytes of events that have come too early and are held.
pub const HELD_BYTES_MAX: usize = 64 * 1024;
/// The most such events.
pub const HELD_MAX: usize = 512;
/// How many lines a second a box may send, after a burst of as many as in [`BOX_BURST_S`] seconds.
pub const LINES_PER_S: u64 = 10_000;
/// See [`LINES_PER_S`].
pub const BOX_BURST_S: u64 = 2;
/// A box in no room that is silent for this long is forgotten.
const SILENCE_MAX: Millis = Millis(60_000);

/// Another box, or a script that speaks as one.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    name: Name,
    /// The theoretical arrival times of the next line of its events, and of what scripts say under its
    /// name: see `chat/rate.rs`.
    events_us: u64,
    said_us: u64,
    heard_at: Millis,
}

saved!(struct Sender { name, events_us, said_us, heard_at });

/// All other boxes.
#[derive(Clone, Debug, Default)]
pub struct Remotes {
    /// Each box in each room, by room and then by name.
    pairs: Vec<Remote>,
    /// By name.
    senders: Vec<Sender>,
    /// The most pairs, the most senders, and the most members that are listed.
    most: usize,
    /// How many members are listed, and how many are in rosters of which parts are still to come.
    listed: usize,
    coming: usize,
    held_bytes: usize,
    held: usize,
    /// How many pairs are lost, which make way for others.
    lost: usize,
}

/// What one pair of a room and a box takes of what all have together.
struct Usage {
    listed: usize,
    coming: usize,
    held: usize,
    held_bytes: usize,
    lost: usize,
}

impl Usage {
    fn of(remote: &Remote) -> Usage {
        Usage {
            listed: remote.roster.members().len(),
            coming: remote.coming(),
            held: remote.held.len(),
            held_bytes: remote.held.iter().map(|(_, event)| event.len()).sum(),
            lost: usize::from(remote.lost_since().is_some()),
        }
    }
}

impl Remotes {
    /// No box. There can be `most` pairs of a room and a box, and `most` listed members.
    pub fn new(most: usize) -> Remotes {
        Remotes {
            most,
            ..Remotes::default()
        }
    }

    /// All pairs of a room and a box.
    pub fn iter(&self) -> impl Iterator<Item = &Remote> {
        self.pairs.iter()
    }

    /// How fast each box has sent.
    pub fn senders(&self) -> &[Sender] {
        &self.senders
    }

    /// Takes a pair back that was saved, in order. False if they are not in order; what has no place is
    /// forgotten.
    pub fn load(&mut self, remote: Remote) -> bool {
        let key = |remote: &Remote| (remote.room, remote.name.folded());
        if self
            .pairs
            .last()
            .is_some_and(|last| key(last) >= key(&remote))
        {
            return false;
        }
        let more = Usage::of(&remote);
        let has_place = self.pairs.len() < self.most
            && more.listed <= self.places()
            && more.coming <= self.coming_places();
        let can_hold = self.held + more.held <= HELD_MAX
            && self.held_bytes + more.held_bytes <= HELD_BYTES_MAX;
        if has_place && can_hold {
            self.count(&more);
            self.pairs.push(remote);
        }
        true
    }

    /// Takes back how fast each box has sent.
    ///
    /// # Errors
    ///
    /// If they are not in order.
    pub fn load_senders(&mut self, mut senders: Vec<Sender>) -> Result<(), Damage> {
        let folded = |sender: &Sender| sender.name.folded();
        if !senders.is_sorted_by(|a, b| folded(a) < folded(b)) {
            return Err(IMPOSSIBLE);
        }
        senders.truncate(self.most);
        self.senders = senders;
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// How many boxes there are in some room.
    pub fn boxes(&self) -> usize {
        let mut names: Vec<Folded> = self.pairs.iter().map(|o| o.name.folded()).collect();
        names.sort_unstable();
        names.dedup();
        names.len()
    }

    /// How many members of other boxes are listed.
    pub fn listed(&self) -> usize {
        self.listed
    }

    /// How many more could be.
    pub fn places(&self) -> usize {
        self.most.saturating_sub(self.listed)
    }

    /// How many more could be in rosters of which parts are still to come.
    pub fn coming_places(&self) -> usize {
        self.most.saturating_sub(self.coming)
    }

    /// The one at an index.
    pub fn at(&self, at: usize) -> &Remote {
        &self.pairs[at]
    }

    /// Those in a room, by name.
    pub fn in_room(&self, room: u32) -> &[Remote] {
        let from = self.pairs.partition_point(|remote| remote.room < room);
        let to = self.pairs.partition_point(|remote| remote.room <= room);
        &self.pairs[from..to]
    }

    fn place(&self, room: u32, name: Name) -> Result<usize, usize> {
        let key = (room, name.folded());
        self.pairs
            .binary_search_by_key(&key, |remote| (remote.room, remote.name.folded()))
    }

    /// A box in a room, if it is known there.
    pub fn get(&self, room: u32, name: Name) -> Option<&Remote> {
        self.place(room, name).ok().map(|at| &self.pairs[at])
    }

    /// Changes a box in a room, if it is known there.
    pub fn change<R>(
        &mut self,
        room: u32,
        name: Name,
        change: impl FnOnce(&mut Remote) -> R,
    ) -> Option<R> {
        let at = self.place(room, name).ok()?;
        Some(self.change_at(at, change))
    }

    /// Changes the box at an index.
    pub fn change_at<R>(&mut self, at: usize, change: impl FnOnce(&mut Remote) -> R) -> R {
        let remote = &mut self.pairs[at];
        let before = Usage::of(remote);
        let result = change(remote);
        let now = Usage::of(remote);
        self.uncount(&before);
        self.count(&now);
        result
    }

    /// Counts what a pair takes.
    fn count(&mut self, more: &Usage) {
        self.listed += more.listed;
        self.coming += more.coming;
        self.held += more.held;
        self.held_bytes += more.held_bytes;
        self.lost += more.lost;
    }

    /// Counts it no more.
    fn uncount(&mut self, gone: &Usage) {
        self.listed -= gone.listed;
        self.coming -= gone.coming;
        self.held -= gone.held;
        self.held_bytes -= gone.held_bytes;
        self.lost -= gone.lost;
    }

    /// Takes a box's will in all rooms. Returns when something is next due for it.
    pub fn take_will(&mut self, name: Name, boot: LifeId, at: Millis) -> Millis {
        let of_box = self.pairs.iter_mut().filter(|remote| remote.name == name);
        of_box.fold(Millis::NEVER, |earliest, remote| {
            remote.take_will(boot, at);
            earliest.min(remote.deadline(Millis::NEVER))
        })
    }

    /// Lets each box that can be reached be asked at once how far it is.
    pub fn ask_all(&mut self, at: Millis) {
        self.pairs.iter_mut().for_each(|remote| remote.ask(at));
    }

    /// Whether an event of `bytes` bytes can still be held.
    pub fn can_hold(&self, bytes: usize) -> bool {
        self.held < HELD_MAX && self.held_bytes + bytes <= HELD_BYTES_MAX
    }

    /// Adds a box in a room where it is not known. If there are too many, one that is lost makes way;
    /// false if there is none.
    pub fn add(&mut self, remote: Remote) -> bool {
        if self.pairs.len() >= self.most {
            // Most often there is none, however many others speak.
            if self.lost == 0 {
                return false;
            }
            let lost = self.pairs.iter().enumerate();
            let lost = lost.filter_map(|(at, remote)| Some((remote.lost_since()?, at)));
            let Some((_, at)) = lost.min() else {
                return false;
            };
            self.remove_at(at);
        }
        match self.place(remote.room, remote.name) {
            Ok(_) => false,
            Err(at) => {
                self.pairs.insert(at, remote);
                true
            }
        }
    }

    /// Forgets the box at an index.
    pub fn remove_at(&mut self, at: usize) {
        let gone = Usage::of(&self.pairs.remove(at));
        self.uncount(&gone);
        self.fit_pairs();
    }

    /// Forgets all boxes in a room.
    pub fn remove_room(&mut self, room: u32) {
        let from = self.pairs.partition_point(|remote| remote.room < room);
        let to = self.pairs.partition_point(|remote| remote.room <= room);
        for at in from..to {
            let gone = Usage::of(&self.pairs[at]);
            self.uncount(&gone);
        }
        self.pairs.drain(from..to);
        self.fit_pairs();
    }

    /// Gives memory back that the pairs have not needed for long.
    fn fit_pairs(&mut self) {
        if self.pairs.len() < self.pairs.capacity() / 4 {
            self.pairs.shrink_to(2 * self.pairs.len());
        }
    }

    /// Whether a box may send this many bytes of events now; if not, when.
    pub fn admit_event(&mut self, name: Name, bytes: usize, at: Millis) -> Result<(), Millis> {
        self.admit_line(name, bytes, BOX_BURST_S, at)
    }

    /// Whether a box may say this many bytes about itself now: its members and lost events are lines in
    /// the room, too. It still may a little longer than it may send events.
    pub fn admit_digest(&mut self, name: Name, bytes: usize, at: Millis) -> bool {
        self.admit_line(name, bytes, BOX_BURST_S + 1, at).is_ok()
    }

    fn admit_line(
        &mut self,
        name: Name,
        bytes: usize,
        burst_s: u64,
        at: Millis,
    ) -> Result<(), Millis> {
        let Some(sender) = self.sender(name, true, at) else {
            return Err(at + Millis(1000));
        };
        let lines = bytes.div_ceil(BYTES_PER_LINE) as u64;
        admit(
            &mut sender.events_us,
            lines * 1_000_000 / LINES_PER_S,
            burst_s,
            at,
        )
    }

    /// Whether a script that speaks as a box may say this many bytes now, with an interval between lines
    /// and a burst of some seconds.
    pub fn admit_said(
        &mut self,
        name: Name,
        bytes: usize,
        interval_us: u64,
        burst_s: u64,
        at: Millis,
    ) -> bool {
        let lines = bytes.div_ceil(BYTES_PER_LINE) as u64;
        let sender = self.sender(name, false, at);
        sender.is_some_and(|sender| {
            admit(&mut sender.said_us, lines * interval_us, burst_s, at).is_ok()
        })
    }

    /// The sender of a name. If there are too many, one that has been silent for long makes way; and for one
    /// that `is_box`, one that is none.
    fn sender(&mut self, name: Name, is_box: bool, at: Millis) -> Option<&mut Sender> {
        let place = |senders: &[Sender]| {
            senders.binary_search_by_key(&name.folded(), |sender| sender.name.folded())
        };
        let index = match place(&self.senders) {
            Ok(index) => index,
            Err(_) => {
                if self.senders.len() >= self.most {
                    let most = self.most;
                    let mut known = Vec::new();
                    if is_box {
                        known.extend(self.pairs.iter().map(|remote| remote.name.folded()));
                        known.sort_unstable();
                    }
                    let mut kept = 0;
                    self.senders.retain(|sender| {
                        let is_known = || known.binary_search(&sender.name.folded()).is_ok();
                        let stays = sender.heard_at + SILENCE_MAX > at
                            && (!is_box || kept + 1 < most && is_known());
                        kept += usize::from(stays);
                        stays
                    });
                }
                if self.senders.len() >= self.most {
                    return None;
                }
                let index = place(&self.senders).unwrap_or_else(|index| index);
                let sender = Sender {
                    name,
                    events_us: 0,
                    said_us: 0,
                    heard_at: at,
                };
                self.senders.insert(index, sender);
                index
            }
        };
        let sender = &mut self.senders[index];
        sender.heard_at = at;
        Some(sender)
    }

    /// Checks that everything is counted, in order, and within its bounds. Only tests call it.
    ///
    /// # Panics
    ///
    /// If that is not so.
    pub fn assert_consistent(&self) {
        let key = |remote: &Remote| (remote.room, remote.name.folded());
        assert!(self.pairs.is_sorted_by(|a, b| key(a) < key(b)));
        let folded = |sender: &Sender| sender.name.folded();
        assert!(self.senders.is_sorted_by(|a, b| folded(a) < folded(b)));
        assert!(self.pairs.len() <= self.most && self.senders.len() <= self.most);
        let rosters = self.pairs.iter().map(|remote| &remote.roster);
        let listed: usize = rosters.map(|roster| roster.members().len()).sum();
        assert_eq!(listed, self.listed);
        assert!(listed <= self.most, "{listed}");
        let coming: usize = self.pairs.iter().map(Remote::coming).sum();
        assert_eq!(coming, self.coming);
        let lost = self.pairs.iter().filter(|o| o.lost_since().is_some());
        assert_eq!(lost.count(), self.lost);
        assert!(coming <= self.most, "{coming}");
        let held = self.pairs.iter().flat_map(|remote| &remote.held);
        assert_eq!(held.clone().count(), self.held);
        let held_bytes: usize = held.map(|(_, event)| event.len()).sum();
        assert_eq!(held_bytes, self.held_bytes);
        assert!(self.held <= HELD_MAX && held_bytes <= HELD_BYTES_MAX);
        for remote in &self.pairs {
            assert!(remote.is_sound(), "{remote:?}");
        }
    }

    /// What all of them take, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let of_remotes: usize = self.pairs.iter().map(Remote::heap_bytes).sum();
        of_remotes
            + self.pairs.capacity() * size_of::<Remote>()
            + self.senders.capacity() * size_of::<Sender>()
    }

    /// The most that all of them take, in bytes.
    pub fn memory_bytes_max(most: usize) -> u64 {
        use crate::allocator::array_bytes;
        let most = most as u64;
        array_bytes(most, size_of::<Remote>())
            + array_bytes(most, size_of::<Sender>())
            // There are two lists while a new one comes, and each is a block of its own.
            + 2 * (array_bytes(most, size_of::<super::roster::Member>()) + most * 32)
            + (HELD_BYTES_MAX + 2 * HELD_MAX * (size_of::<(u64, Vec<u8>)>() + 32)) as u64
    }
}

/// Counts something that takes `cost_us` of a sender's time; if that is more than `burst_s` seconds ahead
/// of the clock, says when it may come.
fn admit(arrival_us: &mut u64, cost_us: u64, burst_s: u64, at: Millis) -> Result<(), Millis> {
    let now_us = at.micros();
    let next_us = (*arrival_us).max(now_us) + cost_us;
    let ahead_us = next_us.saturating_sub(now_us + burst_s * 1_000_000);
    if ahead_us > 0 {
        return Err(at + Millis(ahead_us.div_ceil(1000)));
    }
    *arrival_us = next_us;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::payload::{Digest, EventId};
    use crate::link::roster::RosterHash;

    fn remote(name: &str) -> Remote {
        let next = EventId {
            boot: LifeId::new(7),
            log: 1,
            number: 1,
        };
        let digest = Digest {
            next,
            first: 1,
            members: 0,
            hash: RosterHash::default(),
            every_s: 10,
        };
        Remote::new(0, Name::parse(name).unwrap(), &digest, Millis(0))
    }

    #[test]
    fn all_that_is_held_comes_back_from_a_state() {
        let mut full = remote("attic");
        (2..2 + HELD_MAX as u64).for_each(|number| full.hold(number, b"held"));
        let mut remotes = Remotes::new(8);
        assert!(remotes.load(full) && remotes.load(remote("barn")));
        assert_eq!((remotes.len(), remotes.held), (2, HELD_MAX));
        assert!(!remotes.can_hold(1));
    }

    #[test]
    fn a_box_takes_the_place_of_a_script_and_a_script_that_of_nobody_who_speaks() {
        let name = |name| Name::parse(name).unwrap();
        let mut remotes = Remotes::new(2);
        assert!(remotes.add(remote("attic")));
        assert!(remotes.admit_said(name("one"), 10, 0, 4, Millis(1)));
        assert!(remotes.admit_said(name("two"), 10, 0, 4, Millis(1)));
        assert!(!remotes.admit_said(name("three"), 10, 0, 4, Millis(2)));
        assert_eq!(remotes.admit_event(name("attic"), 10, Millis(3)), Ok(()));
        let later = Millis(2) + SILENCE_MAX;
        assert!(remotes.admit_said(name("three"), 10, 0, 4, later));
    }

    #[test]
    fn a_box_that_sends_too_fast_learns_when_it_may() {
        let attic = Name::parse("attic").unwrap();
        let mut remotes = Remotes::new(2);
        let burst = (LINES_PER_S * BOX_BURST_S) as usize;
        for _ in 0..burst {
            assert_eq!(
                remotes.admit_event(attic, BYTES_PER_LINE, Millis(0)),
                Ok(())
            );
        }
        let until = remotes
            .admit_event(attic, BYTES_PER_LINE, Millis(0))
            .unwrap_err();
        assert!(until > Millis(0));
        assert_eq!(remotes.admit_event(attic, BYTES_PER_LINE, until), Ok(()));
        assert_eq!(
            remotes.admit_event(Name::parse("barn").unwrap(), 1, until),
            Ok(())
        );
    }
}
