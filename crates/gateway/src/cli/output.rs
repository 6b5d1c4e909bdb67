//! The output of commands: a person's terminal, a file or a program.

use std::io::{self, BufWriter, IsTerminal, Write};

use serde::Serialize;

use crate::cli::Table;

/// The format of a command's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// Comma-separated values, for spreadsheets.
    Csv,
    /// JSON, for programs.
    Json,
    /// An aligned table, for people.
    #[default]
    Table,
}

/// Buffered output. Every write may fail, as when the reader is gone, and none panics.
pub(crate) struct Output {
    writer: BufWriter<Box<dyn Write>>,
    styled: bool,
}

impl Output {
    /// Returns the standard output, styled on a terminal unless `NO_COLOR` is set.
    pub(crate) fn standard() -> Self {
        let stdout = io::stdout();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let styled = stdout.is_terminal() && !no_color;
        Self {
            writer: BufWriter::new(Box::new(stdout)),
            styled,
        }
    }

    /// Returns output into any writer, without style.
    #[cfg(test)]
    pub(crate) fn into_writer(writer: impl Write + 'static) -> Self {
        Self {
            writer: BufWriter::new(Box::new(writer)),
            styled: false,
        }
    }

    /// Writes one line.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.writer.write_all(text.as_bytes())?;
        self.writer.write_all(b"\n")
    }

    /// Writes a heading, bold on a terminal.
    pub(crate) fn heading(&mut self, text: &str) -> io::Result<()> {
        if self.styled {
            self.line(&format!("\x1b[1m{text}\x1b[0m"))
        } else {
            self.line(text)
        }
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// Writes a value as indented JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.writer, value)?;
        self.writer.write_all(b"\n")
    }

    /// Writes a value as JSON on the present line.
    pub(crate) fn compact_json(&mut self, value: &impl Serialize) -> io::Result<()> {
        Ok(serde_json::to_writer(&mut self.writer, value)?)
    }

    /// Writes a table, its titles bold on a terminal.
    pub(crate) fn table(&mut self, table: &Table) -> io::Result<()> {
        let mut lines = table.lines().into_iter();
        if let Some(titles) = lines.next() {
            self.heading(&titles)?;
        }
        lines.try_for_each(|line| self.line(&line))
    }

    /// Writes a value with a secret: whole for programs, as a table for people, who are told that
    /// they see it only now.
    pub(crate) fn shown_once(
        &mut self,
        format: Format,
        value: &impl Serialize,
        table: impl FnOnce() -> Table,
        has_secret: bool,
    ) -> io::Result<()> {
        if format == Format::Json {
            return self.json(value);
        }
        self.table(&table())?;
        if has_secret {
            self.line("")?;
            self.line("Keep the key: it is not shown again.")?;
        }
        Ok(())
    }

    /// Prints something whose secret, if it has one, is shown this once.
    pub(crate) fn secret_shown_once(
        &mut self,
        format: Format,
        value: &impl Serialize,
        table: impl FnOnce() -> Table,
        has_secret: bool,
    ) -> io::Result<()> {
        self.shown_once(format, value, table, false)?;
        if has_secret && format != Format::Json {
            self.line("")?;
            self.line("Keep the secret: it is not shown again.")?;
        }
        Ok(())
    }

    /// Hands everything written so far to the system.
    pub(crate) fn flush(&mut self) -> Result<(), super::Error> {
        Ok(self.writer.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .expect("no panic while locked")
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nothing_but_text_is_written_where_no_terminal_is() {
        let shared = Shared::default();
        let mut output = Output::into_writer(shared.clone());
        output.heading("ID").expect("memory");
        output.json(&serde_json::json!({"a": 1})).expect("memory");
        output.flush().expect("memory");
        let text = String::from_utf8(shared.0.lock().expect("no panic").clone()).expect("UTF-8");
        assert_eq!(text, "ID\n{\n  \"a\": 1\n}\n");
    }

    #[test]
    fn a_reader_that_went_away_is_an_error_and_no_panic() {
        let mut output = Output::into_writer(Gone);
        let written = output.line(&"x".repeat(100_000));
        assert_eq!(written.expect_err("gone").kind(), io::ErrorKind::BrokenPipe);
    }
}
