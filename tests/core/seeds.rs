//! Plays what is random, so that a failure can be played again.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// How many of its last steps a failure shows.
const STEPS_SHOWN: usize = 30;

/// Plays with each seed below `count`, or only with the one in CHINWAG_SEED. `play` notes its steps; a
/// failure shows the last of them, and the seed.
pub fn play_seeds(count: u64, play: impl Fn(u64, &mut Vec<String>)) {
    let seeds = match std::env::var("CHINWAG_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..count).collect(),
    };
    for seed in seeds {
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
