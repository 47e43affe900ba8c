//! How what the ports speak of is written into columns, the same in every database.

use saga_core::record::{Cause, Ending, Entry, Outline, SagaKey, Status, Timestamp};
use saga_core::{Error, ErrorKind};
use serde::de::DeserializeOwned;

/// The format in which entries, and barrier rows, are written. What has an older one must stay readable; what has a newer one is not read.
pub(crate) const FORMAT: i64 = 1;

/// Moments are whole milliseconds since the Unix epoch in a signed 64-bit column; its highest value stands for the end of time.
pub(crate) fn to_column(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// Reads what [`to_column`] wrote. What is before 1970 reads as 1970.
pub(crate) fn from_column(ms: i64) -> Timestamp {
    if ms == i64::MAX { Timestamp::MAX } else { Timestamp::from_millis(ms.max(0).unsigned_abs()) }
}

/// A status or an ending by its name.
pub(crate) fn named<T: DeserializeOwned>(what: &str, name: &str) -> Result<T, Error> {
    let name: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        serde::de::IntoDeserializer::into_deserializer(name);
    T::deserialize(name).map_err(|error| corrupt(format!("{what} is not known here: {error}")))
}

/// How a saga that is filed under this status has ended.
pub(crate) fn ending(status: Status) -> Result<Ending, Error> {
    match status {
        Status::Completed => Ok(Ending::Completed),
        Status::RolledBack => Ok(Ending::RolledBack),
        Status::Abandoned => Ok(Ending::Abandoned),
        other => Err(corrupt(format!("a saga that was pruned cannot be {other}"))),
    }
}

/// The entries of one append as one text: a JSON array.
pub(crate) fn write_entries(key: &SagaKey, entries: &[Entry]) -> Result<String, Error> {
    serde_json::to_string(entries).map_err(|error| {
        let message = format!("saga {key}: an entry cannot be written as JSON");
        Error::new(ErrorKind::Invalid, message).with_source(error)
    })
}

/// Reads what [`write_entries`] wrote.
pub(crate) fn read_entries(key: &SagaKey, seq: i64, format: i64, text: &str) -> Result<Vec<Entry>, Error> {
    let place = || format!("saga {key}: the entries from number {seq} on, in table saga_log_entries,");
    if format > FORMAT {
        let message = format!(
            "{} are written in format {format}, this version reads up to {FORMAT}: use a newer version of saga-sql",
            place()
        );
        return Err(corrupt(message));
    }
    let entries: Vec<Entry> = serde_json::from_str(text)
        .map_err(|error| corrupt(format!("{} cannot be read", place())).with_source(error))?;
    if entries.is_empty() { Err(corrupt(format!("{} are none", place()))) } else { Ok(entries) }
}

/// A cause as JSON.
pub(crate) fn write_cause(key: &SagaKey, cause: &Cause) -> Result<String, Error> {
    serde_json::to_string(cause).map_err(|error| {
        let message = format!("saga {key}: its cause cannot be written as JSON");
        Error::new(ErrorKind::Invalid, message).with_source(error)
    })
}

/// Reads what [`write_cause`] wrote.
pub(crate) fn read_cause(key: &SagaKey, text: &str) -> Result<Cause, Error> {
    serde_json::from_str(text).map_err(|error| {
        let message = format!("saga {key}: the cause in table saga_log cannot be read");
        corrupt(message).with_source(error)
    })
}

/// A definition's outline as JSON.
pub(crate) fn write_outline(outline: &Outline) -> Result<String, Error> {
    serde_json::to_string(outline).map_err(|error| {
        let message = format!("the outline of {} cannot be written as JSON", outline.definition);
        Error::new(ErrorKind::Permanent, message).with_source(error)
    })
}

/// Reads what [`write_outline`] wrote. It is only shown: what cannot be read is done without.
pub(crate) fn read_outline(name: &str, text: &str) -> Option<Outline> {
    let read = serde_json::from_str(text);
    read.inspect_err(
        |error| tracing::warn!(definition = name, %error, "an outline in the saga log cannot be read"),
    )
    .ok()
}

/// A fingerprint of 128 bits as 32 hexadecimal digits.
pub(crate) fn write_digest(digest: u128) -> String {
    format!("{digest:032x}")
}

/// Reads what [`write_digest`] wrote.
pub(crate) fn read_digest(key: &SagaKey, text: &str) -> Result<u128, Error> {
    u128::from_str_radix(text, 16).map_err(|error| {
        let message = format!("saga {key}: the fingerprint of its input in table saga_log cannot be read");
        corrupt(message).with_source(error)
    })
}

pub(crate) fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_time_comes_back() {
        for ms in [0, 1, 1_795_335_330_250, u64::MAX] {
            let at = Timestamp::from_millis(ms);
            assert_eq!(from_column(to_column(at)), at);
        }
        assert_eq!(from_column(-5), Timestamp::default());
    }

    #[test]
    fn names_come_back() {
        for status in [Status::Running, Status::Unwinding, Status::Parked, Status::RolledBack] {
            assert_eq!(named::<Status>("the status", &status.to_string()).unwrap(), status);
        }
        let error = named::<Status>("the status", "lost").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(ending(Status::Parked).is_err());
    }
}
