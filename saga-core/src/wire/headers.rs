use std::fmt;
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

/// Headers being written: names and values in turn, each after its length. The length is written as ASCII characters of six bits each, the
/// lowest first, with the seventh bit saying that more follow: the whole is text, and reading it back is slicing, with nothing to be
/// validated again.
pub(crate) struct HeadersMut(String);

const DIGIT_BITS: u32 = 6;
const DIGIT: usize = (1 << DIGIT_BITS) - 1;
const MORE: usize = 1 << DIGIT_BITS;

impl HeadersMut {
    /// Empty, in the buffer where the last ones were written.
    pub(crate) fn new() -> Self {
        Self(text::scratch())
    }

    pub(crate) fn put(&mut self, name: &str, value: &str) {
        for text in [name, value] {
            self.length(text.len());
            self.0.push_str(text);
        }
    }

    fn length(&mut self, mut length: usize) {
        while length > DIGIT {
            self.0.push(char::from((length & DIGIT | MORE) as u8));
            length >>= DIGIT_BITS;
        }
        self.0.push(char::from(length as u8));
    }

    /// A copy at their true size.
    pub(crate) fn freeze(self) -> Headers {
        Headers((!self.0.is_empty()).then(|| text::finish(self.0)))
    }
}

struct Iter<'a>(&'a str);

impl<'a> Iter<'a> {
    fn text(&mut self) -> &'a str {
        let (mut length, mut shift) = (0, 0);
        let mut digits = self.0.bytes();
        loop {
            let digit = usize::from(digits.next().expect("a length comes before the text"));
            length |= (digit & DIGIT) << shift;
            shift += DIGIT_BITS;
            if digit & MORE == 0 {
                break;
            }
        }
        let (text, rest) = self.0[(shift / DIGIT_BITS) as usize..].split_at(length);
        self.0 = rest;
        text
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| (self.text(), self.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_length_are_read() {
        for length in [0, 1, 31, 32, 33, 2_047, 2_048, 2_049, 123_456] {
            let value = "ü".repeat(length);
            let mut headers = HeadersMut::new();
            headers.put("a", &value);
            headers.put("b", "");
            headers.put("c", "end");
            let headers = headers.freeze();
            let read: Vec<_> = headers.iter().collect();
            assert_eq!(read, [("a", &*value), ("b", ""), ("c", "end")], "{length}");
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
