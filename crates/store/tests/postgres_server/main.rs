//! The PostgreSQL store under races, deaths, pauses, foreign tables, and wrong settings.

mod changes;
mod deaths;
mod migrations;
mod races;
mod refusals;
mod support;
mod webhooks;
