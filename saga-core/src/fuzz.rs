//! For the project's own fuzzing, and nobody else: it may change at any time.

use crate::definition::Definition;
use crate::record::Fact;

/// What happened, as operators are told it.
pub fn told(fact: &Fact, definition: &Definition) -> String {
    crate::operator::in_words(fact, definition)
}
