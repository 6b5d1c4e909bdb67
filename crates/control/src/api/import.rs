//! `/licenses/import`: licenses that were made elsewhere.

use api_types::{
    ImportLicenses, ImportProblem, ImportResult, ImportRow, ImportStatus, ImportedLicense, List,
    Scope,
};
use axum::Json as Answer;
use licensing::{ExistingKey, ImportRequest, ImportedRow, RowToImport};
use model::{Credential, KeyFormat, LicenseStatus};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::document::{Needs, Operation, Routes};
use crate::http::body::read_part;
use crate::http::caller::{Audited, Caller};
use crate::http::extract::{BULK_BODY_LIMIT, Json};
use crate::http::problem::Problem;

/// Adds the request.
pub(super) fn routes(routes: Routes) -> Routes {
    routes.post(
        "/licenses/import",
        import,
        Operation::new(
            "importLicenses",
            "Take over licenses that were made elsewhere, each wholly or not at all",
            Needs::Scope(Scope::WriteLicenses),
        )
        .body::<ImportLicenses>()
        .answers::<List<ImportedLicense>>(200),
    )
}

/// Takes over licenses. A row is read on its own, so that one that cannot be read is told of like
/// one that breaks a rule.
async fn import(
    caller: Caller,
    Audited(acting): Audited,
    Json(request): Json<ImportLicenses<Box<RawValue>>, BULK_BODY_LIMIT>,
) -> Result<Answer<List<ImportedLicense>>, Problem> {
    const MOST: usize = ImportRequest::MAX_ROWS;
    if !(1..=MOST).contains(&request.rows.len()) {
        return Err(Problem::field("rows", format!("send 1 to {MOST} of them")));
    }
    if caller.app().is_some_and(|own| *own != request.app) {
        return Err(licensing::Error::AppUnknown(request.app).into());
    }
    let format = request
        .key_format
        .as_deref()
        .map(super::licenses::key_format);
    let format = format.transpose()?;
    let (mut rows, mut readable) = (Vec::with_capacity(request.rows.len()), Vec::new());
    for row in request.rows {
        rows.push(match row_to_import(&row, format) {
            Ok(row) => {
                readable.push(row);
                None
            }
            Err(problem) => Some(bad(&problem)),
        });
    }
    let request = ImportRequest {
        app: request.app,
        account: caller.account().cloned(),
        rows: readable,
        // AuthForge's list shows keys, of those that come from there, too.
        keeps_copies: format == Some(KeyFormat::Authforge),
        dry_run: request.dry_run,
    };
    let mut imported = acting.import(&request).await?.into_iter();
    let mut next = || imported.next().map(answered);
    let rows = rows.into_iter().map(|row| row.or_else(&mut next));
    let rows: Option<Vec<_>> = rows.collect();
    let rows = rows.ok_or_else(|| Problem::internal(&"a row of an import has no result"))?;
    Ok(Answer(List::whole(rows)))
}

/// Returns a row as the operation takes it.
fn row_to_import(row: &RawValue, format: Option<KeyFormat>) -> Result<RowToImport, Problem> {
    if let Some(name) = model::repeated_member(row.get().as_bytes()) {
        let detail = "is there twice: leave one of them out";
        return Err(Problem::field(&name, detail));
    }
    let row: Value = serde_json::from_str(row.get()).map_err(|_| {
        let detail = "has a number that is too large, or is nested too deeply";
        Problem::field("row", detail)
    })?;
    if !row.is_object() {
        let detail = "is not an object: send one such as {\"key\": \"…\"}";
        return Err(Problem::field("row", detail));
    }
    let row: ImportRow = read_part(row)?;
    let key = match (row.key, row.key_sha256) {
        (Some(key), None) => ExistingKey::Text(existing_key(&key, format)?),
        (None, Some(digest)) => ExistingKey::Digest(digest),
        (None, None) => {
            let detail = "is missing: send it, or its SHA-256 as `key_sha256`";
            return Err(Problem::field("key", detail));
        }
        (Some(_), Some(_)) => {
            let detail = "send one of `key` and `key_sha256`";
            return Err(Problem::field("key_sha256", detail));
        }
    };
    Ok(RowToImport {
        key,
        spec: row.spec,
        status: match row.status {
            Some(ImportStatus::Disabled) => LicenseStatus::Disabled,
            Some(ImportStatus::Active) | None => LicenseStatus::Active,
        },
        devices: row.devices,
    })
}

/// Reads a key, which must have the format that all of the request have, if one is named.
fn existing_key(text: &str, format: Option<KeyFormat>) -> Result<Credential, Problem> {
    let key = Credential::parse(text).map_err(|error| Problem::field("key", error))?;
    let Some(format) = format else {
        return Ok(key);
    };
    let dashed = Credential::with_dashes(text);
    let shown = dashed.as_ref().unwrap_or(&key);
    if KeyFormat::of(shown.expose()) == Some(format) {
        return Ok(key);
    }
    let detail = format!(
        "does not have the shape of `{format}` keys: leave `key_format` out if it may have another"
    );
    Err(Problem::field("key", detail))
}

fn answered(row: ImportedRow) -> ImportedLicense {
    let of = |result, id| ImportedLicense {
        result,
        id,
        problem: None,
    };
    match row {
        ImportedRow::Made(id) => of(ImportResult::Made, id),
        ImportedRow::There(id) => of(ImportResult::There, Some(id)),
        ImportedRow::Bad(error) => bad(&error.into()),
    }
}

fn bad(problem: &Problem) -> ImportedLicense {
    let body = problem.body();
    ImportedLicense {
        result: ImportResult::Bad,
        id: None,
        problem: Some(ImportProblem {
            field: body.field,
            detail: body.detail,
        }),
    }
}
