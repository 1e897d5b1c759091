//! What the server logs of itself now and then: how many lines of the log were dropped, and once a
//! day what there was.

use crate::chat::stats::Stats;
use crate::log_sink::Dropped;
use crate::time::{Millis, Now};

/// How long it takes until the log is tried again that dropped lines, at first and at the most.
const DROPPED_PAUSE: Millis = Millis(1000);
const DROPPED_PAUSE_MAX: Millis = Millis(30_000);
/// How often the log tells what there was.
const DAY: Millis = Millis(24 * 60 * 60 * 1000);

/// What the server logs of itself now and then.
pub struct Report {
    dropped: Dropped,
    /// How many dropped lines the log has told of.
    dropped_told: u64,
    /// When it is tried again to tell of more, and how long to wait if that is dropped as well.
    look_at: Millis,
    pause: Millis,
    /// When it tells next what there was.
    day_ends: Millis,
}

impl Report {
    /// A report of a server that starts now.
    pub fn new(dropped: Dropped) -> Report {
        Report {
            dropped,
            dropped_told: 0,
            look_at: Millis(0),
            pause: DROPPED_PAUSE,
            day_ends: DAY,
        }
    }

    /// When something may be due next.
    pub fn next_deadline(&self) -> Millis {
        match self.dropped.lines() > self.dropped_told {
            true => self.look_at.min(self.day_ends),
            false => self.day_ends,
        }
    }

    /// Logs what is due: how many lines were dropped, if there may be space again, and once a day
    /// what there was.
    pub fn turn(&mut self, stats: &mut Stats, now: Now) {
        let dropped = self.dropped.lines();
        stats.log_lines_dropped = dropped;
        if dropped > self.dropped_told && now.past >= self.look_at {
            self.look_at = now.at + self.pause;
            let count = dropped - self.dropped_told;
            log::warn!("{count} lines of the log were dropped: nobody took them");
            let was_dropped = self.dropped.lines() > dropped;
            if was_dropped {
                // The one that said so need not be counted.
                self.dropped_told += 1;
                self.pause = Millis(2 * self.pause.0).min(DROPPED_PAUSE_MAX);
            } else {
                self.dropped_told = dropped;
                self.pause = DROPPED_PAUSE;
            }
        }
        if now.past >= self.day_ends {
            self.day_ends = self.day_ends + DAY;
            log::info!("{}", stats.summary(now.past));
        }
    }
}
