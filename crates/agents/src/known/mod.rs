//! The agents that are known, by a file that ships with the gate or one of the same form.

mod read;

use std::collections::HashMap;

use model::agent::{AgentName, Operator, Purpose};
use model::word_enum;

pub use read::KnownAgentsError;

use crate::directory_url::DirectoryUrl;

/// An agent that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAgent {
    /// Who operates it.
    pub operator: Operator,
    /// Its name.
    pub agent: AgentName,
    /// For what it fetches.
    pub purpose: Purpose,
    /// The https page that says what it does.
    pub page: String,
    /// How it can be told from others who use its name.
    pub verifiable: Verifiable,
    /// The directory of the keys that it signs with: an origin, or the URL of a set of keys; `None`:
    /// it does not sign.
    pub directory: Option<DirectoryUrl>,
    /// The texts that stand in its user agent, 1 to [`KnownAgents::MAX_PATTERNS`].
    pub patterns: Vec<String>,
    /// Who it is, in the words of paywalls.net, and never a person.
    pub vat: Vat,
    /// How surely, in the words of paywalls.net.
    pub act: Act,
}

/// A set of agents: no two have the same name and operator, and no two the same pattern.
#[derive(Clone, Debug)]
pub struct KnownAgents {
    agents: Vec<KnownAgent>,
    by_name: HashMap<(Operator, AgentName), usize>,
    by_directory: HashMap<DirectoryUrl, Vec<usize>>,
}

word_enum!(
    /// The way in which an agent can be told from others who use its name.
    Verifiable {
        /// It signs its requests (Web Bot Auth).
        Signature => "signature",
        /// Its operator publishes its addresses.
        Addresses => "addresses",
        /// Its addresses have names of its operator.
        Names => "names",
        /// There is none.
        None => "none",
    }
);

word_enum!(
    /// The kind of a visitor, in the words of paywalls.net (verified agent type).
    #[derive(Default)]
    Vat {
        /// A person.
        Human => "HUMAN",
        /// An AI agent, which one of a file is unless it says otherwise.
        #[default]
        AiAgent => "AI_AGENT",
        /// A fetcher of previews for what people share.
        Sharing => "SHARING",
        /// Anything else.
        Other => "OTHER",
    }
);

word_enum!(
    /// The certainty of a [`Vat`], in the words of paywalls.net.
    Act {
        /// High.
        High => "ACT-1",
        /// Medium.
        Medium => "ACT-2",
        /// Low.
        Low => "ACT-3",
    }
);

impl Act {
    /// Returns the certainty of an agent that can be told in this way from others who use its name,
    /// unless its file says otherwise.
    #[must_use]
    pub const fn by_default(verifiable: Verifiable) -> Self {
        match verifiable {
            Verifiable::Signature | Verifiable::Addresses | Verifiable::Names => Self::High,
            Verifiable::None => Self::Medium,
        }
    }
}

impl KnownAgents {
    /// The size of the largest file, in bytes.
    pub const MAX_FILE_BYTES: usize = 1_048_576;
    /// The largest number of agents.
    pub const MAX_AGENTS: usize = 2_000;
    /// The largest number of patterns of an agent.
    pub const MAX_PATTERNS: usize = 20;
    /// The largest number of patterns of all agents.
    pub const MAX_ALL_PATTERNS: usize = 4_000;
    /// The lengths of patterns, in bytes. Shorter ones stand in the user agents of people, too.
    pub const PATTERN_BYTES: std::ops::RangeInclusive<usize> = 3..=64;
    /// The name of the shipped file in messages.
    const SHIPPED_FILE: &str = "known-agents.toml";
    const SHIPPED: &str = include_str!("../../known-agents.toml");

    /// Returns the agents that ship with the gate.
    ///
    /// # Panics
    /// Never: a test reads the file.
    #[must_use]
    pub fn shipped() -> Self {
        Self::read(Self::SHIPPED_FILE, Self::SHIPPED).expect("the shipped file is valid")
    }

    /// Reads the text of a file of the form of the shipped one; `file` is its name for messages.
    ///
    /// # Errors
    /// The first thing that is wrong, with file, line and field. Whoever has a set keeps it then.
    pub fn read(file: &str, text: &str) -> Result<Self, KnownAgentsError> {
        let agents = read::agents(file, text)?;
        let mut known = Self {
            agents,
            by_name: HashMap::new(),
            by_directory: HashMap::new(),
        };
        for (index, agent) in known.agents.iter().enumerate() {
            let name = (agent.operator.clone(), agent.agent.clone());
            known.by_name.insert(name, index);
            if let Some(directory) = &agent.directory {
                let all = known.by_directory.entry(directory.clone()).or_default();
                all.push(index);
            }
        }
        Ok(known)
    }

    /// Returns all, in the order of the file.
    #[must_use]
    pub fn all(&self) -> &[KnownAgent] {
        &self.agents
    }

    /// Returns an agent by its names.
    #[must_use]
    pub fn find(&self, operator: &Operator, agent: &AgentName) -> Option<&KnownAgent> {
        let name = (operator.clone(), agent.clone());
        self.by_name.get(&name).map(|index| &self.agents[*index])
    }

    /// Returns the agents that sign with the keys of a directory, in the order of the file.
    pub fn of_directory(&self, directory: &DirectoryUrl) -> impl Iterator<Item = &KnownAgent> {
        let indices = self.by_directory.get(directory).into_iter().flatten();
        indices.map(|index| &self.agents[*index])
    }
}
