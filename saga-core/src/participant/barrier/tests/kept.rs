//! Rows, as they are stored.

use super::*;

const GOLDEN: &str = include_str!("../../../../golden/rows.1.jsonl");

/// A row in every state that has a form of its own.
fn rows() -> Vec<Row> {
    let ended = |report| bench().executed(1, Performed::Final(report));
    let mut executing = bench();
    executing.run(Action::Execute, 1);
    let mut bound = bench();
    bound.effects = Effects::InTransaction;
    bound.run(Action::Execute, 1);
    let mut undoing = ended(done(1));
    undoing.run(Action::Undo, 1);
    let mut overtaken = bench();
    let (old, ..) = overtaken.run(Action::Execute, 1);
    overtaken.later();
    overtaken.run(Action::Undo, 1);
    let _ = overtaken.end(old, Performed::Final(done(1)));
    let fence = |mut bench: Bench| {
        bench.replies(Action::Fence, 1);
        bench
    };
    let benches = [
        bench(),
        executing,
        bound,
        bench().executed(1, Performed::Again),
        ended(done(1)),
        ended(rejected()),
        ended(failed()),
        undoing,
        ended(done(1)).undid(1, Performed::Final(Report::Undone)),
        ended(done(1)).undid(2, Performed::Final(undo_failed())),
        overtaken,
        fence(bench()),
        fence(ended(done(1))),
        fence(bench().executed(1, Performed::Again)),
    ];
    benches.into_iter().map(|bench| bench.row).collect()
}

#[test]
fn rows_are_written_and_read_as_they_were() {
    let rows = rows();
    let written: Vec<_> = rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    crate::kept::check("rows.1.jsonl", GOLDEN, &written);
    for (line, row) in GOLDEN.lines().zip(&rows) {
        assert_eq!(&serde_json::from_str::<Row>(line).unwrap(), row, "{line}");
    }
}
