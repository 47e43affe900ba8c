use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ports::{Health, Problem};

/// Where the parts of an adapter write down what does not work, for [`EventBus::health`](crate::ports::EventBus::health). Cloning shares it.
#[derive(Clone, Default)]
pub struct HealthBoard(Arc<Mutex<BTreeMap<Arc<str>, Arc<str>>>>);

impl HealthBoard {
    /// A part does not work, for this reason. Returns whether that is new, so that it is logged once.
    pub fn down(&self, part: &str, reason: impl fmt::Display) -> bool {
        let reason: Arc<str> = reason.to_string().into();
        self.board().insert(part.into(), reason).is_none()
    }

    /// A part works. Returns whether it did not before.
    pub fn up(&self, part: &str) -> bool {
        self.board().remove(part).is_some()
    }

    /// Whether everything works: cheap enough to ask for each message.
    pub fn is_up(&self) -> bool {
        self.board().is_empty()
    }

    /// How things stand.
    pub fn health(&self) -> Health {
        let board = self.board();
        let problem = |(part, reason): (&Arc<str>, &Arc<str>)| Problem {
            part: Arc::clone(part),
            reason: Arc::clone(reason),
        };
        Health { problems: board.iter().map(problem).collect() }
    }

    fn board(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for HealthBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.health(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_down_is_shown_until_it_is_up() {
        let board = HealthBoard::default();
        assert!(board.is_up() && board.health().is_up());
        assert!(board.down("connection", "refused") && !board.is_up());
        assert!(!board.down("connection", "timed out"));
        assert!(board.down("topic a", "deleted"));
        assert_eq!(board.health().to_string(), "connection: timed out; topic a: deleted");
        assert!(board.up("connection"));
        assert!(!board.up("connection"));
        assert_eq!(format!("{board:?}"), "topic a: deleted");
    }
}
