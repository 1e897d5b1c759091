//! The fuzz targets, and the world in which they run. tests/core/fuzz_corpus.rs plays the kept
//! inputs.

#[path = "../../tests/core/cuts.rs"]
pub mod cuts;
#[path = "../../tests/core/eventful.rs"]
pub mod eventful;
pub mod targets;
#[path = "../../tests/core/world.rs"]
pub mod world;
