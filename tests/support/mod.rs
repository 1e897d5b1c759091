//! What several test programs share: a world without sockets, and scripts that play in it.

#![allow(dead_code, reason = "no test program uses all of it")]

pub mod log;
pub mod script;
pub mod world;
