//! What must not compile, and why it does not.

#[test]
fn borrows() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
