//! The API over real sockets, with the real licensing, ledger, journal and store.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod access;
mod audit;
mod better_auth;
mod input;
mod keys;
mod ledger;
mod licenses;
mod once;
mod openapi;
mod protocols;
mod signing;
mod stamps;
mod support;
