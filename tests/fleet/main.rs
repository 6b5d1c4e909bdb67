//! Several gates that share a PostgreSQL, and most of the time a Redis.

mod agents;
mod apimw;
mod authforge;
mod better_auth;
mod catch_up;
mod faults;
mod following;
mod gates;
mod limits;
mod new_keys;
#[cfg(feature = "object-store")]
mod objects;
mod once;
mod outage;
mod postgres;
mod redis;
mod verify;
mod webhooks;

#[path = "../support"]
mod support {
    pub(crate) mod apimw;
    pub(crate) mod better_auth;
    pub(crate) mod bounds;
    pub(crate) mod fleet;
}
