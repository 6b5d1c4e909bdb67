//! The servers, stores and raw connections of the tests.

use std::future::Future;
use std::time::Duration;

use store::postgres::Times;
use store::{Error, PostgresOptions, PostgresStore};
use tokio_postgres::{Client, NoTls};

/// A time far above the bound that every call keeps.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Returns the options for a URL, with the timeouts of the tests.
pub(crate) fn options(url: &str) -> PostgresOptions {
    let mut options = PostgresOptions::parse(url).expect("a valid URL");
    options.times = Times::Caller;
    options
}

pub(crate) async fn open(url: &str) -> PostgresStore {
    PostgresStore::open(options(url))
        .await
        .expect("the store opens")
}

/// Makes a connection beside the store's own.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connects");
    tokio::spawn(connection);
    client
}

pub(crate) async fn in_time<T>(call: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(DEADLINE, call).await;
    answer.expect("it is done in time")
}

/// Asks until the answer is the one that is waited for.
pub(crate) async fn wait_for<T, F: Future<Output = T>>(
    ask: impl Fn() -> F,
    is_it: impl Fn(&T) -> bool,
) -> T {
    in_time(async {
        loop {
            let answer = ask().await;
            if is_it(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

pub(crate) fn unavailable<T>(answer: &Result<T, Error>) -> bool {
    answer.as_ref().is_err_and(Error::is_unavailable)
}
