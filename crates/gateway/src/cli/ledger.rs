//! `tallygate ledger`: verify, ship, export, rebuild.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use api_types::{ExportQuery, Finding, Rebuilt, Ship, Shipped, Verification};
use clap::{Args, Subcommand, ValueEnum};
use model::system::in_words;

use super::arguments::JsonArgument;
use super::calls::CallFilter;
use super::client::Streamed;
use super::progress::Progress;
use super::{error, units};
use crate::cli::{Client, Column, Error, Format, Output, Table, examples};

/// The commands on the ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Count everything again, against everything; exit 1 if a call is lost or counted twice
    #[command(after_help = examples!("tallygate ledger verify", "tallygate ledger verify --json"))]
    Verify(JsonArgument),
    /// Bring what is pending into the ledger now
    #[command(after_help = examples!(
        "tallygate ledger ship",
        "tallygate ledger ship /mnt/old-disk/tallygate/journal",
    ))]
    Ship(ShipArguments),
    /// Write the records of calls to a file or a pipe
    #[command(after_help = examples!(
        "tallygate ledger export --format parquet --output calls.parquet",
        "tallygate ledger export --format csv --app api > calls.csv",
    ))]
    Export(ExportArguments),
    /// Make rollups and manifest anew from the sealed files
    #[command(after_help = examples!("tallygate ledger rebuild"))]
    Rebuild(JsonArgument),
}

