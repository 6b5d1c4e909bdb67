//! The ledger with fail points: what is under way dies, or its store fails, at every step.

#![allow(
    clippy::unwrap_used,
    reason = "a test may unwrap: its panic is its message"
)]

mod catch_up;
mod crash;
mod slow_disk;
#[path = "../books/support.rs"]
mod support;
