//! Opening what the URLs name, and asking who and why.

use std::io::{IsTerminal, Write, stderr, stdin};
use std::sync::Arc;
use std::time::Duration;

use saga::operator::Operator;
use saga::ports::BusAdmin;

use crate::cli::{Audit, Place};
use crate::fail::{Failure, WRONG};

impl Place {
    /// The operator of the log.
    pub(crate) async fn operator(&self) -> Result<Operator, Failure> {
        let url = self.log.as_deref().ok_or_else(|| {
            Failure::new(WRONG, "no saga log is given: --log URL, or SAGA_LOG in the environment")
        })?;
        if url == "memory:" {
            let message = "--log memory: would be a log of this process; sagas are operated in a database";
            return Err(Failure::new(WRONG, message));
        }
        Ok(Operator::new(saga::log::connect(url).await?))
    }

    /// The bus.
    pub(crate) async fn admin(&self) -> Result<Arc<dyn BusAdmin>, Failure> {
        let url = self.bus.as_deref().ok_or_else(|| {
            Failure::new(WRONG, "no event bus is given: --bus URL, or SAGA_BUS in the environment")
        })?;
        Ok(saga::admin(url).await?)
    }
}

impl Audit {
    /// How long to wait for a coordinator.
    pub(crate) const fn wait(&self) -> Duration {
        Duration::from_secs(self.wait)
    }

    /// Who and why, asked for on a terminal if they are not given.
    pub(crate) fn who_and_why(&self) -> Result<(String, String), Failure> {
        Ok((given("who", "who are you", self.who.as_deref())?, given("why", "why", self.why.as_deref())?))
    }
}

fn given(option: &str, question: &str, value: Option<&str>) -> Result<String, Failure> {
    let wrong = || Failure::new(WRONG, format!("--{option} must be given: it is kept in the saga's record"));
    if let Some(value) = value.map(str::trim) {
        return if value.is_empty() { Err(wrong()) } else { Ok(value.to_owned()) };
    }
    if !stdin().is_terminal() {
        return Err(wrong());
    }
    eprint!("{question}? ");
    let failed = |error: std::io::Error| Failure::new(WRONG, format!("cannot ask {question}: {error}"));
    stderr().flush().map_err(failed)?;
    let mut line = String::new();
    stdin().read_line(&mut line).map_err(failed)?;
    let line = line.trim();
    if line.is_empty() { Err(wrong()) } else { Ok(line.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_taken_and_must_say_something() {
        assert_eq!(given("who", "who", Some(" ann ")).unwrap(), "ann");
        let failure = given("why", "why", Some("  ")).unwrap_err();
        assert_eq!(failure.code, WRONG);
        assert!(failure.message.contains("--why"), "{}", failure.message);
    }
}
