//! The load: many clients of one chat or publish-subscribe server, and what that costs the server.
//!
//! One scenario a run; the result is one line of JSON. Everything is the same for all servers, but
//! for what stands in `adapter`. `tools/peers/run` starts the servers, and runs this
//! on a CPU of its own. Deliveries are counted by a byte that each message has once, and since they
//! come in order, the count also tells which message has arrived, and so how long it took. The time
//! that a server takes is what the system counted for its threads; memory is counted page by page.
//! What TCP takes, and connections that were dropped, the system counts for the whole machine, so
//! nothing else should run there.

mod adapter;
mod clients;
mod flood;
mod probe;
mod pull;
mod scenarios;
mod settings;

use std::process::ExitCode;

use tools::arguments::{name, parse, print};

use crate::settings::Settings;

fn main() -> ExitCode {
    let settings = parse(Settings::check);
    let report = scenarios::run(&settings).map_err(|error| {
        let (protocol, scenario) = (name(&settings.protocol), name(&settings.scenario));
        format!("{protocol} {scenario}: {error}")
    });
    print("load", report.map(|report| format!("{report}\n")))
}
