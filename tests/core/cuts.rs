//! What is cut off a stream, to compare ways to cut it up.

use chinwag::hub::line::{Item, Splitter};

/// An [`Item`] that outlives its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    Line(Vec<u8>),
    TooLong,
    Skipped,
    Option(u8, u8),
    WindowSize(u16, u16),
    SignOfLife,
    AreYouThere,
    Tls,
}

/// Passes a stream to a splitter in chunks, and returns all that it cuts off.
pub fn cut<'a>(
    splitter: &mut Splitter,
    chunks: impl IntoIterator<Item = &'a [u8]>,
    line_bytes_max: usize,
) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for mut chunk in chunks {
        while let Some(item) = splitter.next(&mut chunk, line_bytes_max) {
            cuts.push(match item {
                Item::Line(line) => Cut::Line(line.to_vec()),
                Item::TooLong => Cut::TooLong,
                Item::Skipped => Cut::Skipped,
                Item::Option(verb, option) => Cut::Option(verb, option),
                Item::WindowSize(columns, rows) => Cut::WindowSize(columns, rows),
                Item::SignOfLife => Cut::SignOfLife,
                Item::AreYouThere => Cut::AreYouThere,
                Item::Tls => Cut::Tls,
            });
        }
        assert!(chunk.is_empty());
    }
    // A row of signs of life may come as one.
    cuts.dedup_by(|next, item| *item == Cut::SignOfLife && next == item);
    cuts
}
