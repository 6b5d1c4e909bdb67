//! The refusal of an agent.

use agents::payment::crawler;
use agents::web_bot_auth::ACCEPT_SIGNATURE;
use model::agent::{AgentAnswer, AgentPrice, AgentReason};

use super::identify::Identified;
use super::rules::AgentRules;
use crawler::CrawlerError;

/// What an agent that is sent away is told beside the refusal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentRefusal {
    /// The reason of the decision; `None`: there was none.
    pub reason: Option<AgentReason>,
    /// Why its signature does not verify it; `None`: it does, or there is none.
    pub signature: Option<&'static str>,
    /// The site's own answer; `None`: the usual one.
    pub answer: Option<AgentAnswer>,
    /// Headers of the answer.
    pub headers: Vec<(&'static str, String)>,
}

const ACCEPT_SIGNATURE_HEADER: &str = "accept-signature";

impl AgentRefusal {
    /// Returns the refusal of an agent, which is asked for a signature where one counts and none
    /// holds.
    pub(super) fn new(identified: &Identified, rules: &AgentRules) -> Self {
        let asks =
            rules.web_bot_auth && !matches!(identified.judgement, agents::Judgement::Verified(_));
        Self {
            signature: identified.fault(),
            headers: asks
                .then(|| (ACCEPT_SIGNATURE_HEADER, ACCEPT_SIGNATURE.to_owned()))
                .into_iter()
                .collect(),
            ..Self::default()
        }
    }

    /// Names the price of the call.
    pub(super) fn price(&mut self, price: AgentPrice) {
        self.headers.push((crawler::PRICE, price.to_string()));
    }

    /// Says why an offer to pay does not count.
    pub(super) fn error(&mut self, error: CrawlerError) {
        self.headers.push((crawler::ERROR, error.to_string()));
    }
}
