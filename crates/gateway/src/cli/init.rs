//! `tallygate init`: a first configuration file, to be changed by hand.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use config::DEFAULT_FILE;
use model::system::in_words;

use super::EXIT_CONFIG;

/// Writes the first file to a path where there is none, and prints the next steps.
pub(crate) fn execute(path: &Path) -> ExitCode {
    match write(path, DEFAULT_FILE) {
        Ok(()) => {
            let shown = path.display();
            println!("wrote {shown}: every key at its default, a plan and an app to start from");
            println!(
                "put your API in place of `http://127.0.0.1:9000`, then see that the file is right and serve:"
            );
            let named = if path == Path::new(super::target::DEFAULT_CONFIG) {
                String::new()
            } else {
                format!(" --config {shown}")
            };
            println!("  tallygate{named} check\n  tallygate{named} run");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tallygate: {}: {}", path.display(), refusal(&error));
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

/// Writes the whole file or none: the beginning of one on a full disk would be taken for a file of
/// somebody's own.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written
}

fn refusal(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            "there is a file of this name, which is left as it is: name another one with `--config FILE`, or remove it first".to_owned()
        }
        io::ErrorKind::NotFound => "its folder does not exist: make it first".to_owned(),
        _ => in_words(error),
    }
}
