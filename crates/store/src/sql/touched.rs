//! The licenses whose credentials change within a transaction, which get a new version at its end,
//! so that gates read them again.

use std::collections::BTreeSet;

use model::{KeyHash, LicenseId, ManagementKeyId, Timestamp};

use super::{Engine, Outcome, Twins, Value, sql, values};

/// The licenses whose credentials changed, and the credential that was added.
#[derive(Default)]
pub(super) struct Touched<'a> {
    pub(super) licenses: BTreeSet<LicenseId>,
    pub(super) added: Option<(LicenseId, &'a KeyHash)>,
}

impl Touched<'_> {
    /// Writes the changes down, once, as the last step of a transaction but for audit lines.
    pub(super) async fn record<S: Twins>(self, sql: &S) -> Outcome<(), S> {
        let added = self.added.map(|(license, hash)| (license, Some(hash)));
        let known = self.added.map(|(license, _)| license);
        let others = self.licenses.into_iter();
        let others = others.filter(|license| known != Some(*license));
        let changes: Vec<_> = added
            .into_iter()
            .chain(others.map(|license| (license, None)))
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        if S::ENGINE == Engine::Postgres {
            // Before the counter of changes, which is locked last.
            let ids = changes.iter().map(|(license, _)| license.as_u128());
            let statement = sql!(
                "SELECT 1 FROM licenses WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"
            );
            sql.execute(statement, &[Value::Ids(ids.collect())]).await?;
        }
        sql.record_changes(&changes).await.map(drop)
    }
}

/// Ends the access tokens of a key's sessions with the key itself, which is locked.
pub(super) async fn cut_key<S: Twins>(
    sql: &S,
    key: ManagementKeyId,
    at: Timestamp,
) -> Outcome<(), S> {
    let statement = sql!(
        "UPDATE credentials SET expires_at = $2 WHERE expires_at > $2
        AND session_id IN (SELECT id FROM sessions WHERE key_id = $1)"
    );
    sql.execute(statement, &values![key, at]).await?;
    touch_licenses(sql, key).await
}

/// Gives the licenses of a key's sessions a new version: gates read their tokens again.
pub(super) async fn touch_licenses<S: Twins>(sql: &S, key: ManagementKeyId) -> Outcome<(), S> {
    let statement = sql!(
        "SELECT DISTINCT license_id FROM sessions WHERE key_id = $1 AND license_id IS NOT NULL"
    );
    let found = sql.query(statement, &values![key]).await?;
    let touched = Touched {
        licenses: found
            .iter()
            .map(|row| row.get(0))
            .collect::<Result<_, _>>()?,
        added: None,
    };
    touched.record(sql).await
}
