//! Fuzzing of everything that reads bytes from outside.
//!
//! A [`Target`] is fed any bytes. It must not panic, must not take more memory than [`memory_bytes_max`], and must refuse what it cannot read by a
//! typed error; and where there is a way to write what was read, reading that again must give the same. The seeds in `corpus/` are run by
//! `cargo test -p saga-fuzz`, so what was once found stays found; `cargo xtask fuzz` goes on from them, guided by coverage.

mod targets;
mod written;

// The order lines of the checkout, which is a program and no library.
#[path = "../../examples/checkout/src/lines.rs"]
#[expect(dead_code, reason = "the checkout opens files, too")]
mod lines;
#[path = "../../examples/checkout/src/order.rs"]
#[expect(dead_code, reason = "the checkout prices and shows orders, too")]
mod order;

use std::fmt;

use peak_alloc::PeakAlloc;

pub use crate::targets::TARGETS;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Something that reads bytes from outside.
pub struct Target {
    /// Its name, which is also that of its folder of seeds.
    pub name: &'static str,
    /// What it reads.
    pub what: &'static str,
    run: fn(&[u8]),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// How much memory reading so many bytes may take at once, in bytes. Everything that a target does with them is counted, its own comparisons
/// included; what is out of proportion is what it must catch.
pub const fn memory_bytes_max(input_bytes: usize) -> usize {
    (1 << 20) + 512 * input_bytes
}

/// Feeds bytes to a target.
///
/// # Panics
/// When something is found.
pub fn check(target: &Target, bytes: &[u8]) {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    (target.run)(bytes);
    let taken = ALLOCATED.peak_usage().saturating_sub(before);
    let max = memory_bytes_max(bytes.len());
    assert!(taken <= max, "{} bytes took {taken} bytes of memory, which is more than {max}", bytes.len());
}
