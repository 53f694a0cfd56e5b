//! Examples; see the files beside `Cargo.toml`.
