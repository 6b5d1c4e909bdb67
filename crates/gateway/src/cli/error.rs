//! The errors of a command, and their exit codes.

use std::io;
use std::process::ExitCode;

use api_types::ProblemBody;
use clap::error::{ContextKind, ContextValue};
use model::masked;
use model::system::in_words;

/// The reason for which a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The gate refused the request. Blame: as its problem says.
    #[error("{}", describe(.0))]
    Refused(Box<ProblemBody>),
    /// The gate refused the request, which the command says in its own words. Blame: as the text
    /// says.
    #[error("{0}")]
    No(String),
    /// An argument is wrong, as shows only when it is used. Blame: caller.
    #[error("{0}")]
    Usage(String),
    /// Nobody listens at the gate's address. Blame: caller, or the gate is down.
    #[error("{}", not_reached(target, source))]
    NoGate {
        /// The address.
        target: String,
        /// The error of connecting.
        source: io::Error,
    },
    /// The server's certificate is not trusted, or the server speaks no TLS. Blame: caller, or whoever keeps
    /// the certificate.
    #[error("no TLS session with {target}: {reason}")]
    Tls {
        /// The address.
        target: String,
        /// The reason, and what helps.
        reason: String,
    },
    /// The gate is starting and does not answer yet. Blame: nobody.
    #[error("the gate at {0} is starting: try again when it has started")]
    Starting(String),
    /// The configuration file cannot be used; it is named in the text. Blame: caller.
    #[error("{0}")]
    Config(String),
    /// The connection broke in the middle of an answer. Blame: the gate, or what is between.
    #[error("the gate at {target} broke off: {reason}")]
    Broken {
        /// The gate.
        target: String,
        /// The error.
        reason: String,
    },
    /// The server that answered is no gate, or one of another version. Blame: caller.
    #[error("what answers at {target} is not a tallygate of this version: {reason}")]
    NotAGate {
        /// The address of the server.
        target: String,
        /// The part of the answer that was not expected.
        reason: String,
    },
    /// Output could not be written. A reader that is gone is no error.
    #[error("cannot write the output: {}", in_words(.0))]
    Output(#[from] io::Error),
    /// The gate of the demo could not start. Blame: as the text says.
    #[error("{0}")]
    Start(String),
    /// The process could not get what it needs from the system.
    #[error("cannot start: {}", in_words(.0))]
    Runtime(#[source] io::Error),
}

/// The exit code of a command whose answer is no.
pub(crate) const EXIT_NO: u8 = 1;
/// The exit code of a wrong command line.
pub(crate) const EXIT_USAGE: u8 = 2;
/// The exit code if no gate is running (`EX_UNAVAILABLE`).
pub(crate) const EXIT_NO_GATE: u8 = 69;
/// The exit code of a wrong configuration (`EX_CONFIG`).
pub(crate) const EXIT_CONFIG: u8 = 78;

// === impl Error ===

impl Error {
    /// Prints the error as one line on stderr, and returns its exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if let Self::Output(error) = self
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return ExitCode::SUCCESS;
        }
        eprintln!("tallygate: {}", one_line(&self.to_string()));
        ExitCode::from(self.exit_code())
    }

    /// Returns whether the same command may succeed a little later, when the gate, its disk or its
    /// store is back.
    pub(crate) const fn may_pass(&self) -> bool {
        match self {
            Self::NoGate { .. } | Self::Starting(_) | Self::Broken { .. } => true,
            Self::Refused(problem) => problem.status == 503,
            _ => false,
        }
    }

    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(problem) if problem.status == 400 => EXIT_USAGE,
            Self::Usage(_) => EXIT_USAGE,
            Self::NoGate { .. } | Self::Starting(_) | Self::Tls { .. } => EXIT_NO_GATE,
            Self::Config(_) => EXIT_CONFIG,
            Self::Refused(_)
            | Self::No(_)
            | Self::Broken { .. }
            | Self::NotAGate { .. }
            | Self::Output(_)
            | Self::Start(_)
            | Self::Runtime(_) => EXIT_NO,
        }
    }
}

/// Returns the reason for which a gate was not reached, and what helps.
fn not_reached(target: &str, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            return format!(
                "the socket of a gate is at {target}, and this user may not open it: run this as the user that the gate runs as, or \
                 with TALLYGATE_URL and TALLYGATE_KEY"
            );
        }
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "start it with `tallygate run`, or name another one".to_owned()
        }
        _ => in_words(error),
    };
    format!("no gate is running at {target}: {why}")
}

/// Returns a problem as a sentence. The field is left out if the detail names it already.
fn describe(problem: &ProblemBody) -> String {
    match &problem.field {
        Some(field) if !problem.detail.contains(&format!("`{field}`")) => {
            format!("{field}: {}", problem.detail)
        }
        _ => problem.detail.clone(),
    }
}

