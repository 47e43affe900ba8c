use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// The headers of a message, in order, in one buffer; cloning shares it.
///
/// Names and values are text. CloudEvents attributes stand under `ce-` names (see [`attributes`](super::attributes)), whatever the
/// transport calls them; other headers pass through as they are. A name may come twice; [`get`](Headers::get) finds the last.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Bytes);

impl Headers {
    /// The value of the last header of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().filter(|(n, _)| *n == name).map(|(_, value)| value).last()
    }

    /// All headers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        Iter(&self.0)
    }

    /// A copy with these appended.
    #[must_use]
    pub fn with<'a>(&self, more: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut buffer = HeadersMut::with_capacity(self.0.len() + 128);
        buffer.0.put_slice(&self.0);
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
        self.0.len()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut buffer = HeadersMut::with_capacity(256);
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

/// Headers being written: each is the length of the name, the name, the length of the value, the value.
pub(crate) struct HeadersMut(BytesMut);

impl HeadersMut {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(BytesMut::with_capacity(bytes))
    }

    pub(crate) fn put(&mut self, name: &str, value: &str) {
        self.put_with(name, |buffer| buffer.put_slice(value.as_bytes()));
    }

    pub(crate) fn put_display(&mut self, name: &str, value: impl fmt::Display) {
        self.put_with(name, |buffer| {
            // Writing into a growing buffer cannot fail.
            let _ = fmt::write(buffer, format_args!("{value}"));
        });
    }

    fn put_with(&mut self, name: &str, value: impl FnOnce(&mut BytesMut)) {
        let Self(buffer) = self;
        buffer.put_u32_ne(u32::try_from(name.len()).expect("a header name is shorter than 4 GiB"));
        buffer.put_slice(name.as_bytes());
        let length_at = buffer.len();
        buffer.put_u32_ne(0);
        value(buffer);
        let length =
            u32::try_from(buffer.len() - length_at - 4).expect("a header value is shorter than 4 GiB");
        buffer[length_at..length_at + 4].copy_from_slice(&length.to_ne_bytes());
    }

    pub(crate) fn freeze(self) -> Headers {
        Headers(self.0.freeze())
    }
}

struct Iter<'a>(&'a [u8]);

impl<'a> Iter<'a> {
    fn text(&mut self) -> &'a str {
        let (length, rest) = self.0.split_first_chunk::<4>().expect("a length");
        let (text, rest) = rest.split_at(u32::from_ne_bytes(*length) as usize);
        self.0 = rest;
        std::str::from_utf8(text).expect("written from text")
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
    fn what_is_written_is_read() {
        let headers = Headers::from_iter([("ce-saga", "checkout"), ("x", ""), ("x", "grüße\n")]);
        assert_eq!(headers.get("ce-saga"), Some("checkout"));
        assert_eq!(headers.get("x"), Some("grüße\n"));
        assert_eq!(headers.get("y"), None);
        assert_eq!(headers.iter().count(), 3);
        let more = headers.with([("y", "1")]).without(&["x"]);
        assert_eq!(more.iter().collect::<Vec<_>>(), [("ce-saga", "checkout"), ("y", "1")]);
        assert_eq!(Headers::default().iter().count(), 0);
    }
}
