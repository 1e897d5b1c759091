//! What is shown while it runs: how far it has come, on a terminal.

use std::io::{IsTerminal, Write, stderr};

pub struct Progress {
    is_shown: bool,
}

impl Progress {
    /// On stderr if that is a terminal, unless it is to be `hidden`.
    pub fn new(hidden: bool) -> Progress {
        Progress {
            is_shown: !hidden && stderr().is_terminal(),
        }
    }

    /// Shows a text in place of the one before.
    pub fn show(&self, text: &str) {
        if self.is_shown {
            // To the line's beginning, and erase it.
            let _ = write!(stderr(), "\r\x1b[K{text}");
        }
    }
}
