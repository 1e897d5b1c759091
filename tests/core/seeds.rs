//! Plays what is random, so that a failure can be played again.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use proptest::test_runner::Config as ProptestConfig;

/// How many of its last steps a failure shows.
const STEPS_SHOWN: usize = 30;

/// How much of `count` is played: all where every change is tested, and a quarter elsewhere.
fn share(count: u64) -> u64 {
    let in_ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty());
    if in_ci { count } else { count.div_ceil(4) }
}

/// The configuration of a test that proptest tries with this many cases, or with a quarter of them outside of
/// CI.
pub fn cases(count: u64) -> ProptestConfig {
    ProptestConfig {
        cases: share(count) as u32,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Plays with each seed below `count`, or with a quarter of them outside of CI, or only with the one in
/// CHINWAG_SEED. `play` notes its steps; a failure shows the last of them, and the seed.
pub fn play_seeds(count: u64, mut play: impl FnMut(u64, &mut Vec<String>)) {
    play_with(0..share(count), |seed, steps| play(seed, steps));
}

/// Plays with one seed after the other until that has come to this many steps, or to a quarter of them
/// outside of CI, or only with the one in CHINWAG_SEED. `play` notes its steps, and returns how many it counts.
pub fn play_steps(count: u64, mut play: impl FnMut(u64, &mut Vec<String>) -> u64) {
    let count = share(count);
    let played = Cell::new(0);
    let seeds = (0..).take_while(|_| played.get() < count);
    play_with(seeds, |seed, steps| {
        played.set(played.get() + play(seed, steps));
    });
}

fn play_with(seeds: impl Iterator<Item = u64>, mut play: impl FnMut(u64, &mut Vec<String>)) {
    let only = std::env::var("CHINWAG_SEED");
    let only = only.ok().map(|seed| seed.parse().unwrap());
    let all = seeds.take(if only.is_some() { 0 } else { usize::MAX });
    for seed in only.into_iter().chain(all) {
        let mut steps = Vec::new();
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| play(seed, &mut steps))) {
            let tail = &steps[steps.len().saturating_sub(STEPS_SHOWN)..];
            eprintln!(
                "CHINWAG_SEED={seed} failed; its last steps:\n{}",
                tail.join("\n")
            );
            resume_unwind(failure);
        }
    }
}
