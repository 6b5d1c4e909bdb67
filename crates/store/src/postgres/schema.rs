//! The schema: made, brought up to date, or refused.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::backend_error::{classify, describe};
use crate::error::Error;

/// The steps of the schema. Each brings it from the version of its index to the next one, in one
/// transaction. Steps only add, so that gates of the version before go on beside those that took
/// the step.
const STEPS: [&[&str]; 18] = [
    &[
        include_str!("schema/licenses_1.sql"),
        include_str!("schema/users_1.sql"),
        include_str!("schema/api_keys_1.sql"),
        include_str!("schema/ledger_1.sql"),
        include_str!("schema/functions_1.sql"),
        include_str!("schema/claims_1.sql"),
        include_str!("schema/tokens_1.sql"),
        include_str!("schema/sessions_1.sql"),
    ],
    &[include_str!("schema/change_times_2.sql")],
    &[include_str!("schema/token_lists_3.sql")],
    &[include_str!("schema/lease_rounds_4.sql")],
    &[include_str!("schema/standstill_5.sql")],
    &[include_str!("schema/accounts_6.sql")],
    &[include_str!("schema/sealed_keys_7.sql")],
    &[include_str!("schema/quarters_8.sql")],
    &[include_str!("schema/restored_balances_9.sql")],
    &[include_str!("schema/instance_numbers_10.sql")],
    &[include_str!("schema/held_elsewhere_11.sql")],
    &[include_str!("schema/webhooks_12.sql")],
    &[include_str!("schema/software_13.sql")],
    &[include_str!("schema/credits_14.sql")],
    &[include_str!("schema/quota_grants_15.sql")],
    &[include_str!("schema/upstreams_16.sql")],
    &[include_str!("schema/agents_17.sql")],
    &[include_str!("schema/turns_18.sql")],
];

/// Brings the schema up to date; of many gates that start at once, one does, and the others wait
/// for it.
///
/// # Errors
/// [`Error::NewerSchema`]; [`Error::Misconfigured`] if tables of another program are in the way, or
/// the user may not make tables.
pub(super) async fn bring_up(client: &Client, name: &str) -> Result<(), Error> {
    let known = u32::try_from(STEPS.len()).expect("there are few steps");
    if let Some(found) = version(client, name).await?
        && is_current(name, found, known)?
    {
        return Ok(());
    }
    let begin = "BEGIN; SET LOCAL statement_timeout = '15min'; SET LOCAL lock_timeout = '15min'; \
         SELECT pg_advisory_xact_lock(hashtextextended('tallygate schema ' || current_schema(), 0)); \
         CREATE TABLE IF NOT EXISTS tallygate_schema (version integer NOT NULL, since timestamptz NOT NULL DEFAULT now())";
    let run = async |sql: &str| {
        client
            .batch_execute(sql)
            .await
            .map_err(|error| failed(name, &error))
    };
    run(begin).await?;
    let found = version(client, name).await?.unwrap_or(0);
    if !is_current(name, found, known)? {
        for script in STEPS[found as usize..].iter().flat_map(|step| step.iter()) {
            run(script).await?;
        }
        run(&format!(
            "INSERT INTO tallygate_schema (version) VALUES ({known})"
        ))
        .await?;
        tracing::info!(
            store = name,
            from = found,
            to = known,
            "the schema was brought up to date"
        );
    }
    run("COMMIT").await
}

/// Refuses a user who may not read and write the tables that are there.
///
/// # Errors
/// [`Error::Misconfigured`].
pub(super) async fn check_rights(client: &Client, name: &str) -> Result<(), Error> {
    let scripts = STEPS.iter().flat_map(|step| step.iter());
    let created = scripts.flat_map(|script| script.lines());
    let created = created.filter_map(|line| line.strip_prefix("CREATE TABLE "));
    let own = created.filter_map(|rest| rest.split([' ', '(']).next());
    let own: Vec<&str> = own.chain(["tallygate_schema"]).collect();
    let sql = "SELECT string_agg(relname, ', ' ORDER BY relname), current_user::text FROM pg_class
        WHERE relnamespace = to_regnamespace(quote_ident(current_schema())) AND relkind IN ('r', 'p') AND relname = ANY ($1)
            AND NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
                AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))";
    let row = client.query_one(sql, &[&own]).await;
    let row = row.map_err(|error| classify(name, &error).error)?;
    let (lacking, user): (Option<String>, String) = (row.get(0), row.get(1));
    lacking.map_or(Ok(()), |tables| {
        Err(Error::Misconfigured(format!(
            "{name}: user `{user}` may not read and write all of the tables that are there ({tables}): name the user who made \
             them, or make this one their owner (`REASSIGN OWNED BY`)"
        )))
    })
}

/// Returns whether there is a schema of Tallygate, which this version can read.
///
/// # Errors
/// [`Error::NewerSchema`].
pub(super) async fn is_there(client: &Client, name: &str) -> Result<bool, Error> {
    let known = u32::try_from(STEPS.len()).expect("there are few steps");
    let found = version(client, name).await?;
    found.map_or(Ok(()), |found| is_current(name, found, known).map(drop))?;
    Ok(found.is_some_and(|found| found > 0))
}

/// Returns whether nothing is to be done.
fn is_current(name: &str, found: u32, known: u32) -> Result<bool, Error> {
    if found > known {
        return Err(Error::NewerSchema {
            path: name.to_owned(),
            found,
            known,
        });
    }
    Ok(found == known)
}

/// Returns the version of the schema; `None`: there is no schema of Tallygate.
async fn version(client: &Client, name: &str) -> Result<Option<u32>, Error> {
    let ask = async {
        let there = client
            .query_one("SELECT to_regclass('tallygate_schema') IS NOT NULL", &[])
            .await?;
        if !there.get::<_, bool>(0) {
            return Ok(None);
        }
        let row = client
            .query_one(
                "SELECT coalesce(max(version), 0) FROM tallygate_schema",
                &[],
            )
            .await?;
        Ok(Some(row.get::<_, i32>(0)))
    };
    let found = ask.await.map_err(|error| classify(name, &error).error)?;
    Ok(found.map(|version| u32::try_from(version).unwrap_or(u32::MAX)))
}

fn failed(name: &str, error: &tokio_postgres::Error) -> Error {
    let text = describe(error);
    match error.code() {
        Some(state) if *state == SqlState::INSUFFICIENT_PRIVILEGE => Error::Misconfigured(format!(
            "{name}: this user may not make tables: let it own the database or the schema ({text})"
        )),
        Some(state)
            if *state == SqlState::DUPLICATE_TABLE || *state == SqlState::DUPLICATE_FUNCTION =>
        {
            Error::Misconfigured(format!(
                "{name} holds tables of another program: give tallygate a database or a schema of its own ({text})"
            ))
        }
        _ => classify(name, error).error,
    }
}
