//! Tests of the API over real sockets, with the real licensing, ledger, journal and store.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod access;
mod agents;
mod apimw;
mod app_software;
mod audit;
mod authforge;
mod better_auth;
mod bodies;
mod import;
mod input;
mod keys;
mod ledger;
mod licenses;
mod matrix;
mod once;
mod one_license;
mod openapi;
mod pages;
mod paywalls;
mod protocols;
mod secrets;
mod senseless;
mod signing;
mod stamps;
mod support;
mod throttle;
mod verify;
mod webhooks;
