//! The servers and settings that are refused, each with a message that helps.

use std::sync::Arc;

use model::{Actor, AuditEntry, InstanceId, Limits, Timestamp};
use store::{
    AuditFilter, AuditStore, Error, LicenseStore, ManagementStore, PostgresOptions, PostgresStore,
    Store,
};
use store_conformance::fixtures::{balance_figures, hours, keep, lease, units};
use testkit::{PgBouncer, Postgres};

use crate::support::{connect, open, options};

async fn refused(url: &str) -> Error {
    let opened = PostgresStore::open(options(url)).await;
    let error = opened.expect_err("refused");
    // A table has the word in its name.
    let said = error.to_string().replace("webhook_secrets", "");
    assert!(!said.contains("secret"), "no password in {error}");
    error
}

async fn misconfigured(url: &str, what: &str) {
    let error = refused(url).await;
    assert!(matches!(error, Error::Misconfigured(_)), "{error:?}");
    assert!(error.to_string().contains(what), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_settings_are_named() {
    let server = Postgres::shared();
    let url = server.database();
    misconfigured(
        &url.replace(":secret@", ":wrong@"),
        "the password of user `tallygate` is wrong",
    )
    .await;
    misconfigured(
        &url.replace(":secret@", "@"),
        "user `tallygate` needs a password",
    )
    .await;
    misconfigured(&server.url("nowhere"), "there is no such database").await;
    misconfigured(&format!("{url}?sslmode=require"), "no TLS session").await;
    let roots = format!("{url}?sslmode=verify-full&sslrootcert=/does/not/exist");
    misconfigured(&roots, "/does/not/exist").await;
    misconfigured(
        &format!("{url}?options=-csearch_path%3Dmissing"),
        "search_path",
    )
    .await;
    misconfigured(
        &format!("{url}?options=-cno_such_setting%3D1"),
        "PostgreSQL 15 or newer is needed",
    )
    .await;
    let nobody = "postgres://u:secret@127.0.0.1:1/x";
    let error = refused(nobody).await;
    assert!(
        error.is_unavailable() && error.to_string().contains("127.0.0.1:1"),
        "{error}"
    );
    for (url, words) in [
        (nobody, "at 127.0.0.1:1: nobody listens there"),
        (
            "postgres://u@%2Fno%2Fsuch%2Ffolder/x",
            "there is no such file or folder",
        ),
        (
            "postgres://u@no-such-host.invalid/x",
            "there is no such host",
        ),
    ] {
        let error = refused(url).await.to_string();
        assert!(
            error.contains(words) && !error.contains("os error"),
            "{error}"
        );
    }
    misconfigured(&roots, "cannot be read: there is no such file").await;
    for wrong in [
        "http://db/x",
        "postgres://",
        "postgres://u@db/x?sslmode=maybe",
    ] {
        let error = PostgresOptions::parse(wrong).expect_err("refused");
        assert!(
            matches!(error, Error::Misconfigured(_)),
            "{wrong}: {error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_is_a_way_to_the_server_whatever_sslmode_says() {
    let server = Postgres::shared();
    for parameters in [
        "",
        "?sslmode=disable",
        "?sslmode=require",
        "?sslmode=verify-full",
    ] {
        let url = server.database();
        let name = url.rsplit('/').next().expect("a name");
        let store = open(&format!("{}{parameters}", server.socket_url(name))).await;
        assert_eq!(store.setting("nothing").await, Ok(None), "{parameters}");
    }
    misconfigured(&server.socket_url("nowhere"), "there is no such database").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_takes_sessions_apart_is_refused_by_name_and_one_that_keeps_them_serves() {
    let server = Postgres::shared();
    let url = server.database();
    let name = url.rsplit('/').next().expect("a name");
    for mode in ["transaction", "statement"] {
        let pooler = PgBouncer::before(&server, mode);
        misconfigured(
            &pooler.url(&server, name),
            "name the server itself, or a pool with `pool_mode = session`",
        )
        .await;
    }
    let pooler = PgBouncer::with_one_connection(&server, "transaction");
    misconfigured(&pooler.url(&server, name), "pool_mode = session").await;
    let pooler = PgBouncer::before(&server, "session");
    let store = open(&pooler.url(&server, name)).await;
    assert_eq!(store.setting("nothing").await, Ok(None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_rights_and_a_database_of_another_encoding_are_refused() {
    let server = Postgres::shared();
    let url = server.database();
    let name = url.rsplit('/').next().expect("a name");
    let _made = server.psql(name, "CREATE ROLE guest LOGIN PASSWORD 'guest'");
    misconfigured(
        &url.replace("tallygate:secret", "guest:guest"),
        "may not make tables",
    )
    .await;
    let _made = server.psql(
        "postgres",
        "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0",
    );
    misconfigured(&server.url("latin"), "encoding LATIN1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_rights_on_the_tables_that_are_there_is_refused_by_name() {
    let server = Postgres::shared();
    let url = server.database();
    let name = url.rsplit('/').next().expect("a name");
    drop(open(&url).await);
    let made = "CREATE ROLE reader LOGIN PASSWORD 'reader'; GRANT ALL ON SCHEMA public TO reader; \
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader";
    let _made = server.psql(name, made);
    let reader = url.replace("tallygate:secret", "reader:reader");
    misconfigured(
        &reader,
        "user `reader` may not read and write all of the tables",
    )
    .await;
    let named = store::postgres::named_at(options(&reader), hours(0)).await;
    assert!(matches!(named, Err(Error::Misconfigured(_))), "{named:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused_by_name_and_left_as_it_is() {
    let server = Postgres::shared();
    let url = server.schema();
    drop(open(&url).await);
    let raw = connect(&url).await;
    raw.batch_execute("INSERT INTO tallygate_schema (version) VALUES (99)")
        .await
        .expect("written");
    let error = refused(&url).await;
    let Error::NewerSchema { path, found, known } = &error else {
        panic!("{error:?}");
    };
    assert_eq!((*found, *known), (99, 18));
    assert!(path.contains("PostgreSQL database `postgres`"), "{path}");
    assert!(error.to_string().contains("use a newer tallygate"));
    let row = raw
        .query_one("SELECT max(version) FROM tallygate_schema", &[])
        .await
        .expect("answers");
    assert_eq!(row.get::<_, i32>(0), 99);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_of_the_audit_log_can_be_changed_deleted_or_replaced() {
    let server = Postgres::shared();
    let url = server.schema();
    let store = open(&url).await;
    let at = Timestamp::from_micros(1);
    let line = AuditEntry::new(&Actor::OPERATOR, at, "license.create", "lic_1");
    store.add_audit(vec![line.clone()]).await.expect("added");
    let raw = connect(&url).await;
    for sql in [
        "UPDATE audit SET who = 'gate'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "INSERT INTO audit SELECT * FROM audit ON CONFLICT (number) DO UPDATE SET who = 'gate'",
        "MERGE INTO audit a USING audit b ON a.id = b.id WHEN MATCHED THEN DELETE",
    ] {
        let refused = raw.batch_execute(sql).await.expect_err(sql);
        let why = refused.as_db_error().expect("the server refused").message();
        assert_eq!(why, "the audit log is never changed", "{sql}");
    }
    let lines = store.audit(AuditFilter::default(), 0, 9).await;
    let lines = lines.expect("answers");
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].number, &lines[0].entry), (1, &line));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_another_program_are_never_touched() {
    let server = Postgres::shared();
    let url = server.schema();
    let raw = connect(&url).await;
    raw.batch_execute("CREATE TABLE credentials (mine text); INSERT INTO credentials VALUES ('x')")
        .await
        .expect("made");
    let error = refused(&url).await;
    assert!(matches!(error, Error::Misconfigured(_)), "{error:?}");
    assert!(error.to_string().contains("another program"), "{error}");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()";
    let row = raw.query_one(tables, &[]).await.expect("answers");
    assert_eq!(row.get::<_, i64>(0), 1, "nothing was left there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_gates_may_open_a_new_store_at_once_and_all_see_what_one_writes() {
    let server = Postgres::shared();
    let url = server.schema();
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let url = url.clone();
        opening.spawn(async move { Arc::new(open(&url).await) });
    }
    let stores = opening.join_all().await;
    let license = keep(&*stores[0], units(16, None)).await;
    for store in &stores {
        let store: &dyn Store = &**store;
        let grant = lease(store, InstanceId::generate(), license, 2, hours(0)).await;
        assert_eq!(grant.units, 2);
    }
    for store in &stores {
        assert_eq!(
            balance_figures(&**store, license, hours(0)).await,
            [16, 0, 16, 0]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_and_believed_as_the_url_says() {
    let server = Postgres::start_with_tls();
    let url = server.database();
    let root = server.root_certificate();
    let root = root.to_str().expect("plain").replace('/', "%2F");
    let named = url.replace("127.0.0.1", "localhost");
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(
        server.psql("postgres", encrypted),
        "f",
        "a socket needs none"
    );
    let used = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
        WHERE s.ssl AND a.application_name = 'tallygate'";
    for good in [
        format!("{url}?sslmode=require"),
        format!("{named}?sslmode=verify-full&sslrootcert={root}"),
        format!("{named}?sslmode=verify-full&sslrootcert={root}&channel_binding=require"),
    ] {
        let store = open(&good).await;
        keep(&store, Limits::default()).await;
        assert_ne!(server.psql("postgres", used), "0");
        drop(store);
    }
    let store = open(&format!("{url}?sslmode=disable")).await;
    keep(&store, Limits::default()).await;
    let wrong_name = format!("{url}?sslmode=verify-full&sslrootcert={root}");
    misconfigured(&wrong_name, "no TLS session").await;
    assert!(
        store
            .license(keep(&store, Limits::default()).await)
            .await
            .is_ok()
    );
}
