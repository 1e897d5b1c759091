//! What was measured: as a table for people, or as one JSON object.

use tools::json::Object;

/// Rows that have the same columns.
pub struct Section {
    name: String,
    columns: Vec<String>,
    rows: Vec<Row>,
}

struct Row {
    key: String,
    what: String,
    cells: Vec<f64>,
    /// What the last cell is to be at most.
    target: Option<f64>,
}

impl Section {
    pub fn new(name: String, columns: Vec<String>) -> Section {
        Section {
            name,
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row with one cell: a key for programs, words for people, and what it is to be at most.
    pub fn add(&mut self, key: &str, what: impl Into<String>, cell: f64, target: Option<f64>) {
        self.add_row(key, what, vec![cell], target);
    }

    /// The same with a cell for each column; the last is to be at most `target`.
    pub fn add_row(
        &mut self,
        key: &str,
        what: impl Into<String>,
        cells: Vec<f64>,
        target: Option<f64>,
    ) {
        self.rows.push(Row {
            key: key.into(),
            what: what.into(),
            cells,
            target,
        });
    }

    pub fn table(&self) -> String {
        let columns = self.columns.iter().map(|column| format!(" {column:>11}"));
        let columns: String = columns.collect();
        let mut text = format!("{:<66}{columns} {:>8}\n", self.name, "target");
        for row in &self.rows {
            let cells = row
                .cells
                .iter()
                .map(|&cell| format!(" {:>11}", short(cell)));
            let cells: String = cells.collect();
            let target = row.target.map(|target| format!("<= {}", short(target)));
            let verdict = match row.is_met() {
                Some(false) => "  MISSED",
                _ => "",
            };
            let target = target.unwrap_or_default();
            let line = format!("  {:<64}{cells} {target:>8}{verdict}", row.what);
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    /// Adds the section to a JSON object.
    pub fn add_to(&self, object: &mut Object) {
        let mut rows = Object::default();
        for row in &self.rows {
            rows.put(&row.key, row.json());
        }
        let mut section = Object::default();
        let columns: Vec<String> = self.columns.iter().map(|c| format!("\"{c}\"")).collect();
        section.put("columns", format_args!("[{}]", columns.join(", ")));
        object.put(&self.name, section.put("rows", rows));
    }
}

impl Row {
    fn is_met(&self) -> Option<bool> {
        Some(*self.cells.last()? <= self.target?)
    }

    fn json(&self) -> Object {
        let number = |cell: &f64| match cell.is_finite() {
            true => format!("{cell:.3}"),
            false => "null".into(),
        };
        let cells: Vec<String> = self.cells.iter().map(number).collect();
        let mut object = Object::default();
        object.put("values", format_args!("[{}]", cells.join(", ")));
        if let (Some(target), Some(is_met)) = (self.target, self.is_met()) {
            object.put("target", target).put("met", is_met);
        }
        object
    }
}

/// A number with three digits that count, or all those before the point.
fn short(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 || size == size.trunc() => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}
