//! The ledger with a real journal, real files and the real store.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap: its panic is its message"
)]

mod backlog;
mod flow;
mod follow;
mod payer;
mod recovery;
mod support;
mod told;
mod upgrade;
mod usage;
mod verify;
