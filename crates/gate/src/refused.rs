//! A refusal on its way to the caller.

use std::sync::Arc;

use licensing::{EffectiveLimits, RateView};
use model::{CallId, Methods, Refusal};

use crate::agents::AgentRefusal;
use crate::app::App;

/// A refusal with everything that the caller is told about it.
#[derive(Debug)]
pub struct Refused {
    /// The reason.
    pub refusal: Refusal,
    /// The identity of the call.
    pub call_id: CallId,
    /// Seconds after which another try makes sense; `None`: none does without a change.
    pub retry_after: Option<u32>,
    /// A sentence that says what would work, where the refusal's own does not.
    pub detail: Option<&'static str>,
    /// The methods by which the path is served; `None` unless the call's is none of them.
    pub allow: Option<Methods>,
    /// The app; `None` unless the call should have presented another credential.
    pub app: Option<Arc<App>>,
    /// What an agent is told; `None` for others.
    pub agent: Option<Box<AgentRefusal>>,
    /// The limits of the license and its tightest rate window, if they were looked at.
    pub rate: Option<(Arc<EffectiveLimits>, RateView)>,
}

impl Refused {
    /// Seconds after which to try again where the cause is ours.
    pub(crate) const RETRY_AFTER_SECONDS: u32 = 1;

    /// Returns a refusal without details. Where its cause is ours, the caller may come back after
    /// one second.
    #[must_use]
    pub fn new(refusal: Refusal, call_id: CallId) -> Self {
        let retry_after = refusal.is_ours().then_some(Self::RETRY_AFTER_SECONDS);
        Self {
            refusal,
            call_id,
            retry_after,
            detail: None,
            allow: None,
            app: None,
            agent: None,
            rate: None,
        }
    }
}
