//! The keyring of a store, the copies of keys that it seals, and settings that are numbered.

mod copies;
mod keyring;
mod numbered;
mod sealer;

pub(crate) use copies::Copier;
pub use copies::{KeyCopies, LicenseKeys};
pub(crate) use keyring::{Key, random};
pub use keyring::{Keyring, KeyringSecret};
pub(crate) use numbered::since;
pub use sealer::Sealer;
