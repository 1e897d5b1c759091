//! What a program has understood of a state, in a few numbers, so that another can tell whether it has
//! understood all of it.

use std::fmt;

/// The numbers of a state, and a mix of its most important values.
///
/// Two programs that have the same state come to the same summary, whatever else they keep. FORMAT.md says
/// what goes into it, in which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many connections there are.
    pub connections: u64,
    /// How many sessions there are.
    pub sessions: u64,
    /// How many rooms there are.
    pub rooms: u64,
    mix: u64,
}

impl Summary {
    /// Takes in a value, in a place of its own: the order counts.
    pub fn add(&mut self, value: u64) {
        // The steps of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
        // 2014).
        let z = (self.mix ^ value).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.mix = z ^ (z >> 31);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            connections,
            sessions,
            rooms,
            mix,
        } = self;
        write!(f, "{connections} {sessions} {rooms} {mix:016x}")
    }
}
