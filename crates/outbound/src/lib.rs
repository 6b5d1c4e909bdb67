//! Requests to servers that strangers name: to whom they may go, and a client that goes nowhere
//! else.
//!
//! A URL is a stranger's text, and the gate stands inside a network. [`Target`] reads the URL,
//! [`TargetRules`] say what an operator allows, and [`Client`] connects to the very address that it
//! judged. It follows no redirection and asks no proxy.

#![forbid(unsafe_code)]

mod addresses;
mod client;
mod failure;
mod reply;
mod resolve;
mod target;

pub use client::{Client, ClientOptions, Outgoing};
pub use failure::Failure;
pub use reply::{Body, Reply};
pub use resolve::{Resolve, SystemResolver};
pub use target::{Target, TargetInvalid, TargetRules};
