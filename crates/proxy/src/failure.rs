//! The meaning of the framework's errors: whose doing one is, and the refusal that the caller gets.

use gate::UpstreamFailure;
use model::{Blame, Refusal};
use pingora::{Error, ErrorSource, ErrorType};

/// Returns an error of ours, which nobody outside can cause.
pub(crate) fn internal(what: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InternalError, what).into_in()
}

/// Returns whose doing an error is.
pub(crate) fn blame(error: &Error) -> Blame {
    match error.esource() {
        ErrorSource::Upstream => Blame::Upstream,
        ErrorSource::Downstream => Blame::Caller,
        ErrorSource::Internal | ErrorSource::Unset => Blame::Us,
    }
}

/// Returns whether a connection failed because of its address, so that the next call should take
/// another.
pub(crate) fn is_of_the_address(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::ConnectRefused
            | ErrorType::ConnectTimedout
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::TLSHandshakeTimedout
    )
}

/// Returns the kind of an upstream's failure, for the metrics.
pub(crate) fn kind_of(error: &Error) -> UpstreamFailure {
    if is_of_the_address(error) {
        return UpstreamFailure::Connect;
    }
    match failure(error) {
        Some(Refusal::UpstreamTimeout) => UpstreamFailure::Timeout,
        Some(Refusal::UpstreamInvalid) => UpstreamFailure::Invalid,
        _ => UpstreamFailure::Broken,
    }
}

/// Returns the refusal that a caller gets for an error; `None`: the caller is gone, or stalls.
pub(crate) fn failure(error: &Error) -> Option<Refusal> {
    let timed_out = matches!(
        error.etype(),
        ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::TLSHandshakeTimedout
    );
    match (error.esource(), error.etype()) {
        (ErrorSource::Upstream, _) if timed_out => Some(Refusal::UpstreamTimeout),
        (
            ErrorSource::Upstream,
            ErrorType::InvalidHTTPHeader
            | ErrorType::H1Error
            | ErrorType::H2Error
            | ErrorType::InvalidH2
            | ErrorType::HTTPStatus(_),
        ) => Some(Refusal::UpstreamInvalid),
        (ErrorSource::Upstream, _) => Some(Refusal::UpstreamUnreachable),
        (
            ErrorSource::Downstream,
            ErrorType::ConnectionClosed
            | ErrorType::ReadError
            | ErrorType::ReadTimedout
            | ErrorType::WriteError
            | ErrorType::WriteTimedout,
        ) => None,
        (ErrorSource::Downstream, _) => Some(Refusal::RequestMalformed),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Some(Refusal::GatewayError),
    }
}
