//! How long things took.

use hdrhistogram::Histogram;

use crate::json::Object;

/// An hour, in microseconds: what took longer counts as that.
const LONGEST_US: u64 = 3_600_000_000;

/// A histogram of microseconds with three digits.
pub struct Latencies {
    histogram: Histogram<u64>,
    /// A value that came several times in a row and is recorded once: most do, as they are read
    /// and said many at once.
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
            self.flush();
            self.value_us = value_us;
        }
        self.times += 1;
    }

    fn flush(&mut self) {
        let value_us = self.value_us.min(LONGEST_US);
        if self.times > 0 {
            self.histogram
                .record_n(value_us, self.times)
                .expect("the value was bounded");
        }
        self.times = 0;
    }

    /// What so large a part of them did not take longer than, in milliseconds; not a number if
    /// nothing was recorded.
    pub fn quantile_ms(&mut self, part: f64) -> f64 {
        self.flush();
        match self.histogram.is_empty() {
            true => f64::NAN,
            false => self.histogram.value_at_quantile(part) as f64 / 1e3,
        }
    }

    /// The usual percentiles with their names, once something was recorded.
    pub fn summary(&mut self) -> Option<[(&'static str, u64); 5]> {
        self.flush();
        let histogram = &self.histogram;
        let at = |quantile| histogram.value_at_quantile(quantile);
        (!histogram.is_empty()).then(|| {
            [
                ("p50", at(0.5)),
                ("p90", at(0.9)),
                ("p99", at(0.99)),
                ("p99_9", at(0.999)),
                ("max", histogram.max()),
            ]
        })
    }

    /// The same as an object.
    pub fn json(&mut self) -> Option<Object> {
        let mut object = Object::default();
        for (name, us) in self.summary()? {
            object.put(name, us);
        }
        Some(object)
    }
}
