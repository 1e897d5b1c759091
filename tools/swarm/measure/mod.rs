//! Measures what a crowd of sessions costs one real server over real sockets: memory, processor
//! time a command, and what happens when all of them expire at once.
//!
//! One thread, beside servers that it starts itself. Figures are what the system tells of the
//! server's process, or ratios within one run; the exit code says whether they could be had, and
//! the table marks targets that are missed.

mod blocks;
mod cost;
mod expire;
mod junk;
mod memory;
mod server;
mod sessions;
mod table;
mod visits;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use getopts::{Matches, Options};
use table::Section;
use tools::json::Object;

const SESSIONS: usize = 1_000_000;
const SESSIONS_MIN: usize = 1_000;
const SESSIONS_MAX: usize = 10_000_000;

type Measure = fn(&Path, usize) -> Result<Vec<Section>, String>;
const PARTS: [(&str, Measure); 4] = [
    ("memory", memory::measure),
    ("cost", cost::measure),
    ("expire", expire::measure),
    ("junk", junk::measure),
];

/// What is asked for.
struct Plan {
    server: PathBuf,
    sessions: usize,
    is_json: bool,
    parts: Vec<(&'static str, Measure)>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let options = declare();
    let plan = match options.parse(&args) {
        Ok(matches) if matches.opt_present("help") => return show(&usage(&options), 0),
        Ok(matches) => plan(&matches),
        Err(fail) => Err(fail.to_string()),
    };
    match plan {
        Err(error) => {
            eprintln!("crowd: {error}\nTry '--help'.");
            ExitCode::from(2)
        }
        Ok(plan) => match run(&plan) {
            Ok(text) => show(&text, 0),
            Err(error) => {
                eprintln!("crowd: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

fn show(text: &str, code: u8) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(code),
        Err(error) => {
            eprintln!("crowd: cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}

fn declare() -> Options {
    let mut options = Options::new();
    options.optopt(
        "",
        "server",
        "the server (chinwag in target/release)",
        "PATH",
    );
    options.optopt("", "sessions", "how many sessions there are (1000000)", "N");
    options.optopt("", "only", "some of memory, cost, expire, junk", "PARTS");
    options.optflag("", "json", "print one JSON object");
    options.optflag("h", "help", "show this text");
    options
}

fn usage(options: &Options) -> String {
    options.usage("Usage: cargo run --release --bin crowd -- [OPTIONS]\n\nMeasures what a crowd of sessions costs a chinwag server.")
}

fn plan(matches: &Matches) -> Result<Plan, String> {
    if let Some(argument) = matches.free.first() {
        return Err(format!(
            "unexpected argument '{argument}': everything is said with options"
        ));
    }
    let sessions = match matches.opt_str("sessions") {
        None => SESSIONS,
        Some(word) => word
            .parse()
            .ok()
            .filter(|n| (SESSIONS_MIN..=SESSIONS_MAX).contains(n))
            .ok_or_else(|| {
                format!("--sessions {word}: give a number from {SESSIONS_MIN} to {SESSIONS_MAX}")
            })?,
    };
    Ok(Plan {
        server: server_path(matches.opt_str("server"))?,
        sessions,
        is_json: matches.opt_present("json"),
        parts: parts(matches.opt_str("only").as_deref())?,
    })
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

/// The server that was named, or that was built beside this.
fn server_path(named: Option<String>) -> Result<PathBuf, String> {
    if let Some(path) = named {
        return Ok(path.into());
    }
    let own = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    // target/<profile>/crowd
    let target = own.ancestors().nth(2);
    let target = target.ok_or("name the server with --server")?;
    Ok(target.join("release/chinwag"))
}

fn run(plan: &Plan) -> Result<String, String> {
    let mut sections = Vec::new();
    for (name, measure) in &plan.parts {
        eprintln!("crowd: measuring {name}");
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
