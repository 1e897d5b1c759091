//! What the core logs on the thread of a test that asks for it. There is one logger for all tests.

use std::cell::RefCell;
use std::sync::Once;

use log::{LevelFilter, Log, Metadata, Record};

thread_local! {
    /// Set for tests that have asked.
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

struct Kept;

impl Log for Kept {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LINES.with_borrow_mut(|lines| {
            if let Some(lines) = lines {
                lines.push(format!("{} {}", record.level(), record.args()));
            }
        });
    }

    fn flush(&self) {}
}

/// Keeps what is logged from now on.
pub fn keep() {
    static START: Once = Once::new();
    START.call_once(|| {
        log::set_logger(&Kept).unwrap();
        log::set_max_level(LevelFilter::Debug);
    });
    LINES.set(Some(Vec::new()));
}

/// What was logged since this or `keep` was called last.
pub fn take() -> Vec<String> {
    LINES.replace(Some(Vec::new())).expect("the log is kept")
}
