//! Webhooks: events are signed and posted to their receivers, once for all protocols.
//!
//! The store keeps what happened and for whom it waits ([`store::WebhookStore`]). Of the gates on
//! one store one delivers, the one that holds the lease; if it dies, another goes on. An event is
//! delivered at least once, with the same id each time; those of one license and source in their
//! order.
//!
//! - `secret`, `sign`, `body`, `message`: what a receiver gets, in the form of its protocol.
//! - `target`, `addresses`, `resolve`, `client`: where it goes, and where it may not.
//! - `schedule`: when a failed delivery is tried again.

#![forbid(unsafe_code)]

mod addresses;
mod body;
mod client;
mod message;
mod resolve;
mod schedule;
mod secret;
mod sign;
mod target;

pub use body::{Facts, name_of, told_in};
pub use client::{Answer, Client, ClientOptions};
pub use message::Message;
pub use resolve::{Resolve, SystemResolver};
pub use schedule::{Schedule, ScheduleInvalid};
pub use secret::{Secret, SecretInvalid};
pub use target::{Target, TargetInvalid, TargetRules};
