//! Webhooks: events are signed and posted to their receivers, once for all protocols.
//!
//! The store keeps what happened and for whom it waits ([`store::WebhookStore`]). Of the gates on
//! one store one delivers, the one that holds the lease; if it dies, another goes on. An event is
//! delivered at least once, with the same id each time; those of one license and source in their
//! order.
//!
//! - `secret`, `sign`, `body`, `message`: what a receiver gets, in the form of its protocol.
//! - `client`: the post of it; [`outbound`] says where it goes, and where it may not.
//! - `schedule`: when a failed delivery is tried again.
//! - `board`: what is under way, and which receiver may get more. `deliver` is one try, `engine` the
//!   loop around them.
//! - `operations`: what people do with webhooks, in the name of an actor.

#![forbid(unsafe_code)]

mod board;
mod body;
mod client;
mod deliver;
mod engine;
mod error;
mod message;
mod operations;
mod outside;
mod receivers;
mod schedule;
mod secret;
mod sign;
mod webhooks;

pub use body::Facts;
pub use client::{Answer, Client};
pub use error::Error;
pub use message::Message;
pub use operations::{AuditedWebhooks, IssuedWebhook, WebhookRequest, WebhookUpdate};
pub use outside::{Licenses, Seal};
pub use schedule::{Schedule, ScheduleInvalid};
pub use secret::{Secret, SecretInvalid};
pub use webhooks::{Counts, Holder, Options, Parts, Webhooks};

#[doc(no_inline)]
pub use outbound::{ClientOptions, Resolve, SystemResolver, Target, TargetInvalid, TargetRules};
