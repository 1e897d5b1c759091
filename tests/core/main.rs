//! What is tested without a socket: the core, and what documents say of it.

mod dialogues;
mod dist;
mod documents;
mod english;
mod fuzz_corpus;
mod hub;
mod journal;
mod logged;
mod options;
mod properties;
#[path = "../script/mod.rs"]
mod script;
mod simulation;
mod structure;
mod world;
