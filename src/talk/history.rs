//! The lines that were typed before, a bounded number of them.

use crate::state::saved;

/// How many lines are kept.
pub const HISTORY_LINES_MAX: usize = 20;
/// The most that they take together, in bytes, each with one for its end.
pub const HISTORY_BYTES_MAX: usize = 2048;
/// The memory for them grows by this many bytes.
const STEP_BYTES: usize = 256;
/// What ends each of them. No line contains it.
const END: char = '\n';

/// The lines that were typed before.
#[derive(Debug, Default)]
pub struct History {
    /// The lines, oldest first, each with its end.
    text: String,
}

impl History {
    /// Keeps a line, for which the oldest ones give way. A line that repeats the newest one, shows
    /// nothing or is too long is not kept.
    pub fn keep(&mut self, line: &str) {
        let bytes = line.len() + END.len_utf8();
        if line.trim().is_empty() || bytes > HISTORY_BYTES_MAX || self.line(1) == Some(line) {
            return;
        }
        let ends = self.text.match_indices(END).map(|(at, _)| at + 1);
        let places = HISTORY_LINES_MAX - 1;
        let is_enough = |(gone, left): &(usize, usize)| {
            *left <= places && self.text.len() - gone + bytes <= HISTORY_BYTES_MAX
        };
        let lines = ends.clone().count();
        let mut cuts = std::iter::once(0).chain(ends).zip((0..=lines).rev());
        let cut = cuts.find(is_enough);
        let (gone, _) = cut.expect("without the others, the line fits");
        self.text.drain(..gone);
        let needed = self.text.len() + bytes;
        if needed > self.text.capacity() {
            let wanted = needed.next_multiple_of(STEP_BYTES);
            self.text.reserve_exact(wanted - self.text.len());
        }
        self.text.push_str(line);
        self.text.push(END);
    }

    /// Whether they fit.
    pub fn is_sound(&self) -> bool {
        self.text.len() <= HISTORY_BYTES_MAX && (self.text.is_empty() || self.text.ends_with(END))
    }

    /// How much memory they take, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.text.capacity()
    }

    /// The newest line but `back - 1`, so 1 is the newest.
    pub fn line(&self, back: usize) -> Option<&str> {
        let mut lines = self.text.split_terminator(END);
        lines.nth_back(back.checked_sub(1)?)
    }
}

saved!(struct History { text });

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that a history goes back to, newest first.
    fn lines(history: &History) -> Vec<&str> {
        (1..).map_while(|back| history.line(back)).collect()
    }

    #[test]
    fn the_newest_lines_are_kept_up_to_a_number_and_a_size() {
        let mut history = History::default();
        let mut model: Vec<String> = Vec::new();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut were_full = [false; 2];
        for step in 0..10_000 {
            let len_max = [30, 300, 3000][step / 100 % 3];
            let line = "é".repeat(rng.usize(..len_max) / 2) + &rng.u8(..3).to_string();
            history.keep(&line);
            if line.len() < HISTORY_BYTES_MAX && model.first() != Some(&line) {
                model.insert(0, line);
                let bytes =
                    |model: &[String]| model.iter().map(|line| line.len() + 1).sum::<usize>();
                were_full[0] |= model.len() > HISTORY_LINES_MAX;
                model.truncate(HISTORY_LINES_MAX);
                while bytes(&model) > HISTORY_BYTES_MAX {
                    were_full[1] = true;
                    model.pop();
                }
            }
            assert_eq!(lines(&history), model);
            assert!(history.text.capacity() <= HISTORY_BYTES_MAX);
        }
        assert_eq!(were_full, [true; 2]);
    }

    #[test]
    fn lines_that_show_nothing_repeat_the_newest_or_are_too_long_are_not_kept() {
        let mut history = History::default();
        assert_eq!(history.line(0), None);
        history.keep("");
        history.keep(" ");
        history.keep("one");
        history.keep("one");
        history.keep(&"x".repeat(HISTORY_BYTES_MAX));
        assert_eq!(lines(&history), ["one"]);
        history.keep("two");
        history.keep("one");
        assert_eq!(lines(&history), ["one", "two", "one"]);
        let longest = "x".repeat(HISTORY_BYTES_MAX - 1);
        history.keep(&longest);
        assert_eq!(lines(&history), [longest]);
    }
}
