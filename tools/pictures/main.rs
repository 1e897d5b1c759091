//! Draws the picture in README.md of two people who chat: what the real server makes of a short scene
//! on two terminals, side by side.
//!
//! ```sh
//! cargo build --release && target/release/pictures > tools/pictures/talk.svg
//! ```
//!
//! Whatever differs from day to day is replaced, so the same server always gives the same picture. A
//! test draws it again and compares.

mod drawing;
mod scene;
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tools::arguments;

#[derive(Parser)]
#[command(name = "pictures", about = "Draws the picture of two people who chat")]
struct Arguments {
    /// The server [default: chinwag, next to this program]
    #[arg(long)]
    server: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = arguments::parse(|_: &Arguments| Ok(()));
    let server = match arguments.server {
        Some(path) => Ok(path),
        None => std::env::current_exe()
            .map(|own| own.with_file_name("chinwag"))
            .map_err(|error| format!("cannot find the server: {error}; give --server")),
    };
    let picture = server.and_then(|server| Ok(drawing::svg(&scene::play(&server)?)));
    arguments::print("pictures", picture)
}
