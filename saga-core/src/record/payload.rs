use std::cell::Cell;
use std::fmt;

use bytes::Bytes;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A thread keeps no larger buffer than this for the next payload.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

/// The bytes of a user's message, usually JSON. Cloning shares them.
///
/// In a stored entry it stands as a string when it is UTF-8, so that people can read it, and as a list of numbers when
/// not; either way the exact bytes come back.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Payload(Bytes);

impl Payload {
    /// No bytes at all.
    pub const fn empty() -> Self {
        Self(Bytes::new())
    }

    /// The JSON of `value`.
    ///
    /// # Errors
    /// When the value's `Serialize` refuses, for example a map whose keys are not strings.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        // Written where the last one was written, then copied once at its true size: nothing grows step by step, nothing is kept too large.
        thread_local!(static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });
        let mut scratch = SCRATCH.take();
        scratch.clear();
        let written = serde_json::to_writer(&mut scratch, value);
        let payload = written.map(|()| Self(Bytes::copy_from_slice(&scratch)));
        if scratch.capacity() <= SCRATCH_BYTES_MAX {
            SCRATCH.set(scratch);
        }
        payload
    }

    /// Reads the JSON as a `T`. No bytes at all read as `null`: other languages' participants send nothing where there is nothing to say.
    ///
    /// # Errors
    /// When the bytes are not JSON, or not of the shape of `T`.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(if self.0.is_empty() { b"null" } else { &self.0 })
    }

    /// The bytes, shared.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes themselves, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl std::ops::Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        // Logs and inboxes keep payloads for long: not with the room that writing them left over.
        Self(bytes.into_boxed_slice().into())
    }
}

impl From<&'static str> for Payload {
    fn from(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }
}

/// The length and the first bytes: payloads carry personal data and do not belong whole in a log line.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_BYTES_MAX: usize = 48;
        let shown = &self.0[..self.0.len().min(SHOWN_BYTES_MAX)];
        write!(f, "{} bytes {:?}", self.0.len(), String::from_utf8_lossy(shown))
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_seq(self.0.iter()),
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PayloadVisitor)
    }
}

struct PayloadVisitor;

impl<'de> Visitor<'de> for PayloadVisitor {
    type Value = Payload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Payload, E> {
        Ok(Payload::from(text.as_bytes().to_vec()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Payload, E> {
        Ok(Payload::from(text.into_bytes()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Payload, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element::<u8>()? {
            bytes.push(byte);
        }
        Ok(Payload::from(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reads_as_null() {
        let empty = Payload::default();
        assert!(empty.parse::<()>().is_ok());
        assert_eq!(empty.parse::<Option<u32>>().unwrap(), None);
        assert!(empty.parse::<u32>().is_err());
    }

    #[test]
    fn exact_bytes_survive_storage() {
        for bytes in [&b"{\"a\": 1}"[..], b"", b"\xff\x00not utf-8", "grüße".as_bytes()] {
            let payload = Payload::from(bytes.to_vec());
            let stored = serde_json::to_string(&payload).unwrap();
            assert_eq!(serde_json::from_str::<Payload>(&stored).unwrap(), payload, "{stored}");
        }
    }
}
