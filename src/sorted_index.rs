//! A sorted index: the keys of things such as sessions, sorted by their names or addresses.
//!
//! Names and addresses stay with the things. The index keeps only the first 32 bits of each, its *head*,
//! which mostly decides the order and saves a look elsewhere in memory. For the rest, whoever searches
//! says with each [`Target`] how things compare with it, always in the same order.

use std::cmp::Ordering;

use crate::protocol::{Folded, Name};

/// The most keys in one chunk, and so the most that an insertion has to move.
const CHUNK_MAX: usize = 128;

/// The thing that a search looks for.
pub struct Target<F: ?Sized> {
    /// What things are sorted by first. Equal things have equal heads.
    pub head: u32,
    /// How the thing with a key, whose head is the same, compares with this one.
    pub compare: F,
}

/// A target, however it compares.
pub type AnyTarget<'a> = Target<dyn Fn(u32) -> Ordering + 'a>;

/// The thing with a name. `name_of` returns the name of the thing with a key.
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

/// The keys of things, sorted. No two things are equal.
///
/// The keys are in a list of sorted chunks. So a key takes little more than eight bytes, an insertion
/// moves few of them, and the position of a key follows from the lengths of the chunks before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SortedIndex {
    chunks: Vec<Vec<Entry>>,
    len: usize,
}

/// Where a target is, or would be inserted.
struct Place {
    chunk: usize,
    /// The index in the chunk.
    at: usize,
    is_found: bool,
}

impl SortedIndex {
    /// The most that a key takes, in bytes: eight of its own, in a chunk that may be only a quarter full,
    /// and a part of the list of chunks.
    pub const ENTRY_BYTES: u64 = 40;

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key of the target, if it is there.
    pub fn get(&self, target: &AnyTarget<'_>) -> Option<u32> {
        let place = self.place(target);
        place
            .is_found
            .then(|| self.chunks[place.chunk][place.at].key)
    }

    /// Inserts the key of the target, which must not be there yet.
    pub fn insert(&mut self, key: u32, target: &AnyTarget<'_>) {
        let mut place = self.place(target);
        debug_assert!(!place.is_found, "it is there already");
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

    /// Removes the key of the target, if it is there.
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

    /// Merges a chunk with the next if both are small. So no two neighbours are both small.
    fn merge(&mut self, chunk: usize) {
        let is_small = |chunk: Option<&Vec<Entry>>| chunk.is_some_and(|c| c.len() < CHUNK_MAX / 4);
        if is_small(self.chunks.get(chunk)) && is_small(self.chunks.get(chunk.wrapping_add(1))) {
            let next = self.chunks.remove(chunk + 1);
            self.chunks[chunk].extend(next);
        }
    }

    /// The keys of all things after the target, or of all things if there is no target, in order; and
    /// how many those are.
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
        let begins_after = |chunk: &Vec<Entry>| compare(&chunk[0]) == Ordering::Greater;
        let after = self.chunks.partition_point(|chunk| !begins_after(chunk));
        let chunk = after.saturating_sub(1);
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

    /// The number with a key. Numbers and keys have different orders.
    fn number(key: u32) -> u32 {
        (key.reverse_bits() >> 3) ^ key
    }

    /// The target of a search for a number. Some numbers have the same head.
    fn with(number_wanted: u32) -> Target<impl Fn(u32) -> Ordering> {
        Target {
            head: number_wanted >> 8,
            compare: move |key| number(key).cmp(&number_wanted),
        }
    }

    /// An index, compared with a model of it.
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
    fn keys_come_in_order_from_any_target_on() {
        let mut checked = Checked::new();
        checked.check(None);
        checked.check(Some(number(1)));
        for key in 0..2000 {
            checked.toggle(key);
        }
        checked.check(None);
        // After things that are there, and after things that are not.
        for key in (0..4000).step_by(7) {
            checked.check(Some(number(key)));
        }
        checked.check_chunks();
    }

    #[test]
    fn things_may_come_and_go_in_any_order() {
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
    fn chunks_left_almost_empty_are_merged() {
        let mut index = SortedIndex::default();
        let with = |number: u32| Target {
            head: number,
            compare: |_: u32| Ordering::Equal,
        };
        // They are inserted in order; then every split chunk loses all but its first.
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
