//! How long things took.

use hdrhistogram::Histogram;

use crate::json::Object;

/// An hour, in microseconds: what took longer counts as that.
const LONGEST_US: u64 = 3_600_000_000;

/// A histogram of microseconds with three digits.
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Latencies {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, 3);
        Latencies(histogram.expect("three digits up to an hour fit"))
    }
}

impl Latencies {
    pub fn record(&mut self, value_us: u64) {
        self.0.saturating_record(value_us);
    }

    /// What so large a part of them did not take longer than, in milliseconds; not a number if
    /// nothing was recorded.
    pub fn quantile_ms(&self, part: f64) -> f64 {
        match self.0.is_empty() {
            true => f64::NAN,
            false => self.0.value_at_quantile(part) as f64 / 1e3,
        }
    }

    /// The usual percentiles with their names, once something was recorded.
    pub fn summary(&self) -> Option<Object> {
        let mut object = Object::default();
        for (name, part) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999)] {
            object.put(name, self.0.value_at_quantile(part));
        }
        object.put("max", self.0.max());
        (!self.0.is_empty()).then_some(object)
    }
}
