//! A result as one line of JSON, or as a line for each of its names.

use std::fmt::{self, Display, Formatter};

/// An object: names and values in the order in which they were added.
#[derive(Default)]
pub struct Object {
    fields: Vec<(String, String)>,
}

impl Object {
    /// Adds a text, which must not need escaping.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.put(name, format_args!("\"{value}\""))
    }

    /// Adds what is JSON as it is shown: a whole number, a truth value, an object.
    pub fn put(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.fields.push((name.into(), value.to_string()));
        self
    }

    /// The same; null if there is none.
    pub fn maybe(&mut self, name: &str, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.put(name, value),
            None => self.put(name, "null"),
        }
    }

    /// Adds a number with four digits behind the point; null if it is none.
    pub fn decimal(&mut self, name: &str, value: f64) -> &mut Self {
        let number = value.is_finite().then(|| format!("{value:.4}"));
        self.maybe(name, number)
    }

    /// The same for people: a line for each name that has a value.
    pub fn lines(&self) -> String {
        let known = self.fields.iter().filter(|(_, value)| value != "null");
        let lines = known.map(|(name, value)| {
            let value = value.replace(['{', '}', '"'], "");
            format!("{name:<26} {value}\n")
        });
        lines.collect()
    }
}

impl Display for Object {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let fields = self.fields.iter();
        let fields: Vec<String> = fields.map(|(n, v)| format!("\"{n}\": {v}")).collect();
        write!(f, "{{{}}}", fields.join(", "))
    }
}
