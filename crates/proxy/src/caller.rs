//! The caller: by address, and as the text of a header.

use http::HeaderValue;
use model::Address;

/// The caller: the other end of the connection, or by rpc the one that the control plane names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) address: Address,
    /// The address as text, made once for all calls.
    pub(crate) text: HeaderValue,
}

impl Caller {
    pub(crate) fn new(address: Address) -> Self {
        let text = HeaderValue::try_from(address.to_string());
        let text = text.expect("an address is plain ASCII");
        Self { address, text }
    }
}