/// Prints what is wrong with the arguments: help and version in full on stdout, all else as one
/// line on stderr.
pub(crate) fn report_arguments(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that is gone has seen enough.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            eprintln!("tallygate: a command is missing, see --help");
            ExitCode::from(EXIT_USAGE)
        }
        _ => {
            eprintln!("tallygate: {}", arguments_line(error));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Returns the essence of a parser's message, without its usage text.
fn arguments_line(error: &clap::Error) -> String {
    let mut message = error.to_string();
    // A text that was given for an id and is none may be a key, of whatever shape.
    if let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidValue)
        && message.contains("not a valid id")
        && !given.is_empty()
    {
        let shown = format!("'{}'", model::beginning(given));
        message = message.replace(&format!("'{given}'"), &shown);
    }
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let essence = message.split("\n\nUsage:").next().unwrap_or(message);
    let essence = essence
        .split("\n\nFor more information")
        .next()
        .unwrap_or(essence);
    one_line(essence)
}

/// Returns text on one line, without control characters for a terminal and without credentials.
pub(crate) fn one_line(text: &str) -> String {
    let clean: String = masked(text)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    fn problem(status: u16, field: Option<&str>, detail: &str) -> ProblemBody {
        ProblemBody {
            kind: "urn:x".to_owned(),
            title: "x".to_owned(),
            status,
            code: "x".to_owned(),
            detail: detail.to_owned(),
            field: field.map(str::to_owned),
        }
    }

    #[test]
    fn a_bad_argument_is_one_line() {
        for arguments in [
            &["tallygate", "license", "create"][..],
            &["tallygate", "license", "create", "--ap", "x"],
            &["tallygate", "usage", "--by", "colour"],
            &["tallygate", "lisence"],
            &["tallygate", "usage", "--from", "yesterday"],
            &["tallygate", "license", "show", "x\ny"],
        ] {
            let error = Cli::try_parse_from(arguments).expect_err("bad arguments");
            let line = arguments_line(&error);
            assert!(
                !line.contains('\n') && !line.contains("Usage") && line.len() > 10,
                "{line}"
            );
            assert!(!line.starts_with("error"), "{line}");
        }
    }

    #[test]
    fn a_key_in_the_place_of_an_argument_is_not_said_again() {
        use model::{Credential, KeyFormat, RefreshToken};
        let formats = [
            KeyFormat::Tallygate,
            KeyFormat::Uuid,
            KeyFormat::Apifew,
            KeyFormat::Authforge,
        ];
        let mut keys = formats.map(Credential::generate).to_vec();
        keys.push(Credential::generate_letters("pk_", 64));
        let mut keys: Vec<_> = keys.iter().map(|key| key.expose().to_owned()).collect();
        keys.push(RefreshToken::generate().expose().to_owned());
        for key in &keys {
            for arguments in [
                ["tallygate", "license", "show", key],
                ["tallygate", "key", "revoke", key],
                ["tallygate", "usage", "--license", key],
            ] {
                let error = Cli::try_parse_from(arguments).expect_err("no id");
                let line = arguments_line(&error);
                assert!(!line.contains(&key[..10]), "{line}");
            }
            for arguments in [
                &["tallygate", "license", "list", "--status", key][..],
                &["tallygate", "calls", "--from", key],
                &["tallygate", "status", key],
            ] {
                let error = Cli::try_parse_from(arguments).expect_err("no such value");
                let line = arguments_line(&error);
                let letters = key.len() == 19 && !key.bytes().any(|b| b.is_ascii_digit());
                assert!(letters || !line.contains(&key[..14]), "{line}");
            }
        }
        // A key that has no shape of its own, where an id belongs.
        let error = Cli::try_parse_from(["tallygate", "license", "show", "legacy-key-0001"]);
        let line = arguments_line(&error.expect_err("no id"));
        assert!(!line.contains("legacy-key"), "{line}");
    }

    #[test]
    fn exit_codes_tell_a_bad_argument_from_a_no() {
        assert_eq!(
            Error::Refused(Box::new(problem(400, None, "x"))).exit_code(),
            2
        );
        assert_eq!(
            Error::Refused(Box::new(problem(404, None, "x"))).exit_code(),
            1
        );
        assert_eq!(
            Error::Refused(Box::new(problem(503, None, "x"))).exit_code(),
            1
        );
    }

    #[test]
    fn a_problem_names_its_field_once() {
        assert_eq!(
            describe(&problem(400, Some("plan"), "no such plan")),
            "plan: no such plan"
        );
        assert_eq!(
            describe(&problem(400, Some("plan"), "`plan` is odd")),
            "`plan` is odd"
        );
    }
}
