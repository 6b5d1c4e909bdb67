//! The reasons why a request has no answer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use model::system::in_words;

/// The reason why a request has no answer. Blame: the receiver's, but for [`Failure::Ours`].
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The name of the host means nothing.
    #[error("the name `{0}` cannot be looked up: {1}")]
    Name(String, String),
    /// The name of the host has no address.
    #[error("`{0}` has no address")]
    NoAddress(String),
    /// No address of the host may be called.
    #[error("`{0}` has no address on the public internet")]
    Private(String),
    /// An address does not take the connection.
    #[error("{0} could not be connected: {1}")]
    Connect(SocketAddr, String),
    /// Nobody trusted vouches for the receiver, or it does not speak TLS.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// What came is no answer.
    #[error("{0}")]
    Http(&'static str),
    /// Nothing came in time.
    #[error("there was no answer within {0:?}")]
    Time(Duration),
    /// The request cannot be written. Blame: us.
    #[error("the request cannot be written: {0}")]
    Ours(String),
}

impl Failure {
    pub(crate) fn tls(error: &io::Error) -> Self {
        Self::Tls(tls_words(error))
    }

    pub(crate) fn http(error: &hyper::Error) -> Self {
        let words = if error.is_parse() || error.is_parse_too_large() {
            "the answer is not HTTP/1.1, or its head is too large"
        } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            "the receiver ended the connection without an answer"
        } else {
            "the connection broke off"
        };
        Self::Http(words)
    }
}

fn tls_words(error: &io::Error) -> String {
    use rustls::{CertificateError, Error};
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    let words = match inner {
        None => return in_words(error),
        Some(Error::InvalidCertificate(why)) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate of the receiver has expired"
            }
            CertificateError::UnknownIssuer => "nobody trusted made the receiver's certificate",
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate of the receiver is for another name"
            }
            _ => "the certificate of the receiver is not valid",
        },
        Some(_) => "the receiver speaks another protocol, or refuses the connection",
    };
    words.to_owned()
}
