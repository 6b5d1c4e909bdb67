//! The keyring of a store, the copies of keys that it seals, and settings that are numbered.

mod copies;
mod keyring;
mod numbered;

pub(crate) use copies::Copier;
pub use copies::{KeyCopies, LicenseKeys};
pub(crate) use keyring::{Key, random};
pub use keyring::{Keyring, KeyringSecret};
pub(crate) use numbered::since;
