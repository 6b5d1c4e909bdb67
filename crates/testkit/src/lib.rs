//! The actors of tests that prove Tallygate from outside: a scripted upstream that keeps a list of
//! the requests it served, the real binary in a process group of its own, a client that speaks
//! bytes, load, and the audit that compares them all.
//!
//! The crate knows no crate of the product. A test sees what an operator, a caller or an upstream
//! can see: sockets, the command line, files and metrics. Tests are plain blocking functions; only
//! the upstream runs on tokio, in a thread of its own.
//!
//! A helper that cannot do its work panics with what it saw, which is the message that a test
//! needs.

#![forbid(unsafe_code)]

pub mod apifew;
pub mod audit;
pub mod balancer;
pub mod client;
pub mod clock;
pub mod config;
pub mod eventually;
pub mod fault_proxy;
pub mod gateway;
pub mod load;
mod namespace;
pub mod object_server;
pub mod own_hosts_file;
pub mod own_network;
pub mod pgbouncer;
pub mod port;
pub mod postgres;
pub mod receiver;
pub mod redis;
mod script;
pub mod site;
pub mod small_disk;
pub mod upstream;
pub mod wire;

pub use apifew::Apifew;
pub use audit::Audit;
pub use balancer::Balancer;
pub use client::{Connection, Request, Response};
pub use config::{App, Config};
pub use fault_proxy::{FaultProxy, Loss};
pub use gateway::{Cli, CliOutput, Gateway, License};
pub use load::{Load, ObservedCall};
pub use object_server::ObjectServer;
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use receiver::{Manner, Received, Receiver};
pub use redis::{Redis, RedisCluster, RedisSentinel, RedisVersionStub};
pub use script::raw_answer;
pub use site::Site;
pub use upstream::{ServedRequest, Upstream};

/// Returns the path of the real binary, built by cargo for the test that calls this.
///
/// It works in integration tests of the package that declares the binary, and nowhere else.
#[macro_export]
macro_rules! binary {
    () => {
        env!("CARGO_BIN_EXE_tallygate")
    };
}

/// Returns the interpreter of the Python environment that `make test` sets up.
#[must_use]
pub fn python() -> String {
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/venv/bin/python");
    std::env::var("TALLYGATE_TEST_PYTHON").unwrap_or_else(|_| installed.to_owned())
}
