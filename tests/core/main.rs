//! What is tested without a socket: the core, and what documents say of it.

mod dist;
mod documents;
mod fuzz_corpus;
mod hub;
mod journal;
#[path = "../process/mod.rs"]
mod process;
mod properties;
mod simulation;
#[path = "../support/mod.rs"]
mod support;
#[path = "../tcp/mod.rs"]
mod tcp;
mod transcripts;
