//! Tables of text.

/// Rows under a heading, in columns as wide as they need to be. The last column is not padded. Control characters are shown as spaces: what
/// participants say must not move the cursor.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| plain(cell))).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heading[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = line(&heading.map(ToOwned::to_owned), &widths);
    for row in &rows {
        text.push_str(&line(row, &widths));
    }
    text
}

fn line<const N: usize>(cells: &[String; N], widths: &[usize]) -> String {
    let mut text = String::new();
    for (column, cell) in cells.iter().enumerate() {
        text.push_str(cell);
        if column + 1 < N {
            let padding = widths[column] - cell.chars().count() + 2;
            text.extend(std::iter::repeat_n(' ', padding));
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Without control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            ["grün".to_owned(), "1".to_owned(), "a\nb".to_owned()],
            [String::new(), "22".into(), String::new()],
        ];
        assert_eq!(table(["A", "NO", "WHAT"], &rows), "A     NO  WHAT\ngrün  1   a b\n      22\n");
    }
}
