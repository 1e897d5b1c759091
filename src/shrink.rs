//! When it is worth giving a table's memory back.

/// A table for fewer things than this is not worth it.
const CAPACITY_MIN: usize = 16;

/// Watches how many things there are in a table, and says when to shrink it.
#[derive(Debug, Default)]
pub struct ShrinkPolicy {
    /// The most things that there were since the table was last shrunk, ...
    most: usize,
    /// ... and how many were removed.
    removed: usize,
}

impl ShrinkPolicy {
    /// Notes that the table has grown to `count` entries.
    pub fn added(&mut self, count: usize) {
        self.most = self.most.max(count);
    }

    /// Notes that an entry was removed; true if the table is to be shrunk now.
    ///
    /// Shrinking looks at the whole table, which has `capacity`. So it is time when half of the entries
    /// are gone; when nothing is left; and otherwise not before an eighth of the capacity was removed.
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

    /// The policy of a table that has grown to so many entries.
    fn grown_to(count: usize) -> ShrinkPolicy {
        let mut policy = ShrinkPolicy::default();
        (1..=count).for_each(|count| policy.added(count));
        policy
    }

    #[test]
    fn memory_is_given_back_each_time_that_half_of_the_entries_are_gone() {
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
    fn an_entry_that_stays_in_the_last_place_does_not_make_each_other_one_costly() {
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
