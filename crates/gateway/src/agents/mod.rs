//! The wiring of AI agents: the list of those that are known, the policies, and the directories of
//! their keys.

mod directories;
mod list;

use std::sync::Arc;

use agents::CurrentRecognizer;
use config::{AgentAccess, AgentsOnFailure, Config};
use gate::{AgentRules, Agents, Policies};
use licensing::Licensing;
use model::agent::{AgentDefault, AgentPolicy, AgentTerms};
use model::{AccountName, Clock};

use crate::start_error::StartError;
pub(crate) use list::judge;

/// The policies of accounts, as licensing has them in memory. While the store is out of reach those
/// that were read last go on.
struct StoredPolicies(Arc<Licensing>);

impl Policies for StoredPolicies {
    fn policy(&self, account: &AccountName) -> Option<Arc<AgentPolicy>> {
        let policies = self.0.agent_policies_at_hand();
        policies.is_read().then(|| policies.shared(account))
    }
}

/// The agents of a gate: which are known, for all who ask, and what decides on their calls.
pub(crate) struct GateAgents {
    pub(crate) known: Arc<CurrentRecognizer>,
    /// `None`: no app decides on agents.
    pub(crate) deciding: Option<Arc<Agents>>,
}

impl GateAgents {
    /// Reads the file of known agents.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(crate) fn open(config: &Config, licensing: &Arc<Licensing>) -> Result<Self, StartError> {
        let known = Arc::new(CurrentRecognizer::default());
        if let Some(path) = &config.server.known_agents {
            known.replace(list::read(path).map_err(StartError::KnownAgents)?);
        }
        let decides = config.apps.iter().any(|app| app.agents.is_some());
        let policies = || StoredPolicies(licensing.clone());
        let deciding = decides.then(|| Arc::new(Agents::new(known.clone(), policies())));
        Ok(Self { known, deciding })
    }

    /// Returns the task that follows the file of known agents and fetches directories of keys, as
    /// far as there is something to do.
    ///
    /// # Errors
    /// TLS cannot be had.
    pub(crate) fn run(
        &self,
        config: &Config,
        clock: Arc<dyn Clock>,
    ) -> Result<impl Future<Output = ()> + use<>, StartError> {
        let signs = |app: &config::App| app.agents.is_some_and(|agents| agents.web_bot_auth);
        let fetching = match &self.deciding {
            Some(agents) if config.apps.iter().any(signs) => {
                Some(directories::Directories::new(config, agents, clock)?)
            }
            _ => None,
        };
        let path = config.server.known_agents.clone();
        let following =
            path.map(|path| list::follow(path, self.known.clone(), self.deciding.clone()));
        Ok(async move {
            let fetch = async {
                if let Some(fetching) = fetching {
                    fetching.run().await;
                }
            };
            let follow = async {
                if let Some(following) = following {
                    following.await;
                }
            };
            tokio::join!(fetch, follow);
        })
    }
}

/// Returns the rules of an app; `None`: it decides nothing about agents.
pub(crate) fn rules(app: &config::App, agents: Option<&Arc<Agents>>) -> Option<AgentRules> {
    Some(AgentRules {
        shared: agents?.clone(),
        terms: terms(app)?,
        web_bot_auth: app.agents?.web_bot_auth,
    })
}

/// Returns the terms of an app; `None`: it decides nothing about agents.
pub(crate) fn terms(app: &config::App) -> Option<AgentTerms> {
    let by_default = |access| match access {
        AgentAccess::Allow => AgentDefault::Allow,
        AgentAccess::Deny => AgentDefault::Deny,
    };
    let section = app.agents?;
    Some(AgentTerms {
        default: by_default(section.default),
        unknown: by_default(section.unknown),
        allows_on_failure: section.on_failure == AgentsOnFailure::Allow,
        instead_of_license: section.instead_of_license,
    })
}
