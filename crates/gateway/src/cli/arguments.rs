//! The arguments that several commands share.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;

use model::system::in_words;

use crate::cli::{Error, Format};

/// The argument `--json`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct JsonArgument {
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

impl JsonArgument {
    pub(crate) const fn format(self) -> Format {
        if self.json {
            Format::Json
        } else {
            Format::Table
        }
    }
}

/// Returns the text of a file of at most so many bytes.
pub(crate) fn read_bounded(path: &Path, most: usize) -> Result<String, Error> {
    let wrong = |why: String| Error::Usage(format!("{} {why}", path.display()));
    let file =
        File::open(path).map_err(|error| wrong(format!("cannot be read: {}", in_words(&error))))?;
    let mut text = String::new();
    // One byte more than is taken, to tell a file that is too long.
    let read = file.take(most as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| wrong(format!("cannot be read: {}", in_words(&error))))?;
    match text.len() > most {
        true => Err(wrong(format!(
            "has more than {most} bytes: write a shorter one"
        ))),
        false => Ok(text),
    }
}

/// The length of the longest key that is read from the standard input, in bytes.
const MAX_KEY_BYTES: u64 = 4_096;

/// Returns an existing key: the argument, or the standard input if the argument is `-`, so that the
/// key shows in no list of processes and no shell history.
pub(crate) fn read_key(argument: Option<String>) -> Result<Option<String>, Error> {
    match argument.as_deref() {
        Some("-") => {
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                eprintln!("tallygate: reading the key from the standard input, end with Ctrl-D");
            }
            let mut text = String::new();
            stdin
                .take(MAX_KEY_BYTES)
                .read_to_string(&mut text)
                .map_err(|error| {
                    Error::Usage(format!(
                        "the key cannot be read from the standard input: {}",
                        in_words(&error)
                    ))
                })?;
            let key = text.trim();
            if key.is_empty() {
                return Err(Error::Usage(
                    "there is no key on the standard input".to_owned(),
                ));
            }
            Ok(Some(key.to_owned()))
        }
        _ => Ok(argument),
    }
}
