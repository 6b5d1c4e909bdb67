//! The error of a request head that cannot be read in one way only.

use model::target::MalformedTarget;

/// The error of a head whose target, host, length or connection cannot be read in one way only: a
/// sentence that says what would work. It holds nothing that the caller sent.
#[derive(Debug)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl From<MalformedTarget> for Malformed {
    fn from(error: MalformedTarget) -> Self {
        Self(match error {
            MalformedTarget::NotAbsolute => {
                "begin the target with `/`, or with `http://` and a host"
            }
            MalformedTarget::Authority => {
                "name a host in the target, perhaps with a port, and no user"
            }
            MalformedTarget::Control => {
                "percent-encode blanks and control characters in the target"
            }
        })
    }
}
