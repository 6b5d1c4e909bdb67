//! A refusal on its way to the caller.

use std::sync::Arc;

use licensing::{EffectiveLimits, RateView};
use model::{CallId, Refusal};

/// What the caller of a refused call is told.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The call.
    pub call_id: CallId,
    /// Seconds after which another try makes sense.
    pub retry_after: Option<u32>,
    /// The limits of the license, and where they stand, if they were looked at.
    pub rate: Option<(Arc<EffectiveLimits>, RateView)>,
}

impl Refused {
    /// Seconds after which to come back from a trouble of ours.
    pub(crate) const RETRY: u32 = 1;

    pub(crate) fn new(refusal: Refusal, call_id: CallId) -> Self {
        let retry_after = refusal.is_ours().then_some(Self::RETRY);
        Self {
            refusal,
            call_id,
            retry_after,
            rate: None,
        }
    }
}
