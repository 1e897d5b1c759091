//! A sorted index: keys of things, in the order of what they are looked up by.
//!
//! That itself stays with the things, but for its first 32 bits, which mostly tell the order and
//! save a look at a thing that lies elsewhere in memory. Whoever calls says how the thing of a key
//! compares with the one in question, always in the same order.

use std::cmp::Ordering;

use crate::protocol::{Folded, Name};

/// Keys in one chunk, at most: what an insertion may have to move.
const CHUNK_MAX: usize = 128;

/// A thing in question.
pub struct Target<F: ?Sized> {
    /// What it is sorted by first: of equal things it is the same.
    pub head: u32,
    /// How the thing of a key that has the same head compares with this one.
    pub compare: F,
}

/// A thing in question, however it is compared.
pub type AnyTarget<'a> = Target<dyn Fn(u32) -> Ordering + 'a>;

/// The thing of that name, among things of which `name_of` gives the names by their keys.
pub fn by_name(name: Name, name_of: impl Fn(u32) -> Folded) -> Target<impl Fn(u32) -> Ordering> {
    let name = name.folded();
    Target {
        head: name.head(),
        compare: move |key| name_of(key).cmp(&name),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    head: u32,
    key: u32,
}

/// Keys of things, sorted, no two of them equal.
///
/// They lie in a row of sorted chunks, so that a key takes little more than eight bytes, an
/// insertion moves few of them, and where a key stands in the whole is known without counting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SortedIndex {
    chunks: Vec<Vec<Entry>>,
    len: usize,
}

/// Where a thing stands, or would stand: its chunk, and its place there.
struct Place {
    chunk: usize,
    at: usize,
    is_found: bool,
}

impl SortedIndex {
    /// The most that a key takes, in bytes: eight of its own, in a chunk that may be only a quarter
    /// full, with its share of the row of chunks.
    pub const ENTRY_BYTES: u64 = 40;

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key of the thing in question.
    pub fn get(&self, target: &AnyTarget<'_>) -> Option<u32> {
        let place = self.place(target);
        place
            .is_found
            .then(|| self.chunks[place.chunk][place.at].key)
    }

    /// Puts in the key of the thing in question, to which none that is there may be equal.
    pub fn insert(&mut self, key: u32, target: &AnyTarget<'_>) {
        let mut place = self.place(target);
        debug_assert!(!place.is_found, "something is there twice");
        match self.chunks.get_mut(place.chunk) {
            None => {
                self.chunks.reserve_exact(1);
                self.chunks.push(Vec::new());
            }
            Some(chunk) if chunk.len() == CHUNK_MAX => {
                let half = chunk.split_off(CHUNK_MAX / 2);
                chunk.shrink_to_fit();
                self.chunks.insert(place.chunk + 1, half);
                if place.at > CHUNK_MAX / 2 {
                    place.chunk += 1;
                    place.at -= CHUNK_MAX / 2;
                }
            }
            Some(_) => {}
        }
        let head = target.head;
        self.chunks[place.chunk].insert(place.at, Entry { head, key });
        self.len += 1;
    }

