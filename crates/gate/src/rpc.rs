//! What is said on the internal listener besides HTTP: which app a call is for, who made it, and whether the gate refused
//! it.
//!
//! Only who may open the listener's socket says the first two; from callers they are stripped like everything that pretends
//! to be the gate's.

use http::HeaderName;
use model::path::NormalPath;
use model::{AppName, Method, Mode};

use crate::admit::{Gate, MISSPELLED, Routed};
use crate::app::Resolved;
use crate::refused::Refused;
use crate::worker::Worker;

/// Name of the app that a call is for.
pub const APP: HeaderName = HeaderName::from_static("tallygate-rpc-app");
/// The address of who made the call.
pub const CALLER: HeaderName = HeaderName::from_static("tallygate-rpc-caller");
/// The code of the gate's refusal; on no answer of an upstream.
pub const REFUSAL: HeaderName = HeaderName::from_static("tallygate-rpc-refusal");
/// Name of the listener's socket in the gate's `data_dir`.
pub const SOCKET_NAME: &str = "rpc.sock";

impl Gate {
    /// Finds the route of a call that names its app. Whatever the app declares, a path that could be read in two ways is
    /// refused.
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
            return Err(self.refuse_malformed(worker, MISSPELLED));
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
        Self::routed(worker, method, Mode::Rpc, resolved)
    }
}
