//! Reads a file line by line, one at a time, however long the file and however bad its lines.

use std::io;
use std::path::Path;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

use crate::order::Order;

/// The longest line that is read. More of it is skipped, and the line is a bad one.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// Where the orders come from.
pub(crate) struct Lines {
    reader: Box<dyn AsyncBufRead + Send + Unpin>,
    number: u64,
}

/// One line that is not blank.
#[derive(Debug)]
pub(crate) struct Line {
    /// Counted from 1, blank ones included.
    pub(crate) number: u64,
    /// The line without its end; cut off at the limit.
    pub(crate) bytes: Vec<u8>,
    is_cut: bool,
}

impl Lines {
    /// The lines of a file.
    pub(crate) async fn open(path: &Path) -> io::Result<Self> {
        let file = tokio::fs::File::open(path).await?;
        Ok(Self::new(BufReader::with_capacity(LINE_BYTES_MAX, file)))
    }

    /// The lines of the standard input.
    pub(crate) fn stdin() -> Self {
        Self::new(BufReader::with_capacity(LINE_BYTES_MAX, tokio::io::stdin()))
    }

    pub(crate) fn new(reader: impl AsyncBufRead + Send + Unpin + 'static) -> Self {
        Self { reader: Box::new(reader), number: 0 }
    }

    /// The next line that is not blank; `None` at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let mut line = Line { number: self.number + 1, bytes: Vec::new(), is_cut: false };
            if !self.read_into(&mut line).await? {
                return Ok(None);
            }
            self.number += 1;
            if !line.bytes.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    /// Whether there was a line.
    async fn read_into(&mut self, line: &mut Line) -> io::Result<bool> {
        let mut has_begun = false;
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                return Ok(has_begun);
            }
            has_begun = true;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            let room = LINE_BYTES_MAX - line.bytes.len();
            line.bytes.extend_from_slice(&part[..part.len().min(room)]);
            line.is_cut |= part.len() > room;
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

impl Line {
    /// The order that it holds, or why it holds none.
    pub(crate) fn order(&self) -> Result<Order, String> {
        if self.is_cut {
            return Err(format!("it is longer than {LINE_BYTES_MAX} bytes"));
        }
        // Where JSON ends being JSON is told by line and column, and here the line is always the first.
        Order::read(&self.bytes).map_err(|error| error.to_string().replace(" at line 1 column", " at column"))
    }

    /// The line as evidence: what was cut off is marked, so that what is left can never be taken for an order.
    pub(crate) fn into_evidence(mut self) -> Vec<u8> {
        if self.is_cut {
            self.bytes.extend_from_slice("…".as_bytes());
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_numbered_and_cut() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        let text = format!("a\n\n  \r\nb\n{long}\nlast");
        // A small buffer, so that lines come in parts.
        let mut lines = Lines::new(BufReader::with_capacity(7, io::Cursor::new(text)));
        let mut read = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            read.push((line.number, line.bytes.len(), line.is_cut));
        }
        assert_eq!(read, [(1, 1, false), (4, 1, false), (5, LINE_BYTES_MAX, true), (6, 4, false)]);
    }

    #[test]
    fn what_was_cut_off_is_never_an_order() {
        let order = r#"{"event":"order-placed","order_id":"1","customer_id":"c","items":[{"product_id":"p","quantity":1}]}"#;
        let line = Line { number: 1, bytes: order.as_bytes().to_vec(), is_cut: true };
        assert!(line.order().unwrap_err().contains("longer"));
        assert!(Order::read(&line.into_evidence()).is_err());
    }
}
