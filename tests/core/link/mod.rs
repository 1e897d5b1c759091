//! Rooms that span boxes: real hubs, a broker between them that does wrong what brokers do wrong, and the
//! test's own time.
//!
//! | what | file |
//! |---|---|
//! | the broker | `broker` |
//! | boxes that it connects, and their time | `boxes` |
//! | what a room of a box shows, held against what was said on the others | `ears` |
//! | a box to which much has happened, and its states | `eventful` |
//! | one promise at a time | `promises` |
//! | everything at once, at random | `simulation` |

mod boxes;
mod broker;
mod ears;
pub mod eventful;
mod promises;
mod simulation;
