//! Headers of the internal listener, on which the control plane passes on calls by rpc: the app of
//! a call, the address of its caller, and the code of a refusal.
//!
//! Only processes that may open the listener's socket set the first two. They are stripped from
//! what callers send, like every header that only the gate may set.

use http::HeaderName;
use model::path::NormalPath;
use model::{AppName, Method, Mode};

use crate::apps::Resolved;
use crate::gate::{Gate, MISSPELLED_METHOD_DETAIL};
use crate::refused::Refused;
use crate::routed::Routed;
use crate::worker::Worker;

/// The header with the name of the app that a call is for.
pub const APP: HeaderName = HeaderName::from_static("tallygate-rpc-app");
/// The header with the address of the caller.
pub const CALLER: HeaderName = HeaderName::from_static("tallygate-rpc-caller");
/// The header with the code of the gate's refusal; on no answer of an upstream.
pub const REFUSAL: HeaderName = HeaderName::from_static("tallygate-rpc-refusal");
/// The name of the listener's socket in the gate's `data_dir`.
pub const SOCKET_NAME: &str = "rpc.sock";

impl Gate {
    /// Finds the route of a call that names its app. A path that can be read in two ways is
    /// refused, whatever the app declares.
    ///
    /// # Errors
    /// As [`Gate::route`].
    pub fn route_rpc(
        &self,
        worker: &Worker,
        app: &str,
        method: &str,
        raw_path: &[u8],
    ) -> Result<Routed, Refused> {
        if Method::is_misspelled(method) {
            return Err(self.refuse_malformed(worker, MISSPELLED_METHOD_DETAIL));
        }
        let method = Method::of(method);
        let resolved = match (app.parse::<AppName>(), NormalPath::parse(raw_path)) {
            (Err(_), _) => Resolved::NoApp,
            (Ok(_), Err(_)) => Resolved::Ambiguous(None),
            (Ok(app), Ok(path)) => {
                let catalogue = self.catalogue.load();
                catalogue.apps.resolve_named(&app, Some((method, &path)))
            }
        };
        Self::begin(worker, method, Mode::Rpc, resolved)
    }
}
