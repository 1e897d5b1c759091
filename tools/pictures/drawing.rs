//! Terminals as an SVG. The windows are dark and bring their own background, so they can be read on
//! dark pages and on light ones.

use std::fmt::Write;

use crate::scene::Window;

/// The size of a character.
const COLUMN: f64 = 7.8;
const LINE: f64 = 18.0;
const FONT_SIZE: f64 = 13.0;
/// How far the text's base line is below the top of its row.
const BASE: f64 = 13.5;
const MARGIN: f64 = 12.0;
const TITLE_BAR: f64 = 28.0;
const GAP: f64 = 16.0;

const FONTS: &str = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace";

/// Draws windows side by side.
pub fn svg(windows: &[Window]) -> String {
    let widths = windows.iter().map(width);
    let total = widths.sum::<f64>() + GAP * (windows.len() - 1) as f64 + 2.0;
    let rows = windows.iter().map(|window| window.rows.len()).max();
    let height = TITLE_BAR + rows.unwrap_or(0) as f64 * LINE + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {total:.0} {0:.0}\" \
         width=\"{total:.0}\" height=\"{0:.0}\" font-family=\"{FONTS}\" font-size=\"{FONT_SIZE}\">\n\
         <title>Two people chat in telnet and netcat</title>\n",
        height + 2.0
    );
    let mut left = 1.0;
    for window in windows {
        append(&mut svg, window, [left, 1.0], height);
        left += width(window) + GAP;
    }
    svg.push_str("</svg>\n");
    svg
}

fn width(window: &Window) -> f64 {
    f64::from(window.columns) * COLUMN + 2.0 * MARGIN
}

fn append(svg: &mut String, window: &Window, [left, top]: [f64; 2], height: f64) {
    let width = width(window);
    let mut line = |text: String| {
        svg.push_str(&text);
        svg.push('\n');
    };
    line(format!(
        "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"8\" \
         fill=\"#1b1f27\" stroke=\"#5c6370\"/>"
    ));
    for (index, colour) in ["#e06c75", "#e5c07b", "#98c379"].into_iter().enumerate() {
        let x = left + 18.0 + 18.0 * index as f64;
        line(format!(
            "<circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"5\" fill=\"{colour}\"/>",
            top + 15.0
        ));
    }
    line(format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#9da5b4\">{}</text>",
        left + width / 2.0,
        top + 19.5,
        escaped(window.title)
    ));
    let (left, top) = (left + MARGIN, top + TITLE_BAR + MARGIN / 2.0);
    let [column, row] = window.cursor.map(f64::from);
    line(format!(
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{COLUMN}\" height=\"{LINE}\" fill=\"#9da5b4\"/>",
        left + column * COLUMN,
        top + row * LINE
    ));
    for (index, row) in window.rows.iter().enumerate() {
        let row = row.trim_end();
        if row.is_empty() {
            continue;
        }
        // The length keeps the columns in place, whatever the font is.
        line(format!(
            "<text x=\"{left:.1}\" y=\"{:.1}\" textLength=\"{:.1}\" \
             lengthAdjust=\"spacingAndGlyphs\" fill=\"#e6e9ef\" xml:space=\"preserve\">{}</text>",
            top + index as f64 * LINE + BASE,
            row.chars().count() as f64 * COLUMN,
            escaped(row)
        ));
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        let written = match c {
            '<' => escaped.write_str("&lt;"),
            '>' => escaped.write_str("&gt;"),
            '&' => escaped.write_str("&amp;"),
            _ => escaped.write_char(c),
        };
        written.expect("writing to memory does not fail");
    }
    escaped
}
