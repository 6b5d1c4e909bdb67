//! The Redis tier beside the store of record: a cache of license snapshots, notices of changes and
//! the counts of limits that gates share.
//!
//! Nothing in it is an authority, and nothing in it makes a call wait. Every command has a time
//! limit. The first command that fails opens a circuit breaker; while it is open, every command
//! fails at once, and a task in the background tries to connect again, with growing, random pauses.
//! `licensing` judges what is read and trusts none of it.

#![forbid(unsafe_code)]

mod address;
mod cache;
mod circuit;
mod connector;
mod coordinator;
mod counts;
mod error;
mod link;
mod notifier;
mod options;
mod server;
mod supervisor;

pub use coordinator::Coordinator;
pub use error::Error;
pub use options::CoordinatorOptions;
