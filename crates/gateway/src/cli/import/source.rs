//! The file of an import, which is read twice.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;

use model::system::in_words;

use crate::cli::Error;

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FileFormat {
    /// Comma-separated values with a header.
    Csv,
    /// An object of JSON on each line.
    Jsonl,
}

/// A file that can be read from its beginning again.
#[derive(Debug)]
pub(super) struct Source {
    /// The name of the file in messages.
    pub(super) name: String,
    file: File,
}

/// The mark that some programs write in front of UTF-8.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

impl Source {
    /// Opens a file; `-` is the standard input. What cannot be read twice, as a pipe, is copied to a
    /// temporary file first, which has no name and is gone with this process.
    ///
    /// # Errors
    /// The file cannot be read, or the copy cannot be written.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        if path.as_os_str() == "-" {
            let name = "standard input".to_owned();
            let file = copied(io::stdin().lock()).map_err(|error| unreadable(&name, &error))?;
            return Ok(Self { name, file });
        }
        let name = path.display().to_string();
        let opened = || {
            let file = File::open(path)?;
            let kind = file.metadata()?;
            match kind.is_file() || kind.is_dir() {
                true => Ok(file),
                false => copied(file),
            }
        };
        let file = opened().map_err(|error: io::Error| unreadable(&name, &error))?;
        Ok(Self { name, file })
    }

    /// Returns a reader from the beginning.
    pub(super) fn read(&mut self) -> Result<BufReader<File>, Error> {
        let mut again = || {
            self.file.rewind()?;
            self.file.try_clone()
        };
        let file = again().map_err(|error| unreadable(&self.name, &error))?;
        Ok(BufReader::with_capacity(64 << 10, file))
    }

    /// Returns the form of the file, by its first character.
    pub(super) fn format(&mut self) -> Result<FileFormat, Error> {
        let mut beginning = Vec::new();
        let mut reader = self.read()?.take(4_096);
        let read = reader.read_to_end(&mut beginning);
        read.map_err(|error| unreadable(&self.name, &error))?;
        let text = beginning.strip_prefix(BOM).unwrap_or(&beginning);
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
        Ok(match first {
            Some(b'{' | b'[') => FileFormat::Jsonl,
            _ => FileFormat::Csv,
        })
    }
}

fn copied(mut from: impl Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut from, &mut file)?;
    file.flush()?;
    Ok(file)
}

/// Returns the error for a file that cannot be read.
pub(super) fn unreadable(name: &str, error: &io::Error) -> Error {
    Error::No(format!("{name} cannot be read: {}", in_words(error)))
}
