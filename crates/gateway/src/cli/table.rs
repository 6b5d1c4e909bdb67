//! Tables for people, aligned by the width that a terminal shows and not by bytes.

use unicode_width::UnicodeWidthStr;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    title: &'static str,
    right: bool,
}

/// A table of text.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

/// The text of a cell without a value.
pub(crate) const EMPTY_CELL: &str = "-";
const COLUMN_GAP: &str = "  ";

impl Column {
    /// Returns a column of words, aligned to the left.
    pub(crate) const fn text(title: &'static str) -> Self {
        Self {
            title,
            right: false,
        }
    }

    /// Returns a column of quantities, aligned to the right.
    pub(crate) const fn number(title: &'static str) -> Self {
        Self { title, right: true }
    }
}

impl Table {
    /// Returns a table without rows.
    pub(crate) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self {
            columns: columns.into(),
            rows: Vec::new(),
        }
    }

    /// Returns a table of fields: a column of names and one of values.
    pub(crate) fn of_fields(title: &'static str) -> Self {
        Self::new([Column::text(title), Column::text("")])
    }

    /// Adds a field, unless its value is empty; for a table [of fields](Self::of_fields).
    pub(crate) fn field(&mut self, name: &str, value: String) {
        if !value.is_empty() {
            self.row([name.to_owned(), value]);
        }
    }

    /// Adds a row. Control characters are taken out, and empty cells are shown as such.
    ///
    /// # Panics
    /// If the row has another number of cells than the table has columns.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| visible(&cell)).collect();
        assert_eq!(
            cells.len(),
            self.columns.len(),
            "a row has one cell per column"
        );
        self.rows.push(cells);
    }

    /// Returns the lines, titles first, without spaces at their ends.
    pub(crate) fn lines(&self) -> Vec<String> {
        let titles: Vec<String> = self.columns.iter().map(|c| c.title.to_owned()).collect();
        let width = |at: usize| {
            let cells = self.rows.iter().map(|row| row[at].width());
            cells.chain([titles[at].width()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |cells: &Vec<String>| {
            let padded =
                cells
                    .iter()
                    .zip(&self.columns)
                    .zip(&widths)
                    .map(|((cell, column), width)| {
                        let padding = " ".repeat(width - cell.width());
                        if column.right {
                            padding + cell
                        } else {
                            cell.clone() + &padding
                        }
                    });
            padded
                .collect::<Vec<_>>()
                .join(COLUMN_GAP)
                .trim_end()
                .to_owned()
        };
        std::iter::once(&titles)
            .chain(&self.rows)
            .map(line)
            .collect()
    }
}

/// Returns the text of a cell that is safe to show.
fn visible(cell: &str) -> String {
    // Control characters, and those that turn the direction of writing, could forge what a terminal shows.
    let forging = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let clean: String = cell
        .chars()
        .map(|c| if forging(c) { '\u{fffd}' } else { c })
        .collect();
    if clean.is_empty() {
        EMPTY_CELL.to_owned()
    } else {
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(table: &mut Table, cells: [&str; 3]) {
        table.row(cells.map(str::to_owned));
    }

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let mut table = Table::new([
            Column::text("USER"),
            Column::number("CALLS"),
            Column::text("PLAN"),
        ]);
        row(&mut table, ["Zoë", "7", "pro"]);
        row(&mut table, ["田中さん", "1,200", ""]);
        assert_eq!(
            table.lines(),
            [
                "USER      CALLS  PLAN",
                "Zoë           7  pro",
                "田中さん  1,200  -",
            ]
        );
    }

    #[test]
    fn a_cell_cannot_command_the_terminal() {
        let mut table = Table::new([Column::text("A"), Column::text("B"), Column::text("C")]);
        row(&mut table, ["\x1b[31mred", "a\nb", "\u{202e}abc"]);
        let text = table.lines().join("\n");
        assert!(
            !text.contains('\x1b') && !text.contains('\u{202e}'),
            "{text:?}"
        );
        assert_eq!(table.lines().len(), 2);
    }
}
