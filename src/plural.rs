//! Numbers of things, for people.

/// The end of a noun, after its number.
pub fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A number and its noun, which is a regular one in the singular.
pub fn count(number: u64, noun: &str) -> String {
    let s = plural(number);
    format!("{number} {noun}{s}")
}
