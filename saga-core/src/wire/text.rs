//! Text on the hot path: written without growing step by step, and shared where it comes again and again.

use std::cell::{Cell, RefCell};
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

/// The parts in one text, to be shared.
pub(super) fn joined(parts: &[&str]) -> Arc<str> {
    let mut scratch = scratch();
    for part in parts {
        scratch.push_str(part);
    }
    finish(scratch)
}

/// A number in decimal.
pub(super) fn decimal(mut n: u32, buffer: &mut [u8; 10]) -> &str {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return std::str::from_utf8(&buffer[at..]).expect("digits are ASCII");
        }
    }
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
    fn numbers_are_written_in_decimal() {
        for n in [0, 1, 9, 10, 4_294_967_295] {
            assert_eq!(decimal(n, &mut [0; 10]), n.to_string());
        }
    }

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
