//! `tallygate license import`: licenses that were made elsewhere, with the keys that people have.

mod columns;
mod csv_rows;
mod json_rows;
mod pass;
mod row;
mod rows;
mod seen;
mod source;
mod tally;

use std::path::PathBuf;
use std::process::ExitCode;

use model::AppName;

use self::pass::Pass;
use self::source::{FileFormat, Source};
use self::tally::{Listing, Tally};
use super::arguments::JsonArgument;
use super::error::EXIT_NO;
use crate::cli::{Client, Error, Format, Output};

/// Arguments of `license import`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArguments {
    /// The file, CSV with a header or JSON on each line; `-` is the standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The app that the licenses open
    #[arg(long, value_name = "NAME")]
    app: AppName,
    /// Say what would be made, and make nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave out the rows that are wrong, and say which they are
    #[arg(long)]
    skip_bad: bool,
    /// The column with the keys has their SHA-256, as better-auth keeps them
    #[arg(long)]
    hashed: bool,
    /// The shape that each key must have [default: any]
    #[arg(long, value_name = "FORMAT", value_parser = ["tallygate", "uuid", "apifew", "authforge"])]
    key_format: Option<String>,
    /// The form of the file [default: by its first character]
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    #[command(flatten)]
    json: JsonArgument,
}

/// Reads the file once to judge it, and once more to write, unless something is wrong with it.
pub(super) async fn execute(
    arguments: ImportArguments,
    client: &Client,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    let mut source = Source::open(&arguments.file)?;
    let format = match arguments.format {
        Some(format) => format,
        None => source.format()?,
    };
    let listing = match arguments.skip_bad {
        true => Listing::All,
        false => Listing::First,
    };
    let mut pass = Pass {
        client,
        format,
        app: &arguments.app,
        key_format: arguments.key_format.as_deref(),
        hashed: arguments.hashed,
    };
    // What is wrong is left out by the second reading, too, so that one is enough for that.
    let judged = match arguments.dry_run || !arguments.skip_bad {
        true => Some(judge(&mut pass, &mut source, listing).await?),
        false => None,
    };
    let is_done = |tally: &Tally| {
        arguments.dry_run || (tally.bad > 0 && !arguments.skip_bad) || tally.made == 0
    };
    let mut tally = match judged {
        Some(tally) if is_done(&tally) => tally,
        _ => write(&mut pass, &mut source, listing).await?,
    };
    tally.tell_of_more();
    if !arguments.dry_run && !tally.written && arguments.json.format() == Format::Json {
        // What would have been made was not.
        tally.made = 0;
    }
    tally.show(arguments.json.format(), output)?;
    if tally.bad == 0 || arguments.skip_bad {
        return Ok(ExitCode::SUCCESS);
    }
    output.flush()?;
    if !arguments.dry_run && !tally.written {
        eprintln!(
            "tallygate: nothing was written: put these rows right, or leave them out with --skip-bad"
        );
    }
    Ok(ExitCode::from(EXIT_NO))
}

async fn judge(pass: &mut Pass<'_>, source: &mut Source, listing: Listing) -> Result<Tally, Error> {
    let mut tally = Tally::new(false, listing);
    pass.run(source, &mut tally).await?;
    Ok(tally)
}

/// Writes what can be written, and says how far it came if it does not come to the end.
async fn write(pass: &mut Pass<'_>, source: &mut Source, listing: Listing) -> Result<Tally, Error> {
    let mut tally = Tally::new(true, listing);
    if let Err(error) = pass.run(source, &mut tally).await {
        eprintln!(
            "tallygate: at least {} licenses were made before this: the same command goes on from there, and leaves them as they are",
            tally.made
        );
        return Err(error);
    }
    Ok(tally)
}
