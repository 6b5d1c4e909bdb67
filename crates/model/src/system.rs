//! Errors of the operating system, in the words of this program.

use std::io;

/// Returns the reason of a system error for people: what is wrong, without a number, and without
/// the system's own text where there are words of ours.
#[must_use]
pub fn in_words(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    /// The Linux error numbers for no free file descriptor, in this process (EMFILE) and in the
    /// whole system (ENFILE).
    const TOO_MANY_FILES: [i32; 2] = [24, 23];
    let words = match error.kind() {
        Kind::NotFound => "there is no such file or folder",
        Kind::PermissionDenied => "the user that this runs as may not do that",
        Kind::AlreadyExists => "it exists already",
        Kind::StorageFull => "the disk is full, make room on it",
        Kind::QuotaExceeded => "what this user may store is used up, make room",
        Kind::ReadOnlyFilesystem => "its file system can only be read",
        Kind::IsADirectory => "it is a folder, not a file",
        Kind::NotADirectory => "a part of its path is a file, not a folder",
        Kind::InvalidFilename => "no file can have that name",
        Kind::AddrInUse => "another program has that address, stop it or name another one",
        Kind::AddrNotAvailable => "this host has no such address",
        Kind::ConnectionRefused => "nobody listens there",
        Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::BrokenPipe
        | Kind::UnexpectedEof => "the other side ended the connection",
        Kind::HostUnreachable | Kind::NetworkUnreachable => "no way leads there from this host",
        Kind::TimedOut => "there was no answer in time",
        Kind::OutOfMemory => "there is no memory left",
        _ if error
            .raw_os_error()
            .is_some_and(|code| TOO_MANY_FILES.contains(&code)) =>
        {
            "too many files are open, raise the limit (`ulimit -n`)"
        }
        _ => return others(error),
    };
    words.to_owned()
}

/// Returns the text for an error that is too rare for words of its own.
fn others(error: &io::Error) -> String {
    let text = error.to_string();
    // The resolver's error has no kind of its own.
    if text.starts_with("failed to lookup address information") {
        return "there is no such host, or its name cannot be looked up".to_owned();
    }
    match text.find(" (os error ") {
        Some(end) => format!("the system says: {}", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_has_words_and_no_number() {
        for (code, words) in [
            (2, "there is no such file or folder"),
            (13, "the user that this runs as may not do that"),
            (17, "it exists already"),
            (24, "too many files are open, raise the limit (`ulimit -n`)"),
            (28, "the disk is full, make room on it"),
            (
                98,
                "another program has that address, stop it or name another one",
            ),
            (111, "nobody listens there"),
        ] {
            assert_eq!(in_words(&io::Error::from_raw_os_error(code)), words);
        }
        let unknown = "failed to lookup address information: Name or service not known";
        assert!(in_words(&io::Error::other(unknown)).starts_with("there is no such host"));
        let seldom = in_words(&io::Error::from_raw_os_error(40));
        assert!(
            seldom.starts_with("the system says: ") && !seldom.contains("os error"),
            "{seldom}"
        );
        assert_eq!(in_words(&io::Error::other("ours")), "ours");
    }
}
