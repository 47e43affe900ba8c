use std::fmt;
use std::sync::Arc;

/// What is wrong with a bus at the moment, as [`EventBus::health`](super::EventBus::health) sees it; nothing, when all is well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Everything that does not work now.
    pub problems: Vec<Problem>,
}

impl Health {
    /// Whether everything works.
    pub const fn is_up(&self) -> bool {
        self.problems.is_empty()
    }
}

/// `up`, or the problems on one line.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_up() {
            return f.write_str("up");
        }
        for (nth, problem) in self.problems.iter().enumerate() {
            let separator = if nth == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", problem.part, problem.reason)?;
        }
        Ok(())
    }
}

/// Something that does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What: `connection`, `topic payment-validation`, …
    pub part: Arc<str>,
    /// Why, without secrets.
    pub reason: Arc<str>,
}
