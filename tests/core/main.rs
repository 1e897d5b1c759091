//! Tests without a socket: of the core, and of what documents say about it. The name of each module
//! is a filter: `cargo test slow::`.

mod closing;
mod cuts;
mod dialogues;
mod dist;
mod documents;
mod editing;
mod editor;
mod english;
mod eventful;
mod expiry;
mod fairness;
mod format;
mod fuzz_corpus;
mod grammar;
mod journal;
mod limits;
mod link;
mod logged;
mod members;
mod operator;
mod options;
mod properties;
mod rate;
mod restart;
#[path = "../script/mod.rs"]
mod script;
mod seeds;
mod simulation;
mod slow;
mod states;
mod structure;
mod talk;
mod world;
