//! What the fuzz targets do with their bytes. tests/core/fuzz_corpus.rs plays the kept ones as tests.

pub mod targets;
#[path = "../../tests/core/world.rs"]
pub mod world;
