//! Sealed files on an object store: the bytes that it keeps, and its answers to a wrong setting.

use std::sync::Arc;

use store::{
    Error, ObjectFiles, PostgresOptions, PostgresStore, SealedFiles, SqliteOptions, SqliteStore,
    Store,
};
use store_conformance::fixtures::hours;
use store_conformance::seals::kept_files_come_back_as_they_were;
use tempfile::TempDir;
use testkit::{ObjectServer, Postgres};

fn sqlite(folder: &TempDir) -> Arc<dyn Store> {
    let options = SqliteOptions::new(folder.path());
    Arc::new(SqliteStore::open(options).expect("the store opens"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_on_an_object_store_come_back_as_they_were_until_they_are_removed() {
    let (server, folder) = (ObjectServer::start(), TempDir::new().expect("a folder"));
    let store = sqlite(&folder);
    let url = server.url("north/ledger");
    let open = || ObjectFiles::open(&url, server.environment(), store.clone());
    let files = open().await.expect("it opens");
    let (name, content) = kept_files_come_back_as_they_were(&*store, &files).await;
    assert!(server.listing().contains(&format!("north/ledger/{name}")));

    let files = open().await.expect("it opens again");
    assert_eq!(files.content(&name).await, Ok(Some(content)));
    assert_eq!(files.content_names().await, Ok(vec![name.clone()]));
    // Another folder of the same bucket has nothing to do with it.
    let elsewhere =
        ObjectFiles::open(&server.url("north"), server.environment(), store.clone()).await;
    let elsewhere = elsewhere.expect("it opens");
    assert_eq!(elsewhere.content(&name).await, Ok(None));

    store.mark_removed(&name, hours(8)).await.expect("noted");
    for _ in 0..2 {
        files.remove_content(&name).await.expect("removed");
    }
    assert_eq!(files.content(&name).await, Ok(None));
    assert_eq!(files.content_names().await, Ok(Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_bucket_and_a_wrong_url_are_told_at_the_start() {
    let (server, folder) = (ObjectServer::start(), TempDir::new().expect("a folder"));
    let store = sqlite(&folder);
    for url in [
        "s3://nobodys-bucket/ledger",
        "s3://",
        "ftp://host/ledger",
        "ledger",
    ] {
        let opened = ObjectFiles::open(url, server.environment(), store.clone()).await;
        let error = opened.expect_err(url);
        assert!(matches!(error, Error::Misconfigured(_)), "{url}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_sealed_before_there_was_an_object_store_are_read_from_the_database() {
    let (objects, server) = (ObjectServer::start(), Postgres::shared());
    let options = PostgresOptions::parse(&server.schema()).expect("a valid URL");
    let opened = PostgresStore::open(options).await.expect("the store opens");
    let store: Arc<dyn Store> = Arc::new(opened);
    let rows = store.sealed_files().expect("it keeps files");
    let (name, content) = kept_files_come_back_as_they_were(&*store, rows).await;
    let url = objects.url("ledger");
    let files = ObjectFiles::open(&url, objects.environment(), store.clone()).await;
    let files = files.expect("it opens");
    assert_eq!(files.content(&name).await, Ok(Some(content)));
    let newer = vec![4, 5, 6];
    let put = files.put_content(&name, newer.clone());
    put.await.expect("kept");
    assert_eq!(files.content(&name).await, Ok(Some(newer)));
}
