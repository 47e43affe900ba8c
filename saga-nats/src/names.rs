//! What topics and groups are called on the server.

use std::fmt::Write;

use saga_core::record::Topic;
use saga_core::{Error, ErrorKind};

/// The subject that a topic's messages are published on: its name, after the prefix of the environment.
pub(crate) fn subject(prefix: &str, topic: &Topic) -> Result<String, Error> {
    let subject = format!("{prefix}{topic}");
    if subject.split('.').any(str::is_empty) {
        let message = format!(
            "topic {topic} cannot be on NATS: subject {subject:?} has an empty part between its dots"
        );
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(subject)
}

/// The subject of a group's dead letters.
pub(crate) fn dead_subject(subject: &str, group: &str) -> String {
    format!("{subject}.{}.dlq", entity(group))
}

/// The name of a stream or consumer, which may have no dots: `.` is written `=`, and what is neither letter, digit, `-` nor `_` as `%` and its
/// hexadecimal code. No two names become one.
pub(crate) fn entity(name: &str) -> String {
    let mut entity = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'.' => entity.push('='),
            b if b.is_ascii_alphanumeric() || b"_-".contains(&b) => entity.push(char::from(b)),
            b => {
                let _infallible = write!(entity, "%{b:02X}");
            }
        }
    }
    entity
}

/// The name that became this stream or consumer.
pub(crate) fn original(entity: &str) -> String {
    percent_encoding::percent_decode_str(&entity.replace('=', ".")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_injective_and_read_back() {
        for name in ["checkout.replies", "a=b", "a%3Db", "grün / x", "*>", "a_b-c"] {
            let entity = entity(name);
            assert!(!entity.contains(['.', ' ', '*', '>', '/']), "{entity}");
            assert_eq!(original(&entity), name);
        }
        assert_eq!(entity("a.b"), "a=b");
        assert_eq!(entity("a=b"), "a%3Db");
    }

    #[test]
    fn a_subject_has_no_empty_part() {
        let topic = |name: &str| Topic::new(name).unwrap();
        assert_eq!(subject("dev.", &topic("a.b")).unwrap(), "dev.a.b");
        for bad in ["a..b", ".a", "a."] {
            assert!(subject("", &topic(bad)).is_err(), "{bad}");
        }
        assert_eq!(dead_subject("a", "g 1.x"), "a.g%201=x.dlq");
    }
}
