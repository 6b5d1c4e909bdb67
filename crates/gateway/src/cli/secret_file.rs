//! Secrets that stand in files: as arguments they would show in lists of processes.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::system::in_words;

use crate::cli::Error;

/// The length of the longest file with a secret, in bytes.
const MAX_SECRET_FILE_BYTES: u64 = 16_384;
/// The length of the seed of a private key (Ed25519), in bytes.
const SEED_BYTES: usize = 32;

/// Returns a secret that stands in a file, `-` for the standard input, without the blanks around it.
/// `what` names it in messages.
pub(crate) fn read_secret_text(what: &str, path: &Path) -> Result<String, Error> {
    let bytes = read_secret_bytes(what, path)?;
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| Error::No(format!("{what}: the file is no text in UTF-8")))?;
    match text.trim() {
        "" => Err(Error::No(format!("{what}: the file is empty"))),
        text => Ok(text.to_owned()),
    }
}

/// Returns a private key that stands in a file, `-` for the standard input, as text: 32 bytes are
/// its seed, which becomes base64.
pub(crate) fn read_private_key(path: &Path) -> Result<String, Error> {
    const WHAT: &str = "the private key";
    let bytes = read_secret_bytes(WHAT, path)?;
    match bytes.len() {
        SEED_BYTES => Ok(STANDARD.encode(bytes)),
        _ => {
            let text = String::from_utf8(bytes).map_err(|_| {
                Error::No(format!(
                    "{WHAT}: the file has neither {SEED_BYTES} bytes nor text: DER becomes PEM by `openssl pkey -inform DER`"
                ))
            })?;
            Ok(text.trim().to_owned())
        }
    }
}

fn read_secret_bytes(what: &str, path: &Path) -> Result<Vec<u8>, Error> {
    let unreadable = |error: &std::io::Error| {
        let name = path.display();
        Error::No(format!(
            "{what}: {name} cannot be read: {}",
            in_words(error)
        ))
    };
    let reader: Box<dyn Read> = if path.as_os_str() == "-" {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            eprintln!("tallygate: reading {what} from the standard input, end with Ctrl-D");
        }
        Box::new(stdin)
    } else {
        Box::new(File::open(path).map_err(|error| unreadable(&error))?)
    };
    let mut bytes = Vec::new();
    let mut bounded = reader.take(MAX_SECRET_FILE_BYTES + 1);
    let read = bounded.read_to_end(&mut bytes);
    if read.map_err(|error| unreadable(&error))? as u64 > MAX_SECRET_FILE_BYTES {
        return Err(Error::No(format!(
            "{what}: the file has more than {MAX_SECRET_FILE_BYTES} bytes, so that it is another"
        )));
    }
    Ok(bytes)
}
