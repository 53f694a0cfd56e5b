//! Benchmarks; see the files beside `Cargo.toml`.
