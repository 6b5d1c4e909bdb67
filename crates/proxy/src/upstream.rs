//! The upstreams of an app: which one a call goes to, where its name points, whether it is well.

mod answering;
mod backoff;
mod failures;
mod health;
mod idle;
mod member;
mod options;
mod pool;
mod socket;

pub use self::health::HealthCheck;
pub(crate) use self::idle::{IdleSockets, MAX_IDLE_SOCKETS};
pub use self::options::{Balance, PoolOptions, UpstreamAddress};
pub use self::pool::Pool;
