//! A result: one line of JSON.

use std::fmt::{Display, Write};

/// Names and values in the order in which they were given.
#[derive(Default)]
pub struct Report {
    fields: String,
}

impl Report {
    /// Adds a text, which must not need escaping.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.field(name, format_args!("\"{value}\""))
    }

    /// Adds a whole number.
    pub fn count(&mut self, name: &str, value: u64) -> &mut Self {
        self.field(name, value)
    }

    /// Adds a number with four digits behind the point.
    pub fn decimal(&mut self, name: &str, value: f64) -> &mut Self {
        match value.is_finite() {
            true => self.field(name, format_args!("{value:.4}")),
            false => self.field(name, "null"),
        }
    }

    fn field(&mut self, name: &str, value: impl Display) -> &mut Self {
        let comma = if self.fields.is_empty() { "" } else { ", " };
        let _ = write!(self.fields, "{comma}\"{name}\": {value}");
        self
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{{{}}}", self.fields)
    }
}
