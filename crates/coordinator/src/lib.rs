//! Redis beside the store of record: the cache of snapshots and the bell of changes that gates share.
//!
//! Nothing here is an authority and nothing here may make a call wait: every command has a bound, the first one that
//! fails opens a circuit, and while it is open everything fails at once; a task in the background tries again, with
//! growing, random pauses. What is read is judged by `licensing`, which trusts nothing of it.

#![forbid(unsafe_code)]

mod address;
mod bell;
mod cache;
mod circuit;
mod coordinator;
mod error;
mod link;
mod options;
mod server;
mod supervisor;
mod tally;

pub use coordinator::Coordinator;
pub use error::Error;
pub use options::CoordinatorOptions;
