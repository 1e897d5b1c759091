//! A sorted index of names: keys of things that have one, in the order of their names.
//!
//! The names themselves stay with the things. Whoever calls says how to get from a key to its
//! name, always in the same way.

use std::cmp::Ordering;

use crate::protocol::Folded;

/// Keys in one chunk, at most: what an insertion may have to move.
const CHUNK_MAX: usize = 256;

/// Gives the name that a key stands for.
pub type NameOf<'a> = &'a dyn Fn(u32) -> Folded;

/// Keys sorted by name, no name twice.
///
/// They lie in a row of sorted chunks, so that a key costs little more than its four bytes, an
/// insertion moves few of them, and where a key stands in the whole is known without counting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameIndex {
    chunks: Vec<Vec<u32>>,
    len: usize,
}

/// Where a name stands, or would stand: its chunk, and its place there.
struct Place {
    chunk: usize,
    at: usize,
    is_taken: bool,
}

impl NameIndex {
    /// How many names there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key of a name.
    pub fn get(&self, name: Folded, name_of: NameOf<'_>) -> Option<u32> {
        let place = self.place(name, name_of);
        place.is_taken.then(|| self.chunks[place.chunk][place.at])
    }

    /// Puts a key under its name, which must not be there yet.
    pub fn insert(&mut self, key: u32, name_of: NameOf<'_>) {
        let mut place = self.place(name_of(key), name_of);
        debug_assert!(!place.is_taken, "a name is there twice");
        match self.chunks.get_mut(place.chunk) {
            None => self.chunks.push(Vec::new()),
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
        self.chunks[place.chunk].insert(place.at, key);
        self.len += 1;
    }

    /// Takes a name out, if it is there.
    pub fn remove(&mut self, name: Folded, name_of: NameOf<'_>) {
        let place = self.place(name, name_of);
        if !place.is_taken {
            return;
        }
        self.len -= 1;
        let chunk = &mut self.chunks[place.chunk];
        chunk.remove(place.at);
        if chunk.len() < chunk.capacity() / 4 {
            chunk.shrink_to(2 * chunk.len());
        }
        let is_small = |chunk: Option<&Vec<u32>>| chunk.is_some_and(|c| c.len() < CHUNK_MAX / 4);
        if self.chunks[place.chunk].is_empty() {
            self.chunks.remove(place.chunk);
        } else if is_small(self.chunks.get(place.chunk))
            && is_small(self.chunks.get(place.chunk + 1))
        {
            let next = self.chunks.remove(place.chunk + 1);
            self.chunks[place.chunk].extend(next);
        }
        if self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to(2 * self.chunks.len());
        }
    }

    /// The keys of all names behind `after`, in order, or of all names; and how many those are.
    pub fn behind(
        &self,
        after: Option<Folded>,
        name_of: NameOf<'_>,
    ) -> (impl Iterator<Item = u32> + use<'_>, usize) {
        let place = after.map(|name| self.place(name, name_of));
        let (chunk, at) = place.map_or((0, 0), |p| (p.chunk, p.at + usize::from(p.is_taken)));
        let before: usize = self.chunks[..chunk].iter().map(Vec::len).sum();
        let keys = self.chunks[chunk..].iter().flatten().skip(at).copied();
        (keys, self.len - before - at)
    }

    fn place(&self, name: Folded, name_of: NameOf<'_>) -> Place {
        let is_behind = |chunk: &Vec<u32>| name_of(chunk[0]).cmp(&name) == Ordering::Greater;
        let behind = self.chunks.partition_point(|chunk| !is_behind(chunk));
        let chunk = behind.saturating_sub(1);
        let found = match self.chunks.get(chunk) {
            Some(keys) => keys.binary_search_by(|&key| name_of(key).cmp(&name)),
            None => Err(0),
        };
        Place {
            chunk,
            at: found.unwrap_or_else(|at| at),
            is_taken: found.is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::protocol::Name;

    /// Keys spell their names, in an order that is not theirs.
    fn name_of(key: u32) -> Folded {
        let text = format!("n{:08x}", key.reverse_bits() >> 3 ^ key);
        Name::parse(&text).unwrap().folded()
    }

    struct Checked {
        index: NameIndex,
        model: BTreeMap<Folded, u32>,
    }

    impl Checked {
        fn new() -> Checked {
            Checked {
                index: NameIndex::default(),
                model: BTreeMap::new(),
            }
        }

        fn toggle(&mut self, key: u32) {
            let name = name_of(key);
            match self.model.remove(&name) {
                Some(_) => self.index.remove(name, &name_of),
                None => {
                    self.model.insert(name, key);
                    self.index.insert(key, &name_of);
                }
            }
            assert_eq!(self.index.len(), self.model.len());
            assert_eq!(self.index.is_empty(), self.model.is_empty());
            assert_eq!(
                self.index.get(name, &name_of),
                self.model.get(&name).copied()
            );
        }

        fn check(&self, after: Option<Folded>) {
            let (keys, count) = self.index.behind(after, &name_of);
            let expected = self
                .model
                .iter()
                .filter(|(name, _)| after.is_none_or(|a| **name > a));
            let expected: Vec<u32> = expected.map(|(_, &key)| key).collect();
            assert_eq!(count, expected.len());
            assert_eq!(keys.collect::<Vec<u32>>(), expected);
        }

        fn check_chunks(&self) {
            for chunk in &self.index.chunks {
                assert!((1..=CHUNK_MAX).contains(&chunk.len()), "{}", chunk.len());
            }
        }
    }

    #[test]
    fn names_come_in_order_from_wherever_one_begins() {
        let mut checked = Checked::new();
        checked.check(None);
        checked.check(Some(name_of(1)));
        for key in 0..2000 {
            checked.toggle(key);
        }
        checked.check(None);
        // Behind names that are there, and names that are not.
        for key in (0..4000).step_by(7) {
            checked.check(Some(name_of(key)));
        }
        checked.check_chunks();
    }

    #[test]
    fn names_come_and_go_in_any_order() {
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
    fn a_name_that_is_not_there_is_neither_found_nor_removed() {
        let mut checked = Checked::new();
        (0..1000).for_each(|key| checked.toggle(key));
        for key in 1000..2000 {
            assert_eq!(checked.index.get(name_of(key), &name_of), None);
            checked.index.remove(name_of(key), &name_of);
        }
        assert_eq!(checked.index.len(), 1000);
    }
}
