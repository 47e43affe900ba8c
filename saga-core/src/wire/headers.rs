use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::text;

/// The headers of a message, in order, in one buffer; cloning shares it.
///
/// Names and values are text. CloudEvents attributes stand under `ce-` names (see [`attributes`](super::attributes)), whatever the
/// transport calls them; other headers pass through as they are. A name may come twice; [`get`](Headers::get) finds the last.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Option<Arc<str>>);

impl Headers {
    /// The value of the last header of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().filter(|(n, _)| *n == name).map(|(_, value)| value).last()
    }

    /// All headers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        Iter(self.text())
    }

    /// A copy with these appended.
    #[must_use]
    pub fn with<'a>(&self, more: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut buffer = HeadersMut::new();
        buffer.0.push_str(self.text());
        for (name, value) in more {
            buffer.put(name, value);
        }
        buffer.freeze()
    }

    /// A copy without the headers of these names.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Self {
        self.iter().filter(|(name, _)| !names.contains(name)).collect()
    }

    /// Their size in bytes, as stored here.
    pub fn size_bytes(&self) -> usize {
        self.text().len()
    }

    fn text(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut buffer = HeadersMut::new();
        for (name, value) in pairs {
            buffer.put(name, value);
        }
        buffer.freeze()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Headers being written: names and values in turn, each as a netstring without its comma (`7:ce-saga`), so that reading them back is
/// slicing text, with nothing to be validated again.
pub(crate) struct HeadersMut(String);

impl HeadersMut {
    /// Empty, in the buffer where the last ones were written.
    pub(crate) fn new() -> Self {
        Self(text::scratch())
    }

    pub(crate) fn put(&mut self, name: &str, value: &str) {
        self.netstring(name);
        self.netstring(value);
    }

    pub(crate) fn put_display(&mut self, name: &str, value: impl fmt::Display) {
        self.netstring(name);
        let begin = self.0.len();
        write!(self.0, "{value}").expect("a string takes all");
        // The length goes in front of what has just been written; it is short.
        let length = self.0.len() - begin;
        self.0.insert_str(begin, itoa(length, &mut [0; 20]));
        self.0.insert(begin + (length.max(1).ilog10() as usize + 1), ':');
    }

    fn netstring(&mut self, text: &str) {
        self.0.push_str(itoa(text.len(), &mut [0; 20]));
        self.0.push(':');
        self.0.push_str(text);
    }

    /// A copy at their true size.
    pub(crate) fn freeze(self) -> Headers {
        Headers((!self.0.is_empty()).then(|| text::finish(self.0)))
    }
}

/// A number in decimal; formatting it would cost more than all the rest.
fn itoa(mut n: usize, buffer: &mut [u8; 20]) -> &str {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    std::str::from_utf8(&buffer[at..]).expect("digits are ASCII")
}

struct Iter<'a>(&'a str);

impl<'a> Iter<'a> {
    fn netstring(&mut self) -> &'a str {
        let digits = self.0.bytes().take_while(|b| *b != b':');
        let (mut length, mut count) = (0, 0);
        for digit in digits {
            length = length * 10 + usize::from(digit - b'0');
            count += 1;
        }
        let (text, rest) = self.0[count + 1..].split_at(length);
        self.0 = rest;
        text
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| (self.netstring(), self.netstring()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_length_are_read() {
        for length in [0, 1, 9, 10, 11, 99, 100, 101, 999, 1_000, 123_456] {
            let value = "ü".repeat(length);
            let mut headers = HeadersMut::new();
            headers.put("a", &value);
            headers.put_display("b", &value);
            headers.put("c", "end");
            let headers = headers.freeze();
            let read: Vec<_> = headers.iter().collect();
            assert_eq!(read, [("a", &*value), ("b", &*value), ("c", "end")], "{length}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let headers = Headers::from_iter([("ce-saga", "checkout"), ("x", ""), ("x", "grüße\n")]);
        assert_eq!(headers.get("ce-saga"), Some("checkout"));
        assert_eq!(headers.get("x"), Some("grüße\n"));
        assert_eq!(headers.get("y"), None);
        assert_eq!(headers.iter().count(), 3);
        let more = headers.with([("y", "1")]).without(&["x"]);
        assert_eq!(more.iter().collect::<Vec<_>>(), [("ce-saga", "checkout"), ("y", "1")]);
        assert_eq!(Headers::default().iter().count(), 0);
        assert_eq!(Headers::default(), Headers::from_iter([]));
    }
}
