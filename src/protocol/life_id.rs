//! The number of one life: of the server from a start to its end, or of a room's log.

use std::fmt;

use crate::state::saved;

/// Which life it is, of the server or of a room's log: 16 hexadecimal digits that no other has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifeId(u64);

saved!(struct LifeId(number));

impl LifeId {
    const DIGITS: usize = 16;

    /// The life of that number.
    pub const fn new(number: u64) -> LifeId {
        LifeId(number)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Makes a random one, for a server that starts.
    ///
    /// # Errors
    ///
    /// If the system has no random numbers. Linux always has some once it has started.
    pub fn random() -> Result<LifeId, getrandom::Error> {
        Ok(LifeId(getrandom::u64()?))
    }

    /// Reads a word as the number of a life, if it is one.
    pub fn parse(word: &str) -> Option<LifeId> {
        if word.len() != Self::DIGITS || !word.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        u64::from_str_radix(word, 16).ok().map(LifeId)
    }

    /// The `n`th life that begins within this one. All of them differ, and they look random: this is
    /// the generator SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
    /// 2014) with this number as its seed.
    pub const fn nth(self, n: u64) -> LifeId {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let z = self.0.wrapping_add(n.wrapping_add(1).wrapping_mul(GAMMA));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        LifeId(z ^ (z >> 31))
    }
}

impl fmt::Display for LifeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            let id = LifeId::new(number);
            assert_eq!(LifeId::parse(&id.to_string()), Some(id));
            assert_eq!(LifeId::parse(&id.to_string().to_uppercase()), Some(id));
        }
        for word in [
            "",
            "0",
            "+123456789abcdef",
            "0123456789abcdef0",
            "0123456789abcdeg",
        ] {
            assert_eq!(LifeId::parse(word), None, "{word}");
        }
    }

    #[test]
    fn the_lives_within_one_are_those_of_the_published_generator() {
        // The first outputs of SplitMix64 with the seed 1234567.
        let first = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        for (n, number) in first.into_iter().enumerate() {
            assert_eq!(LifeId::new(1_234_567).nth(n as u64), LifeId::new(number));
        }
    }

    #[test]
    fn two_servers_differ() {
        assert_ne!(LifeId::random().unwrap(), LifeId::random().unwrap());
    }
}
