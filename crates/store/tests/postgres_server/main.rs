//! What can happen to a PostgreSQL store: races, deaths, pauses, strangers, and settings that are wrong.

mod changes;
mod deaths;
mod migrations;
mod races;
mod refusals;
mod support;
