//! What is shown while it runs: a bar, on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar on stderr if that is a terminal, unless it is to be `hidden`.
    pub fn new(hidden: bool) -> Progress {
        let bar = match hidden {
            true => ProgressBar::hidden(),
            false => ProgressBar::no_length(),
        };
        let style = ProgressStyle::with_template("{wide_bar} {msg}");
        bar.set_style(style.expect("the template is right"));
        Progress { bar }
    }

    /// Shows how much is done, of what, and how many deliveries there were.
    pub fn show(&self, what: &str, done: usize, of: usize, delivered: u64) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.update(|state| {
            state.set_len(of as u64);
            state.set_pos(done as u64);
        });
        self.bar.set_message(match delivered {
            0 => format!("{done} of {of} {what}"),
            _ => format!("{done} of {of} {what}, {delivered} deliveries"),
        });
    }

    /// Tells something that is not the end.
    pub fn tell(&self, text: &str) {
        self.bar
            .suspend(|| tools::arguments::complain("swarm", text));
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
