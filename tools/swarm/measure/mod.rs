//! Measures what many sessions cost one real server over real sockets: memory, processor
//! time a command, and what happens when all of them expire at once or the server is upgraded.
//!
//! One thread measures servers that it starts itself. Figures are what the system tells of the
//! server's process, or ratios within one run; the exit code says whether they could be had, and
//! the table marks targets that are missed.

mod cost;
mod expire;
mod junk;
mod link;
mod memory;
mod server;
mod sessions;
mod table;
mod upgrade;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use table::Section;
use tools::arguments::{complain, name, within};
use tools::json::Object;

/// Starts servers and measures what many sessions cost them.
///
/// That is memory, processor time a command, what happens when all expire within ten seconds, when
/// a thousand connections send junk, how long clients wait while the server is upgraded, and what
/// rooms that span boxes cost (this takes mosquitto). Targets that are missed are marked. 'cargo build --release' builds the server with this program.
#[derive(Args)]
pub struct Plan {
    /// The server [default: chinwag in this program's folder]
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// How many sessions there are
    #[arg(long, value_name = "N", default_value = "1000000")]
    #[arg(value_parser = within(1_000..=10_000_000_usize))]
    sessions: usize,
    /// Some of the parts
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<Part>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Memory,
    Cost,
    Expire,
    Junk,
    Upgrade,
    Link,
}

impl Part {
    fn measure(self, program: &Path, sessions: usize) -> Result<Vec<Section>, String> {
        match self {
            Part::Memory => memory::measure(program, sessions),
            Part::Cost => cost::measure(program, sessions),
            Part::Expire => expire::measure(program, sessions),
            Part::Junk => junk::measure(program),
            Part::Upgrade => upgrade::measure(program, sessions),
            Part::Link => link::measure(program),
        }
    }
}

/// Measures what the plan says; gives tables, or an object.
pub fn run(plan: &Plan) -> Result<String, String> {
    let own = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    let beside = own.with_file_name("chinwag");
    let program = plan.server.as_deref().unwrap_or(&beside);
    let mut sections = Vec::new();
    for part in Part::value_variants() {
        if plan.only.is_empty() || plan.only.contains(part) {
            complain("swarm", format_args!("measuring {}", name(part)));
            sections.extend(part.measure(program, plan.sessions)?);
        }
    }
    if plan.json {
        let mut object = Object::default();
        object.put("sessions", plan.sessions);
        object.put("cores", server::core_count());
        for section in &sections {
            section.add_to(&mut object);
        }
        return Ok(format!("{object}\n"));
    }
    let tables: Vec<String> = sections.iter().map(Section::table).collect();
    Ok(tables.join("\n"))
}
