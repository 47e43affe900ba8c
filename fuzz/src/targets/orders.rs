use std::io::Cursor;

use futures::FutureExt;
use tokio::io::BufReader;

use crate::lines::{Line, Lines};
use crate::order::Order;

/// The first byte says in which parts the rest arrives.
pub(super) fn run(bytes: &[u8]) {
    let Some((size, text)) = bytes.split_first() else { return };
    let reader = BufReader::with_capacity(1 + usize::from(*size), Cursor::new(text.to_vec()));
    let mut lines = Lines::new(reader);
    let mut read = Vec::new();
    while let Some(line) = next(&mut lines) {
        order(&line);
        read.push((line.number, line.into_evidence()));
    }
    let expected =
        (1..).zip(text.split(|byte| *byte == b'\n')).filter(|(_, line)| !line.trim_ascii().is_empty());
    assert!(read.iter().map(|(number, line)| (*number, &line[..])).eq(expected), "a line is lost or changed");
}

/// Reading from memory never waits.
fn next(lines: &mut Lines) -> Option<Line> {
    lines.next().now_or_never().expect("memory is there at once").expect("memory can be read")
}

fn order(line: &Line) {
    let Ok(order) = line.order() else { return };
    let placed = serde_json::to_value(&order).map(|mut json| {
        json["event"] = "order-placed".into();
        json.to_string()
    });
    let again = Order::read(placed.expect("an order is JSON").as_bytes());
    assert_eq!(again.expect("it was an order before"), order);
}
