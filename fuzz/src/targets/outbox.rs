use saga::ErrorKind;
use saga_sql::fuzz::{outbox_message, outbox_row};

use crate::written::Written;

/// A message of ours comes out as it was put in; a row that says anything is read or refused.
pub(super) fn run(bytes: &[u8]) {
    let message = Written::read(bytes).into_message();
    match outbox_row(&message) {
        Ok(row) => assert_eq!(outbox_message(row).expect("it was just put in"), message),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{error}"),
    }
    let mut stored = Written::read(bytes);
    let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let Ok(mut row) = outbox_row(&Written::read(b"").into_message()) else { return };
    row.topic = text(stored.take("topic")).unwrap_or_default();
    row.key = text(stored.take("key"));
    row.headers = text(stored.take("headers")).unwrap_or_default();
    row.payload = stored.payload;
    match outbox_message(row) {
        Ok(message) => {
            if let Ok(row) = outbox_row(&message) {
                assert_eq!(outbox_message(row).expect("it was just put in"), message);
            }
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
    }
}
