//! The in-memory bus, held against the suite.

use std::process::ExitCode;

use saga_conformance::Suite;
use saga_core::memory::MemoryBus;

fn main() -> ExitCode {
    let bus = MemoryBus::new();
    Suite::new("memory", move |_url| {
        let connection = bus.connect();
        async move { Ok(connection) }
    })
    .main()
}
