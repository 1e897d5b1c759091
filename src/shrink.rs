//! When it is worth giving memory back.

/// A table for fewer things than this is not worth it.
const ROOM_MIN: usize = 16;

/// Watches how many things there are in a table.
#[derive(Debug, Default)]
pub struct ShrinkPolicy {
    /// The most that there were since memory was last given back, ...
    most: usize,
    /// ... and how many have gone.
    gone: usize,
}

impl ShrinkPolicy {
    /// One more has come, which makes so many.
    pub fn one_came(&mut self, count: usize) {
        self.most = self.most.max(count);
    }

    /// One has gone, so many are left, and the table has room for so many: is it time to give
    /// memory back? That looks at the whole table, and so is done once half of a crowd is gone, and
    /// else not before an eighth of the room has gone since; or when nothing is left.
    pub fn one_went(&mut self, left: usize, room: usize) -> bool {
        self.gone += 1;
        let is_half_gone = self.most >= ROOM_MIN && left <= self.most / 2;
        let is_time = left == 0 || self.gone >= room / 8;
        let is_worth_it = is_half_gone || room >= ROOM_MIN && is_time;
        if is_worth_it {
            *self = ShrinkPolicy {
                most: left,
                gone: 0,
            };
        }
        is_worth_it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crowd that has come, in a table with just the room for it.
    fn crowd_of(count: usize) -> ShrinkPolicy {
        let mut crowd = ShrinkPolicy::default();
        (1..=count).for_each(|count| crowd.one_came(count));
        crowd
    }

    #[test]
    fn memory_is_given_back_each_time_that_half_of_a_crowd_is_gone() {
        let mut crowd = crowd_of(1000);
        let given: Vec<usize> = (0..1000)
            .rev()
            .filter(|&left| crowd.one_went(left, 1 << 20))
            .collect();
        assert_eq!(given, [500, 250, 125, 62, 31, 15, 0]);
    }

    #[test]
    fn a_few_that_come_and_go_cost_nothing() {
        let mut crowd = ShrinkPolicy::default();
        for _ in 0..1000 {
            crowd.one_came(1);
            assert!(!crowd.one_went(0, 4));
        }
    }

    #[test]
    fn one_who_stays_in_the_last_place_does_not_make_each_of_the_others_costly() {
        let mut crowd = crowd_of(1000);
        (1..1000)
            .rev()
            .for_each(|left| _ = crowd.one_went(left, 1000));
        let mut given = 0;
        for _ in 0..1250 {
            crowd.one_came(2);
            given += usize::from(crowd.one_went(1, 1000));
        }
        assert_eq!(given, 10);
        assert!(crowd.one_went(0, 1000));
    }
}
