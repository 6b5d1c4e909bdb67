//! The rules that need the state within a transaction: what a change means, as pure functions that
//! know no database. Each is said here once, whichever engine holds the state.
//!
//! - [`numbers`]: the numbers that columns hold for statuses and states.
//! - [`license`]: which changes of a license have an effect, and when a balance begins a new epoch.
//! - [`events`]: which events a change of a license is.
//! - [`quota_notice`]: when somebody is told that a quota goes to its end.
//! - [`devices`]: which slot a device finds at a license.
//! - [`refill`]: what a balance is at a time, with the refill that fell due.
//! - [`family`]: what the use of a refresh token means for its family, and when its tokens end.
//! - [`seal`]: whether a range of records may be sealed where its lane stands.
//! - [`windows`]: whether a call fits into the windows of its key.

pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod family;
pub(crate) mod license;
pub(crate) mod numbers;
pub(crate) mod quota_notice;
pub(crate) mod refill;
pub(crate) mod seal;
pub(crate) mod windows;
