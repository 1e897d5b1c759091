//! How long the loop's turns have taken lately.

use crate::time::{Millis, Now};

/// How long a slot covers. The sum of all slots is the last minute, to the accuracy of one of them.
const SLOT: Millis = Millis(5000);
const SLOTS: usize = 13;

/// The longest turns of the last minute, in slots of some seconds.
#[derive(Debug, Default)]
pub struct TurnTimes {
    /// The longest turn of each slot; that of the time now is at `current % SLOTS`.
    longest: [Millis; SLOTS],
    /// The number of the slot, from 0, in which a turn was last added or asked for.
    current: u64,
}

impl TurnTimes {
    /// Notes how long a turn has taken that ends now.
    pub fn add(&mut self, took: Millis, now: Now) {
        self.forget(now);
        let longest = &mut self.longest[self.current as usize % SLOTS];
        *longest = took.max(*longest);
    }

    /// The longest turn that has ended within the last minute, or at most a slot before that.
    pub fn longest(&mut self, now: Now) -> Millis {
        self.forget(now);
        self.longest.into_iter().max().unwrap_or_default()
    }

    /// Forgets turns that are too long ago.
    fn forget(&mut self, now: Now) {
        let current = now.at.0 / SLOT.0;
        let passed = current.saturating_sub(self.current).min(SLOTS as u64);
        for slot in (1..=passed).map(|ahead| self.current + ahead) {
            self.longest[slot as usize % SLOTS] = Millis(0);
        }
        self.current = current;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(at: u64) -> Now {
        Now::exactly(Millis(at), 0)
    }

    #[test]
    fn a_turn_counts_for_a_minute_and_at_most_a_slot_more() {
        for start in [0, 1, 4_999, 5_000, 123_456_789] {
            let mut times = TurnTimes::default();
            times.add(Millis(3), now(start));
            times.add(Millis(40), now(start));
            times.add(Millis(5), now(start));
            for later in [0, 1, 30_000, 59_999, 60_000] {
                assert_eq!(
                    times.longest(now(start + later)),
                    Millis(40),
                    "{start} {later}"
                );
            }
            assert_eq!(times.longest(now(start + 65_000)), Millis(0), "{start}");
        }
    }

    /// Against a list of all turns, with pauses of any length.
    #[test]
    fn it_is_the_longest_of_those_that_count() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut times = TurnTimes::default();
        let (mut at, mut turns) = (0, Vec::new());
        for _ in 0..10_000 {
            let bits = rng.u64(1..18);
            at += rng.u64(..1 << bits);
            let took = rng.u64(..100);
            times.add(Millis(took), now(at));
            turns.push((at, took));
            let within = |ms: u64| {
                let recent = turns.iter().rev().take_while(|(end, _)| end + ms >= at);
                Millis(recent.map(|&(_, took)| took).max().unwrap_or(0))
            };
            let longest = times.longest(now(at));
            assert!(
                within(60_000) <= longest && longest <= within(65_000),
                "{at}"
            );
        }
    }
}
