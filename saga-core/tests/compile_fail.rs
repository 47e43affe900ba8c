//! What the compiler refuses, and what it says then. `TRYBUILD=overwrite` writes the texts anew.

// Other compilers refuse the same with other words around ours, and with the mocks they list those too.
#[rustversion::attr(not(stable(1.95)), ignore = "the texts are of Rust 1.95")]
#[cfg_attr(feature = "mock", ignore = "the texts are without the feature `mock`")]
#[test]
fn the_compiler_says_what_to_write() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
