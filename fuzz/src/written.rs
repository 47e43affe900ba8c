//! Messages as they stand in the seeds: a line `name: value` for each header, an empty line, and the payload. `%XX` is a byte, so that any can
//! stand anywhere. The pages of `docs/wire.md` show messages in the same way.

use percent_encoding::percent_decode;
use saga::record::{MessageId, Payload, Topic};
use saga::wire::Message;

pub(crate) struct Written {
    /// Names and values; a line without a colon has no value.
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(crate) payload: Vec<u8>,
}

impl Written {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let mut headers = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (line, after) = cut(rest, b"\n").unwrap_or((rest, &[]));
            rest = after;
            if line.is_empty() {
                break;
            }
            headers.push(match cut(line, b": ") {
                Some((name, value)) => (decoded(name), Some(decoded(value))),
                None => (decoded(line), None),
            });
        }
        Self { headers, payload: rest.to_vec() }
    }

    /// What stands under this name first.
    pub(crate) fn text(&self, wanted: &str) -> Option<String> {
        let found = self.headers.iter().find(|(name, _)| name == wanted.as_bytes())?;
        Some(String::from_utf8_lossy(found.1.as_deref()?).into_owned())
    }

    /// Takes out what stands under this name first.
    pub(crate) fn take(&mut self, wanted: &str) -> Option<Vec<u8>> {
        let at = self.headers.iter().position(|(name, _)| name == wanted.as_bytes())?;
        self.headers.remove(at).1
    }

    /// The topic of the line `topic`, or another.
    pub(crate) fn take_topic(&mut self) -> Topic {
        let name = self.take("topic").map(|name| String::from_utf8_lossy(&name).into_owned());
        name.and_then(|name| Topic::new(name).ok()).unwrap_or_else(|| Topic::new("t").expect("it is a name"))
    }

    /// The message as the ports see it: the lines `topic`, `id` and `key` are not among its headers.
    pub(crate) fn into_message(mut self) -> Message {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let topic = self.take_topic();
        let id = MessageId::new(self.take("id").map(text).unwrap_or_default());
        let key = self.take("key").map(text);
        let pairs: Vec<_> =
            self.headers.into_iter().map(|(n, v)| (text(n), text(v.unwrap_or_default()))).collect();
        Message {
            topic,
            id,
            key: key.map(Into::into),
            headers: pairs.iter().map(|(name, value)| (&**name, &**value)).collect(),
            payload: Payload::from(self.payload),
        }
    }
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    percent_decode(bytes).collect()
}

/// What stands before and behind the first of these marks.
pub(crate) fn cut<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}
