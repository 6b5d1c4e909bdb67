//! The ledger with fail points: a process dies, or its store fails, at every step.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap: its panic is its message"
)]

mod catch_up;
mod crash;
mod idle;
mod slow_disk;
#[path = "../ledger/support.rs"]
mod support;
