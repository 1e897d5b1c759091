//! How long things took.

use hdrhistogram::Histogram;

use crate::json::Object;

/// An hour, in microseconds: what took longer counts as that.
const LONGEST_US: u64 = 3_600_000_000;

/// A histogram of microseconds with three digits.
pub struct Latencies {
    histogram: Histogram<u64>,
    /// A value that came several times in a row and is recorded once, which saves a quarter of
    /// swarm's instructions for a delivery: most do, as they are read and said many at once.
    value_us: u64,
    times: u64,
}

impl Default for Latencies {
    fn default() -> Latencies {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, 3);
        Latencies {
            histogram: histogram.expect("three digits up to an hour fit"),
            value_us: 0,
            times: 0,
        }
    }
}

impl Latencies {
    pub fn record(&mut self, value_us: u64) {
        if value_us != self.value_us {
            self.recorded();
            self.value_us = value_us;
        }
        self.times += 1;
    }

    /// All that was recorded.
    fn recorded(&mut self) -> &Histogram<u64> {
        let times = std::mem::take(&mut self.times);
        self.histogram.saturating_record_n(self.value_us, times);
        &self.histogram
    }

    /// What so large a part of them did not take longer than, in milliseconds; not a number if
    /// nothing was recorded.
    pub fn quantile_ms(&mut self, part: f64) -> f64 {
        let histogram = self.recorded();
        match histogram.is_empty() {
            true => f64::NAN,
            false => histogram.value_at_quantile(part) as f64 / 1e3,
        }
    }

    /// The usual percentiles with their names, once something was recorded.
    pub fn summary(&mut self) -> Option<Object> {
        let histogram = self.recorded();
        let mut object = Object::default();
        for (name, part) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999)] {
            object.put(name, histogram.value_at_quantile(part));
        }
        object.put("max", histogram.max());
        (!histogram.is_empty()).then_some(object)
    }
}
