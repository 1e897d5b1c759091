//! The picture of two terminals in README.md shows what the server really does.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_picture_shows_what_the_server_makes_of_the_scene_now() {
    let program = Path::new(env!("CARGO_BIN_EXE_pictures"));
    let server = program.with_file_name("chinwag");
    assert!(
        server.exists(),
        "there is no {}: say 'cargo test' without -p, or 'cargo build' before",
        server.display()
    );
    let drawn = Command::new(program).output().unwrap();
    let errors = String::from_utf8_lossy(&drawn.stderr);
    assert!(drawn.status.success(), "{errors}");
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("pictures/talk.svg");
    let kept = fs::read_to_string(kept).unwrap();
    let drawn = String::from_utf8(drawn.stdout).unwrap();
    let differs = drawn
        .lines()
        .zip(kept.lines())
        .find(|(new, old)| new != old);
    assert!(
        drawn == kept,
        "the picture differs; look at it after: target/debug/pictures > tools/pictures/talk.svg\n\
         {differs:#?}"
    );
}
