//! The ledger with a real journal, real files and the real store.

#[cfg(feature = "failpoints")]
mod crash;
mod flow;
mod recovery;
mod support;
mod verify;
