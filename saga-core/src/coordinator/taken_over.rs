use std::collections::HashSet;

use crate::ports::Woken;
use crate::record::SagaKey;

/// Which sagas were someone else's until the log said that they are due, and have not been appended to since. The log says so only once, and
/// what is decided on it may fail: until it has not, what they owe may not have been sent for long, and no deadline fires.
#[derive(Debug, Default)]
pub(super) struct TakenOver {
    keys: HashSet<SagaKey>,
    /// An answer of the log was lost. It may have said so of any saga that is not in memory.
    pub(super) is_in_doubt: bool,
}

impl TakenOver {
    /// Takes note of a saga that is due, and says whether it is to be treated as taken over.
    pub(super) fn note(&mut self, woken: &Woken, is_in_memory: bool) -> bool {
        if woken.taken_over || self.is_in_doubt && !is_in_memory {
            self.keys.insert(woken.key.clone());
        }
        self.keys.contains(&woken.key)
    }

    /// The saga was appended to, or there is nothing to append to.
    pub(super) fn settle(&mut self, key: &SagaKey) {
        self.keys.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn woken(id: &str, taken_over: bool) -> Woken {
        Woken { key: SagaKey { saga: "checkout".into(), id: id.parse().unwrap() }, version: 1, taken_over }
    }

    #[test]
    fn a_saga_that_was_someone_elses_stays_so_until_it_is_appended_to() {
        let mut taken_over = TakenOver::default();
        assert!(!taken_over.note(&woken("own", false), false));
        assert!(taken_over.note(&woken("theirs", true), true));
        assert!(taken_over.note(&woken("theirs", false), true));
        taken_over.settle(&woken("theirs", false).key);
        assert!(!taken_over.note(&woken("theirs", false), true));
    }

    #[test]
    fn after_a_lost_answer_what_is_not_in_memory_may_have_been_someone_elses() {
        let mut taken_over = TakenOver { is_in_doubt: true, ..TakenOver::default() };
        assert!(!taken_over.note(&woken("here", false), true));
        assert!(taken_over.note(&woken("perhaps-theirs", false), false));
    }
}
