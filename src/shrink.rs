//! When it is worth returning the memory of an array: of a vector, or of a slab.

/// An array with space for fewer entries is not worth shrinking.
const CAPACITY_MIN: usize = 16;

/// Counts the entries of an array and says when to shrink it.
#[derive(Debug, Default)]
pub struct ShrinkPolicy {
    /// The most entries since the array was last shrunk.
    most: usize,
    /// How many entries were removed since then.
    removed: usize,
}

impl ShrinkPolicy {
    /// Notes that the array has grown to `count` entries.
    pub fn added(&mut self, count: usize) {
        self.most = self.most.max(count);
    }

    /// Notes that an entry was removed and `left` are left. Returns true if the array should be shrunk
    /// now.
    ///
    /// Shrinking looks at the whole array. So it is worth it when half of the entries have gone, when
    /// none is left, or otherwise when as many were removed as an eighth of the array's capacity.
    pub fn removed(&mut self, left: usize, capacity: usize) -> bool {
        self.removed += 1;
        let is_half_gone = self.most >= CAPACITY_MIN && left <= self.most / 2;
        let is_time = left == 0 || self.removed >= capacity / 8;
        let is_worth_it = is_half_gone || capacity >= CAPACITY_MIN && is_time;
        if is_worth_it {
            *self = ShrinkPolicy {
                most: left,
                removed: 0,
            };
        }
        is_worth_it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The policy of an array that has grown to `count` entries.
    fn grown_to(count: usize) -> ShrinkPolicy {
        let mut policy = ShrinkPolicy::default();
        (1..=count).for_each(|count| policy.added(count));
        policy
    }

    #[test]
    fn memory_goes_back_each_time_that_half_of_the_entries_have_gone() {
        let mut policy = grown_to(1000);
        let shrunk: Vec<usize> = (0..1000)
            .rev()
            .filter(|&left| policy.removed(left, 1 << 20))
            .collect();
        assert_eq!(shrunk, [500, 250, 125, 62, 31, 15, 0]);
    }

    #[test]
    fn a_few_that_come_and_go_cost_nothing() {
        let mut policy = ShrinkPolicy::default();
        for _ in 0..1000 {
            policy.added(1);
            assert!(!policy.removed(0, 4));
        }
    }

    #[test]
    fn an_entry_that_stays_last_does_not_make_every_removal_costly() {
        let mut policy = grown_to(1000);
        (1..1000)
            .rev()
            .for_each(|left| _ = policy.removed(left, 1000));
        let mut shrunk = 0;
        for _ in 0..1250 {
            policy.added(2);
            shrunk += usize::from(policy.removed(1, 1000));
        }
        assert_eq!(shrunk, 10);
        assert!(policy.removed(0, 1000));
    }
}
