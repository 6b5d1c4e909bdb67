//! The protocols and the native API, as clients written for them use a gate.

mod apifew_keys;
mod apifew_license;
mod apifew_rpc;
mod apifew_stamps;
mod apifew_tokens;
mod apimw_gate;
mod apimw_limits;
mod apimw_tokens;
mod authforge_gate;
mod authforge_sdk;
mod better_auth_client;
mod better_auth_keys;
mod better_auth_shapes;
mod better_auth_verify;
mod openapi;
mod paywalls_client;

#[path = "../support"]
mod support {
    pub(crate) mod apimw;
    pub(crate) mod better_auth;
}
