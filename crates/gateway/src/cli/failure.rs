//! The errors of requests to a gate, in words and with what helps.

use std::error::Error as StdError;
use std::io;

use rustls::{CertificateError, Error as TlsError};

use crate::cli::{Error, Target};

/// Returns the error of a request that has no answer.
pub(super) fn of(target: &Target, error: &reqwest::Error) -> Error {
    let name = target.describe();
    if let Some(tls) = find::<TlsError>(error) {
        return Error::Tls {
            target: name,
            reason: not_believed(tls),
        };
    }
    if error.is_connect() {
        let source = match find::<io::Error>(error) {
            _ if error.is_timeout() => io::ErrorKind::TimedOut.into(),
            Some(found) => copy(found),
            None => io::Error::other("the connection was not made"),
        };
        return match target.is_starting(&source) {
            true => Error::Starting(name),
            false => Error::NoGate {
                target: name,
                source,
            },
        };
    }
    match find::<hyper::Error>(error) {
        Some(found) if found.is_parse() => Error::NotAGate {
            target: name,
            reason: "what it sends is no HTTP".to_owned(),
        },
        _ => Error::Broken {
            target: name,
            reason: in_the_middle(error).to_owned(),
        },
    }
}

/// Returns how an answer ended that did not come to its end.
pub(super) fn in_the_middle(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "there was no answer in time"
    } else if find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
        "what it sends is no HTTP"
    } else {
        "it ended the connection before its answer was complete"
    }
}

/// Returns why there is no TLS session, and what helps.
fn not_believed(error: &TlsError) -> String {
    let TlsError::InvalidCertificate(why) = error else {
        return match error {
            TlsError::InvalidMessage(_) => {
                "it does not speak TLS there: write http:// if that is meant".to_owned()
            }
            other => format!("the handshake of TLS failed: {other}"),
        };
    };
    match why {
        // The last two: an authority of the same name is trusted, and has another key.
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its certificate is from nobody that is trusted here: name the file of its certificate authority with --ca-file"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name: write the one that it is for into TALLYGATE_URL"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: renew it there"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: compare the clocks of both hosts"
        }
        _ => "its certificate cannot be used: renew it there",
    }
    .to_owned()
}

/// Returns the first error of a kind among an error and its causes. What an [`io::Error`] holds is looked into, too, which
/// its own `source` leaves out.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

/// Returns an error with the same number of the operating system, or else of the same kind and with the same text.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
