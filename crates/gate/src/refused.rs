//! A refusal on its way to the caller.

use std::sync::Arc;

use licensing::{EffectiveLimits, RateView};
use model::{CallId, Methods, Refusal};

use crate::app::App;

/// What the caller of a refused call is told.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The call.
    pub call_id: CallId,
    /// Seconds after which another try makes sense.
    pub retry_after: Option<u32>,
    /// What would work, where the refusal's own sentence does not say it.
    pub detail: Option<&'static str>,
    /// The methods by which the path is served, where the call's is none of them.
    pub allow: Option<Methods>,
    /// The app, where the call should have presented another credential.
    pub app: Option<Arc<App>>,
    /// The limits of the license, and where they stand, if they were looked at.
    pub rate: Option<(Arc<EffectiveLimits>, RateView)>,
}

impl Refused {
    /// Seconds after which to come back from a trouble of ours.
    pub(crate) const RETRY: u32 = 1;

    /// A refusal that says nothing but itself, and when to come back from a trouble of ours.
    #[must_use]
    pub fn new(refusal: Refusal, call_id: CallId) -> Self {
        let retry_after = refusal.is_ours().then_some(Self::RETRY);
        Self {
            refusal,
            call_id,
            retry_after,
            detail: None,
            allow: None,
            app: None,
            rate: None,
        }
    }
}