    /// Takes out the key of the thing in question, if it is there.
    pub fn remove(&mut self, target: &AnyTarget<'_>) {
        let place = self.place(target);
        if !place.is_found {
            return;
        }
        self.len -= 1;
        let chunk = &mut self.chunks[place.chunk];
        chunk.remove(place.at);
        if chunk.len() < chunk.capacity() / 4 {
            chunk.shrink_to(2 * chunk.len());
        }
        if self.chunks[place.chunk].is_empty() {
            self.chunks.remove(place.chunk);
        } else {
            self.merge(place.chunk);
            self.merge(place.chunk.wrapping_sub(1));
        }
        if self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to(2 * self.chunks.len());
        }
    }

    /// Makes one of a chunk and the next if both are small, so that of two that stand side by side
    /// one is not.
    fn merge(&mut self, chunk: usize) {
        let is_small = |chunk: Option<&Vec<Entry>>| chunk.is_some_and(|c| c.len() < CHUNK_MAX / 4);
        if is_small(self.chunks.get(chunk)) && is_small(self.chunks.get(chunk.wrapping_add(1))) {
            let next = self.chunks.remove(chunk + 1);
            self.chunks[chunk].extend(next);
        }
    }

    /// The keys of all things behind the one in question, in order, or of all there are; and how
    /// many those are.
    pub fn keys_after(
        &self,
        target: Option<&AnyTarget<'_>>,
    ) -> (impl Iterator<Item = u32> + use<'_>, usize) {
        let place = target.map(|target| self.place(target));
        let (chunk, at) = place.map_or((0, 0), |p| (p.chunk, p.at + usize::from(p.is_found)));
        let before: usize = self.chunks[..chunk].iter().map(Vec::len).sum();
        let entries = self.chunks[chunk..].iter().flatten().skip(at);
        (entries.map(|entry| entry.key), self.len - before - at)
    }

    fn place(&self, target: &AnyTarget<'_>) -> Place {
        let compare = |entry: &Entry| {
            let by_head = entry.head.cmp(&target.head);
            by_head.then_with(|| (target.compare)(entry.key))
        };
        let is_behind = |chunk: &Vec<Entry>| compare(&chunk[0]) == Ordering::Greater;
        let behind = self.chunks.partition_point(|chunk| !is_behind(chunk));
        let chunk = behind.saturating_sub(1);
        let found = match self.chunks.get(chunk) {
            Some(entries) => entries.binary_search_by(compare),
            None => Err(0),
        };
        Place {
            chunk,
            at: found.unwrap_or_else(|at| at),
            is_found: found.is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;

    use super::*;

    /// Keys stand for numbers, whose order is not theirs.
    fn number(key: u32) -> u32 {
        (key.reverse_bits() >> 3) ^ key
    }

    /// Some of them have the same head.
    fn with(number_wanted: u32) -> Target<impl Fn(u32) -> Ordering> {
        Target {
            head: number_wanted >> 8,
            compare: move |key| number(key).cmp(&number_wanted),
        }
    }

    struct Checked {
        index: SortedIndex,
        model: BTreeMap<u32, u32>,
    }

    impl Checked {
        fn new() -> Checked {
            Checked {
                index: SortedIndex::default(),
                model: BTreeMap::new(),
            }
        }

        fn toggle(&mut self, key: u32) {
            let target = with(number(key));
            match self.model.remove(&number(key)) {
                Some(_) => self.index.remove(&target),
                None => {
                    self.model.insert(number(key), key);
                    self.index.insert(key, &target);
                }
            }
            assert_eq!(self.index.len(), self.model.len());
            assert_eq!(self.index.is_empty(), self.model.is_empty());
            let kept = self.model.get(&number(key)).copied();
            assert_eq!(self.index.get(&target), kept);
        }

        fn check(&self, after: Option<u32>) {
            let target = after.map(with);
            let target: Option<&AnyTarget<'_>> = target.as_ref().map(|target| target as _);
            let (keys, count) = self.index.keys_after(target);
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let expected = self.model.range((from, Bound::Unbounded));
            let expected: Vec<u32> = expected.map(|(_, &key)| key).collect();
            assert_eq!(count, expected.len());
            assert_eq!(keys.collect::<Vec<u32>>(), expected);
        }

        fn check_chunks(&self) {
            for chunk in &self.index.chunks {
                assert!((1..=CHUNK_MAX).contains(&chunk.len()), "{}", chunk.len());
            }
            let chunks_max = 2 + 2 * self.index.len() / (CHUNK_MAX / 4);
            assert!(self.index.chunks.len() <= chunks_max);
        }
    }

    #[test]
    fn things_come_in_order_from_wherever_one_begins() {
        let mut checked = Checked::new();
        checked.check(None);
        checked.check(Some(number(1)));
        for key in 0..2000 {
            checked.toggle(key);
        }
        checked.check(None);
        // Behind things that are there, and things that are not.
        for key in (0..4000).step_by(7) {
            checked.check(Some(number(key)));
        }
        checked.check_chunks();
    }

    #[test]
    fn things_come_and_go_in_any_order() {
        let mut checked = Checked::new();
        let mut random = fastrand::Rng::with_seed(1);
        for range in [10, 300, 5000, 600, 3] {
            for _ in 0..20_000 {
                checked.toggle(random.u32(0..range));
            }
            checked.check(None);
            checked.check_chunks();
        }
        let left: Vec<u32> = checked.model.values().copied().collect();
        left.into_iter().for_each(|key| checked.toggle(key));
        assert!(checked.index.is_empty() && checked.index.chunks.capacity() == 0);
    }

    #[test]
    fn chunks_that_are_left_almost_empty_do_not_stay() {
        let mut index = SortedIndex::default();
        let with = |number: u32| Target {
            head: number,
            compare: |_: u32| Ordering::Equal,
        };
        // In order, and of each chunk that is split all but the first are taken out.
        for number in 0..20_000 {
            index.insert(number, &with(number));
        }
        for number in (0..20_000).filter(|number| number % 64 != 0) {
            index.remove(&with(number));
        }
        assert!(index.chunks.len() <= 2 + 2 * index.len() / (CHUNK_MAX / 4));
        assert_eq!(index.keys_after(None).0.count(), index.len());
    }

    #[test]
    fn a_thing_that_is_not_there_is_neither_found_nor_removed() {
        let mut checked = Checked::new();
        (0..1000).for_each(|key| checked.toggle(key));
        for key in 1000..2000 {
            assert_eq!(checked.index.get(&with(number(key))), None);
            checked.index.remove(&with(number(key)));
        }
        assert_eq!(checked.index.len(), 1000);
    }
}
