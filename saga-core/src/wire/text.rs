//! Text on the hot path: written without growing step by step, and shared where it comes again and again.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

/// A thread keeps no larger buffer than this for what it writes next.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;
/// How many texts a thread remembers.
const REMEMBERED_MAX: usize = 16;

thread_local! {
    static SCRATCH: Cell<String> = const { Cell::new(String::new()) };
    static REMEMBERED: RefCell<Remembered> = const { RefCell::new(Remembered { texts: Vec::new(), next: 0 }) };
}

/// An empty string with room: the one that was given back last.
pub(super) fn scratch() -> String {
    let mut scratch = SCRATCH.take();
    scratch.clear();
    scratch
}

/// A copy of what was written, at its true size; the string is kept for the next.
pub(super) fn finish(scratch: String) -> Arc<str> {
    let text = Arc::from(&*scratch);
    if scratch.capacity() <= SCRATCH_BYTES_MAX {
        SCRATCH.set(scratch);
    }
    text
}

/// Formats text that is to be shared.
pub(super) fn format_shared(text: fmt::Arguments<'_>) -> Arc<str> {
    let mut scratch = scratch();
    fmt::write(&mut scratch, text).expect("a string takes all");
    finish(scratch)
}

/// The text, shared with the last message that had it: saga, step and topic names come in nearly every message.
pub(super) fn shared(text: &str) -> Arc<str> {
    REMEMBERED.with_borrow_mut(|remembered| remembered.get(text))
}

struct Remembered {
    texts: Vec<Arc<str>>,
    next: usize,
}

impl Remembered {
    fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.iter().find(|known| ***known == *text) {
            return Arc::clone(known);
        }
        let new = Arc::<str>::from(text);
        if self.texts.len() < REMEMBERED_MAX {
            self.texts.push(Arc::clone(&new));
        } else {
            self.texts[self.next] = Arc::clone(&new);
            self.next = (self.next + 1) % REMEMBERED_MAX;
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_comes_again_is_shared_and_others_are_forgotten() {
        let first = shared("inventory");
        assert!(Arc::ptr_eq(&first, &shared("inventory")));
        for n in 0..REMEMBERED_MAX {
            assert_eq!(&*shared(&n.to_string()), n.to_string());
        }
        assert!(!Arc::ptr_eq(&first, &shared("inventory")));
        assert_eq!(first, shared("inventory"));
    }
}
