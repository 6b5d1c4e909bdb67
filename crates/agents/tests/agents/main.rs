//! The tests of the crate from outside: one program, since each links the same crates again.

mod directory;
mod known;
mod mutated;
mod recognize;
mod support;
mod web_bot_auth;
mod x402;
