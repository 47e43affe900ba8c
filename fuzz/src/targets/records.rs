use saga::ErrorKind;
use saga::ports::Record;
use saga::record::{SagaId, SagaKey};
use saga_sql::fuzz::{Columns, Part, outline_again, read_saga, written_entries};

use crate::written::{Written, cut};

/// A saga's row: its columns as headers, and for each append a line `number format entries`. The line `outline` is that of its definition.
pub(super) fn run(bytes: &[u8]) {
    let written = Written::read(bytes);
    let number = |name: &str| written.text(name).and_then(|text| text.parse::<i64>().ok());
    let (run, status) = (written.text("run").unwrap_or_default(), written.text("status").unwrap_or_default());
    let (digest, cause) = (written.text("input-digest"), written.text("cause"));
    let definition_digest = written.text("definition-digest").unwrap_or_default();
    let columns = Columns {
        run: &run,
        status: &status,
        version: number("version").unwrap_or_default(),
        wake_at: number("wake-at"),
        settled_at: number("settled-at"),
        input_digest: digest.as_deref(),
        cause: cause.as_deref(),
        changed_at: number("changed-at").unwrap_or_default(),
        definition: (
            written.text("definition").unwrap_or_default(),
            number("definition-version").unwrap_or_default(),
            &definition_digest,
        ),
    };
    let texts = parts(&written.payload);
    let parts: Vec<_> =
        texts.iter().map(|(seq, format, entries)| Part { seq: *seq, format: *format, entries }).collect();
    let key = SagaKey { saga: "fuzz".into(), id: SagaId::new("1").expect("it is an id") };
    match read_saga(&key, columns, &parts) {
        Ok(Record::Stored(stored)) => {
            let text = written_entries(&key, &stored.entries).expect("they were read as JSON");
            let again = serde_json::from_str::<Vec<saga::record::Entry>>(&text).expect("it was just written");
            assert_eq!(again, stored.entries, "entries are not read as they were written");
        }
        Ok(Record::Tombstone(_)) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
    }
    if let Some(outline) = written.text("outline") {
        outline_again(&outline).expect("an outline is not read as it was written");
    }
}

fn parts(payload: &[u8]) -> Vec<(i64, i64, String)> {
    let part = |line: &[u8]| {
        let (seq, rest) = cut(line, b" ")?;
        let (format, entries) = cut(rest, b" ")?;
        let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok();
        Some((number(seq)?, number(format)?, String::from_utf8_lossy(entries).into_owned()))
    };
    payload.split(|byte| *byte == b'\n').filter_map(part).collect()
}
