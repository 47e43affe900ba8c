//! One target under libFuzzer: the one that the variable `SAGA_FUZZ_TARGET` names. `cargo xtask fuzz` builds and runs it.
#![no_main]

use std::sync::LazyLock;

use saga_fuzz::{Target, check, find};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("SAGA_FUZZ_TARGET").unwrap_or_default();
    find(&name).unwrap_or_else(|| panic!("SAGA_FUZZ_TARGET names no target: {name:?}"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check(&TARGET, bytes));
