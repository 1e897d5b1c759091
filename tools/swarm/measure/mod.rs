//! Measures what many sessions cost one real server over real sockets: memory, processor
//! time a command, and what happens when all of them expire at once.
//!
//! One thread measures servers that it starts itself. Figures are what the system tells of the
//! server's process, or ratios within one run; the exit code says whether they could be had, and
//! the table marks targets that are missed.

mod cost;
mod expire;
mod junk;
mod memory;
mod server;
mod sessions;
mod table;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use table::Section;
use tools::arguments::{Action, Arguments, Flag, complain, help};
use tools::json::Object;

const SESSIONS_DEFAULT: usize = 1_000_000;
const SESSIONS: RangeInclusive<usize> = 1_000..=10_000_000;

type Measure = fn(&Path, usize) -> Result<Vec<Section>, String>;
const PARTS: [(&str, Measure); 4] = [
    ("memory", memory::measure),
    ("cost", cost::measure),
    ("expire", expire::measure),
    ("junk", junk::measure),
];

/// What is asked for.
pub struct Plan {
    server: PathBuf,
    sessions: usize,
    is_json: bool,
    parts: Vec<(&'static str, Measure)>,
}

const FLAGS: &[Flag] = &[
    [
        "server",
        "PATH",
        "the server (chinwag in this program's folder)",
    ],
    ["sessions", "N", "how many sessions there are (1000000)"],
    ["only", "PARTS", "some of memory, cost, expire, junk"],
    ["json", "", "print one JSON object"],
];

const BRIEF: &str = "\
Usage: swarm measure [OPTIONS]

Starts servers and measures what a million sessions cost them: memory, processor time a command, what
happens when all expire within ten seconds, and when a thousand connections send junk. Targets that
are missed are marked. 'cargo build --release' builds the server with this program.";

/// Reads the command line, behind the word that asks for this.
pub fn parse(args: &[String]) -> Result<Action<Plan>, String> {
    let args = Arguments::read(FLAGS, args)?;
    if args.wants_help() {
        return Ok(Action::Print(help(BRIEF, FLAGS)));
    }
    args.expect_no_words()?;
    let own = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    Ok(Action::Run(Plan {
        server: match args.text("server") {
            Some(path) => path.into(),
            None => own.with_file_name("chinwag"),
        },
        sessions: args.number("sessions", SESSIONS, SESSIONS_DEFAULT)?,
        is_json: args.has("json"),
        parts: parts(args.text("only").as_deref())?,
    }))
}

fn parts(only: Option<&str>) -> Result<Vec<(&'static str, Measure)>, String> {
    let Some(only) = only else {
        return Ok(PARTS.to_vec());
    };
    let names: Vec<&str> = only.split(',').collect();
    let known = |name: &&str| PARTS.iter().any(|(part, _)| part == name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        let all: Vec<&str> = PARTS.iter().map(|(part, _)| *part).collect();
        return Err(format!(
            "--only {only}: there is no part '{name}'; give some of {}",
            all.join(",")
        ));
    }
    let asked = PARTS.iter().filter(|(part, _)| names.contains(part));
    Ok(asked.copied().collect())
}

/// Measures what the plan says; gives tables, or an object.
pub fn run(plan: &Plan) -> Result<String, String> {
    let mut sections = Vec::new();
    for (name, measure) in &plan.parts {
        complain("swarm", format_args!("measuring {name}"));
        sections.extend(measure(&plan.server, plan.sessions)?);
    }
    if plan.is_json {
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
