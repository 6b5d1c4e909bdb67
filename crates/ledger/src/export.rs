//! The export of calls as JSON lines, CSV or one Parquet file, oldest first.

use std::borrow::Cow;
use std::io::Write;

use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;

use crate::calls::{Calls, CallsQuery};
use crate::error::Error;
use crate::file::{FORMAT, Writing};
use crate::ledger::Ledger;
use crate::line::CallLine;

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// One JSON object per line.
    Jsonl,
    /// Comma-separated values with a head line (RFC 4180).
    Csv,
    /// One Parquet file with the columns of sealed files.
    Parquet,
}

impl std::str::FromStr for ExportFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "jsonl" => Ok(Self::Jsonl),
            "csv" => Ok(Self::Csv),
            "parquet" => Ok(Self::Parquet),
            _ => Err(format!(
                "`{}` is not a format: write jsonl, csv or parquet",
                model::quoted(text, 40)
            )),
        }
    }
}

impl Ledger {
    /// Writes all calls of a query. Returns the number of lines or rows.
    ///
    /// # Errors
    /// Returns an error when a source cannot be read or the output not written.
    pub async fn export(
        &self,
        query: CallsQuery,
        format: ExportFormat,
        output: &mut (dyn Write + Send),
    ) -> Result<u64, Error> {
        self.calls(query).await?.export(format, output).await
    }
}

impl Calls {
    /// Writes all calls. Returns the number of lines or rows.
    ///
    /// # Errors
    /// Returns an error when a source cannot be read or the output not written.
    pub async fn export(
        self,
        format: ExportFormat,
        output: &mut (dyn Write + Send),
    ) -> Result<u64, Error> {
        match format {
            ExportFormat::Jsonl => {
                lines(self, output, |line, output| {
                    serde_json::to_writer(&mut *output, line)?;
                    output.write_all(b"\n")
                })
                .await
            }
            ExportFormat::Csv => {
                let head = CallLine::FIELDS.join(",");
                writeln!(output, "{head}\r").map_err(Error::Export)?;
                lines(self, output, |line, output| write_csv(line, output)).await
            }
            ExportFormat::Parquet => parquet(self, output).await,
        }
    }
}

async fn lines(
    mut calls: Calls,
    output: &mut (dyn Write + Send),
    write: impl Fn(&CallLine, &mut (dyn Write + Send)) -> std::io::Result<()>,
) -> Result<u64, Error> {
    let mut count = 0;
    while let Some(page) = calls.next_page().await? {
        for line in &page {
            write(line, output).map_err(Error::Export)?;
        }
        count += page.len() as u64;
    }
    output.flush().map_err(Error::Export)?;
    Ok(count)
}

fn write_csv(line: &CallLine, output: &mut (dyn Write + Send)) -> std::io::Result<()> {
    let fields = [
        line.call_id.to_string(),
        line.license_id.map(|id| id.to_string()).unwrap_or_default(),
        quote(line.app.as_str()).into_owned(),
        quote(&line.route).into_owned(),
        line.method.to_string(),
        line.status.to_string(),
        line.outcome.to_string(),
        line.mode.to_string(),
        line.billable.to_string(),
        line.units.to_string(),
        line.billed_units.to_string(),
        line.amount.to_string(),
        line.currency
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        line.plan
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        line.request_bytes.to_string(),
        line.response_bytes.to_string(),
        line.duration_us.to_string(),
        line.upstream_us.to_string(),
        line.attempts.to_string(),
        line.started_at.to_string(),
        quote(&line.node).into_owned(),
        line.refusal.unwrap_or_default().to_owned(),
        line.calls.to_string(),
        line.test.to_string(),
        line.units_unreadable.unwrap_or_default().to_owned(),
    ];
    write!(output, "{}\r\n", fields.join(","))
}

fn quote(text: &str) -> Cow<'_, str> {
    if text.contains(['"', ',', '\r', '\n']) {
        Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(text)
    }
}

async fn parquet(mut calls: Calls, output: &mut (dyn Write + Send)) -> Result<u64, Error> {
    const GROUP: usize = 65_536;
    let names = calls.names();
    let format = KeyValue::new("tallygate.export".to_owned(), FORMAT.to_string());
    let mut writing = Writing::new(output, vec![format], false).map_err(failed)?;
    let mut count = 0;
    while let Some((rows, places)) = calls.next_group(GROUP).await? {
        writing.rows(rows, places, &names).map_err(failed)?;
        count += rows.len() as u64;
    }
    writing.finish().map_err(failed)?;
    Ok(count)
}

fn failed(error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => Error::Export(
            source
                .downcast::<std::io::Error>()
                .map_or_else(std::io::Error::other, |source| *source),
        ),
        error => Error::Export(std::io::Error::other(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_separators_are_quoted() {
        assert_eq!(quote("/a"), "/a");
        assert_eq!(quote("/a,\"b\""), "\"/a,\"\"b\"\"\"");
        assert_eq!("csv".parse(), Ok(ExportFormat::Csv));
        assert!("xml".parse::<ExportFormat>().is_err());
    }
}
