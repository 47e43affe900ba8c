//! What is printed.

use std::io::{ErrorKind, Write};

use crate::fail::{FAILED, Failure};

/// Prints. Nobody may be reading any more, as after `| head`, and that is no failure.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(FAILED, format!("cannot print: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a line.
pub(crate) fn line(text: impl std::fmt::Display) -> Result<(), Failure> {
    print(format!("{text}\n"))
}
