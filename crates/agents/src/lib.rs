//! AI agents at the gate: which there are, who is one, whether it is who it says, and how it pays.
//!
//! The crate has no I/O and no clock: requests, the answers of directories and of facilitators, and
//! the time come in, and decisions go out. What is decided about an agent is in [`model::agent`].

#![forbid(unsafe_code)]

pub mod current;
pub mod directory;
pub mod directory_url;
mod identify;
pub mod known;
pub mod payment;
pub mod recognize;
pub mod web_bot_auth;

pub use current::CurrentRecognizer;
pub use directory::Directories;
pub use directory_url::{DirectoryKind, DirectoryUrl, DirectoryUrlError};
pub use identify::identify;
pub use known::{Act, KnownAgent, KnownAgents, KnownAgentsError, Vat, Verifiable};
pub use recognize::Recognizer;
pub use web_bot_auth::{Judgement, Verified, Verifier};
