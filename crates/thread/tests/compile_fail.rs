//! What must not compile. The words are those of one version of the compiler, the minimum version; with others nothing is
//! tested. `TRYBUILD=overwrite cargo test -p concurrent-futures-thread --test compile_fail` writes down what it says now.

use std::process::Command;

#[test]
fn compile_fail() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().expect("the compiler that built this is there").stdout;
    let version = String::from_utf8_lossy(&version).into_owned();
    if version.contains(concat!(" ", env!("CARGO_PKG_RUST_VERSION"), ".")) {
        trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
    } else {
        println!("not tested with {version}");
    }
}
