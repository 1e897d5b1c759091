//! What the server logs about itself: how many lines of the log were dropped, and once a day its
//! totals.

use super::log_sink::LogState;
use crate::chat::stats::Stats;
use crate::state::saved;
use crate::time::{Millis, Now};

/// After lines were dropped, the time until the log is tried again: at first, and doubled each time
/// that it still drops lines, up to the most.
const RETRY_PAUSE: Millis = Millis(1000);
const RETRY_PAUSE_MAX: Millis = Millis(30_000);
/// The time between two summaries.
const DAY: Millis = Millis(24 * 60 * 60 * 1000);

/// What was logged, and when it is time for more.
pub struct Report {
    /// When the server started.
    start: Millis,
    log: LogState,
    /// How many dropped lines the log has reported.
    reported: u64,
    /// The log is not tried again before this time, ...
    retry_at: Millis,
    /// ... and then not for as long as this, if it drops that line as well.
    retry_pause: Millis,
    /// When the next summary is due.
    summary_at: Millis,
}

saved!(struct Report { start, log, reported, retry_at, retry_pause, summary_at });

impl Report {
    /// A report of a server that starts at this time.
    pub fn new(log: LogState, start: Millis) -> Report {
        Report {
            start,
            log,
            reported: 0,
            retry_at: Millis(0),
            retry_pause: RETRY_PAUSE,
            summary_at: start + DAY,
        }
    }

    /// How far the log has got.
    pub fn log(&self) -> &LogState {
        &self.log
    }

    /// When something may be due next.
    pub fn next_deadline(&self) -> Millis {
        match self.log.dropped() > self.reported {
            true => self.retry_at.min(self.summary_at),
            false => self.summary_at,
        }
    }

    /// Logs what is due: how many lines were dropped, if the log may take lines again, and once a
    /// day the summary.
    pub fn turn(&mut self, stats: &mut Stats, now: Now) {
        let dropped = self.log.dropped();
        stats.log_lines_dropped = dropped;
        if dropped > self.reported && now.past >= self.retry_at {
            self.retry_at = now.at + self.retry_pause;
            let count = dropped - self.reported;
            log::warn!("{count} lines of the log were dropped: nobody read them");
            let was_dropped = self.log.dropped() > dropped;
            if was_dropped {
                // This line is the server's own, and does not count.
                self.reported += 1;
                self.retry_pause = Millis(2 * self.retry_pause.0).min(RETRY_PAUSE_MAX);
            } else {
                self.reported = dropped;
                self.retry_pause = RETRY_PAUSE;
            }
        }
        if now.past >= self.summary_at {
            self.summary_at = self.summary_at + DAY;
            self.log_summary(stats, now);
        }
    }

    /// Logs what the server has done so far.
    pub fn log_summary(&self, stats: &Stats, now: Now) {
        log::info!("{}", stats.summary(now.past.since(self.start)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_lines_are_reported_at_once_and_then_once_a_second() {
        let log = LogState::default();
        let mut report = Report::new(log.clone(), Millis(0));
        let mut stats = Stats::default();
        let mut turn = |report: &mut Report, at| {
            report.turn(&mut stats, Now::exactly(Millis(at), 0));
            (stats.log_lines_dropped, report.reported)
        };
        assert_eq!(report.next_deadline(), DAY);
        assert_eq!(turn(&mut report, 5), (0, 0));
        log.add_dropped();
        assert!(report.next_deadline() <= Millis(5));
        assert_eq!(turn(&mut report, 5), (1, 1));
        assert_eq!(report.next_deadline(), DAY);
        log.add_dropped();
        log.add_dropped();
        assert_eq!(report.next_deadline(), Millis(1005));
        assert_eq!(turn(&mut report, 1004), (3, 1));
        assert_eq!(turn(&mut report, 1005), (3, 3));
        assert_eq!(report.next_deadline(), DAY);
    }

    #[test]
    fn a_summary_is_due_each_day() {
        let mut report = Report::new(LogState::default(), Millis(0));
        let mut stats = Stats::default();
        for day in 1..4 {
            let due = Millis(day * DAY.0);
            assert_eq!(report.next_deadline(), due);
            report.turn(&mut stats, Now::exactly(Millis(due.0 - 1), 0));
            assert_eq!(report.next_deadline(), due);
            report.turn(&mut stats, Now::exactly(due, 0));
        }
    }
}
