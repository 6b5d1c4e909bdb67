//! What an operator sees and does: configuration, command line, starts and stops, files, and what is noted of it.

mod agents;
mod audit_log;
mod bad_config;
mod command_words;
mod credits;
mod deploy;
mod https;
mod lifecycle;
mod moving_in;
mod open_files;
mod plain_http;
mod plans_gone;
mod secrets;
mod users_and_keys;
mod webhooks;

#[path = "../support"]
mod support {
    pub(crate) mod apimw;
}
