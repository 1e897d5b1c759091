//! The manual page, read by the program that shows it.

use std::path::Path;
use std::process::Command;

use crate::process::has;

#[test]
fn the_manual_page_has_no_mistakes() {
    if !has("mandoc", "command -v mandoc") {
        return;
    }
    let mut mandoc = Command::new("mandoc");
    mandoc.args(["-T", "lint", "-W", "warning"]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/chinwag.8");
    let output = mandoc.arg(path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