/// Arguments of `ledger ship`.
#[derive(Debug, Args)]
pub(crate) struct ShipArguments {
    /// The journal directory of a gate that is dead, or of one of its starts; on the gate's host
    dir: Option<PathBuf>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `ledger export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// What to write
    #[arg(long, value_enum)]
    format: ExportFormat,
    #[command(flatten)]
    only: CallFilter,
    /// The file to write; it must not exist [default: the standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The formats of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One JSON object per line
    Jsonl,
    /// Comma-separated values with a line of titles
    Csv,
    /// Apache Parquet
    Parquet,
}

pub(crate) async fn execute(
    command: LedgerCommand,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    match command {
        LedgerCommand::Verify(json) => verify(json.format(), client, output).await,
        LedgerCommand::Ship(arguments) => ship(arguments, client, output).await,
        LedgerCommand::Export(arguments) => export(arguments, client, output).await,
        LedgerCommand::Rebuild(json) => rebuild(json.format(), client, output).await,
    }
}

async fn verify(format: Format, client: &Client, output: &mut Output) -> Result<ExitCode, Error> {
    let result: Verification = {
        let _progress = Progress::waiting("counting every call again");
        client
            .post_patiently("/ledger/verify", &serde_json::json!({}))
            .await?
    };
    match format {
        Format::Json => output.json(&result)?,
        _ => {
            output.table(&verification_table(&result))?;
            for finding in &result.problems {
                output.line(&finding_line(finding))?;
            }
        }
    }
    Ok(if result.clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(error::EXIT_NO)
    })
}

fn verification_table(result: &Verification) -> Table {
    let mut table = Table::new([Column::text("LEDGER"), Column::number("CALLS")]);
    for (name, calls) in [
        ("accepted", result.accepted),
        ("stored", result.stored),
        ("pending", result.pending),
        ("lost", result.lost),
        ("duplicated", result.duplicated),
    ] {
        table.row([name.to_owned(), units::count(calls)]);
    }
    table
}

/// Returns one finding as a line: what is wrong, where, and what helps.
fn finding_line(finding: &Finding) -> String {
    let mut line = format!("! {}: {}", finding.fault, finding.detail);
    if let Some(file) = &finding.file {
        line.push_str(&format!(" ({file})"));
    }
    if finding.rebuild_heals {
        line.push_str("; `tallygate ledger rebuild` may heal it");
    }
    error::one_line(&line)
}

async fn ship(
    arguments: ShipArguments,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let dir = arguments.dir.map(std::path::absolute).transpose()?;
    let result: Shipped = {
        let _progress = Progress::waiting("shipping");
        client.post_patiently("/ledger/ship", &Ship { dir }).await?
    };
    match arguments.json.format() {
        Format::Json => output.json(&result)?,
        _ => output.line(&format!(
            "{}, {} records pending",
            if result.anew {
                "shipped"
            } else {
                "there was nothing to ship"
            },
            units::count(result.pending)
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn rebuild(format: Format, client: &Client, output: &mut Output) -> Result<ExitCode, Error> {
    let result: Rebuilt = {
        let _progress = Progress::waiting("reading every sealed file");
        client
            .post_patiently("/ledger/rebuild", &serde_json::json!({}))
            .await?
    };
    match format {
        Format::Json => output.json(&result)?,
        _ => {
            output.line(&format!(
                "{} files in the manifest, {} rows of rollups",
                units::count(result.files as u64),
                units::count(result.rows as u64)
            ))?;
            for file in &result.remade {
                output.line(&format!(
                    "written again from the journal: {}",
                    error::one_line(file)
                ))?;
            }
            for file in &result.missing {
                output.line(&format!(
                    "! missing, restore it from a copy: {}",
                    error::one_line(file)
                ))?;
            }
        }
    }
    Ok(if result.missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(error::EXIT_NO)
    })
}

async fn export(
    arguments: ExportArguments,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let terminal = arguments.output.is_none() && io::stdout().is_terminal();
    if arguments.format == ExportFormat::Parquet && terminal {
        return Err(Error::Usage(
            "parquet is no text: name a file with --output".to_owned(),
        ));
    }
    let query = ExportQuery {
        format: arguments.format.word().to_owned(),
        license: arguments.only.license,
        app: arguments.only.app,
        from: arguments.only.from,
        to: arguments.only.to,
    };
    client.tell_of_unknown_app(query.app.as_ref()).await;
    let mut answer = client.stream("/ledger/export", &query).await?;
    let progress = Progress::receiving("exporting");
    let Some(path) = arguments.output else {
        while let Some(piece) = answer.chunk().await? {
            progress.received(piece.len());
            output.bytes(&piece)?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let wrong = |error: io::Error| cannot_write(&path, &error);
    let file = File::create_new(&path).map_err(wrong)?;
    let written = write_all(file, &mut answer, &progress, &path).await;
    if written.is_err() {
        // A file that is not whole would be taken for an export, and would be in the way of the
        // next try.
        let _ = std::fs::remove_file(&path);
    }
    written.map(|()| ExitCode::SUCCESS)
}

async fn write_all(
    file: File,
    answer: &mut Streamed,
    progress: &Progress,
    path: &Path,
) -> Result<(), Error> {
    let wrong = |error: io::Error| cannot_write(path, &error);
    let mut file = BufWriter::new(file);
    while let Some(piece) = answer.chunk().await? {
        progress.received(piece.len());
        file.write_all(&piece).map_err(wrong)?;
    }
    let file = file
        .into_inner()
        .map_err(|error| wrong(error.into_error()))?;
    file.sync_all().map_err(wrong)
}

/// Returns the error of an export's file that cannot be written, with what helps.
fn cannot_write(path: &Path, error: &io::Error) -> Error {
    let reason = match error.kind() {
        io::ErrorKind::AlreadyExists if path.is_dir() => {
            "this is a folder: name a file in it".to_owned()
        }
        io::ErrorKind::AlreadyExists => {
            "there is a file of this name, which is left as it is: name another one, or remove it first".to_owned()
        }
        io::ErrorKind::NotFound => "its folder does not exist: make it first".to_owned(),
        _ => in_words(error),
    };
    Error::Usage(format!("{}: {reason}", path.display()))
}

// === impl ExportFormat ===

impl ExportFormat {
    const fn word(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verification_is_counted_in_calls_and_says_what_helps() {
        let result = Verification {
            accepted: 1_234,
            stored: 1_230,
            pending: 4,
            ..Verification::default()
        };
        let text = verification_table(&result).lines().join("\n");
        assert!(
            text.contains("LEDGER      CALLS\naccepted    1,234\n"),
            "{text}"
        );
        let finding = Finding {
            fault: "file_missing".to_owned(),
            file: Some("a.parquet".to_owned()),
            detail: "it is\ngone".to_owned(),
            rebuild_heals: true,
            ..Finding::default()
        };
        assert_eq!(
            finding_line(&finding),
            "! file_missing: it is gone (a.parquet); `tallygate ledger rebuild` may heal it"
        );
    }
}
