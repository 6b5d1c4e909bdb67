//! The handler that lists licenses, page by page.

use api_types::Scope;
use axum::Json;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{ApiKey, LicenseId, LicenseStatus};
use serde::{Deserialize, Serialize};
use store::{LicenseFilter, StoredLicense};

use super::answer::Failure;
use super::context::Asked;
use super::record::LicenseRecord;

/// The query of `GET /v1/licenses`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Query {
    app_id: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// The place where the next page begins. Licenses that were made since the first page are on none,
/// so that a list ends although others go on making licenses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    after: LicenseId,
    until: LicenseId,
}

/// A page of licenses.
#[derive(Serialize)]
pub(super) struct Page {
    licenses: Vec<LicenseRecord>,
    /// The place where the next page begins; `null` on the last one.
    cursor: Option<String>,
}

/// The number of times that the store is asked for one page, of which deleted licenses may be most.
const READINGS: usize = 20;

/// Lists the licenses of an app in the order in which they were made.
pub(super) async fn list(asked: Asked) -> Result<Json<Page>, Failure> {
    asked.requires(Scope::ReadLicenses)?;
    asked.requires_more_than_one_license()?;
    let query: Query = read_query(&asked)?;
    let missing = || Failure::from(crate::http::body::Input::missing("appId"));
    let app = asked.app_of(&query.app_id.ok_or_else(missing)?).await?;
    let limit = page_size(query.limit.as_deref())?;
    let begin = match query.cursor.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => Cursor::parse(text)?,
        None => Cursor {
            after: LicenseId::default(),
            until: LicenseId::generate(),
        },
    };
    let filter = LicenseFilter {
        account: Some(app.account.clone()),
        app: Some(app.app.clone()),
        of_agents: Some(false),
        ..LicenseFilter::default()
    };
    let (found, after) = read(&asked, &filter, begin, limit).await?;
    let acting = asked.acting();
    let mut licenses = Vec::with_capacity(found.len());
    for stored in &found {
        let key = acting.listed_key(stored).await?;
        licenses.push(LicenseRecord::of(stored, &app, &key));
    }
    let next = after.map(|after| Cursor { after, ..begin }.text());
    Ok(Json(Page {
        licenses,
        cursor: next,
    }))
}

/// Reads up to `limit` licenses after a cursor, and the id after which others follow; `None`: none
/// do.
async fn read(
    asked: &Asked,
    filter: &LicenseFilter,
    begin: Cursor,
    limit: usize,
) -> Result<(Vec<StoredLicense>, Option<LicenseId>), Failure> {
    let (mut found, mut after) = (Vec::new(), begin.after);
    for _ in 0..READINGS {
        // One more than asked for shows whether there is a next page.
        let missing = limit + 1 - found.len();
        let licensing = asked.services.licensing();
        let page = licensing
            .licenses(filter.clone(), Some(after), missing)
            .await?;
        let is_last = page.len() < missing;
        let Some(last) = page.last().map(|stored| stored.license.id) else {
            return Ok((found, None));
        };
        after = last;
        let within = |stored: &StoredLicense| stored.license.id <= begin.until;
        let ends = is_last || !page.last().is_some_and(within);
        found.extend(page.into_iter().filter(within).filter(is_listed));
        if found.len() > limit {
            found.truncate(limit);
            let last = found.last().map(|stored| stored.license.id);
            return Ok((found, last));
        }
        if ends {
            return Ok((found, None));
        }
    }
    Ok((found, Some(after)))
}

/// Returns whether a license is one of the list: it was not deleted, and is no API key.
fn is_listed(stored: &StoredLicense) -> bool {
    stored.license.status != LicenseStatus::Revoked
        && !stored
            .credentials
            .iter()
            .any(|info| info.kind == ApiKey::KIND)
}

/// Returns the number of entries on a page: 1 to 200, 50 if none is asked for.
pub(super) fn page_size(asked: Option<&str>) -> Result<usize, Failure> {
    const MOST: usize = 200;
    const USUAL: usize = 50;
    let Some(text) = asked else {
        return Ok(USUAL);
    };
    let size = text.parse().ok().filter(|size| (1..=MOST).contains(size));
    size.ok_or_else(|| Failure::invalid("limit", format!("send 1 to {MOST}")))
}

/// Reads the query of a request.
pub(super) fn read_query<T: serde::de::DeserializeOwned>(asked: &Asked) -> Result<T, Failure> {
    let text = asked.uri.query().unwrap_or_default();
    serde_urlencoded::from_str(text).map_err(|error| {
        let detail = crate::http::words::in_words(&error.to_string());
        Failure::invalid("query", detail)
    })
}

impl Cursor {
    fn text(self) -> String {
        let json = serde_json::to_vec(&self).expect("a cursor is plain data");
        URL_SAFE_NO_PAD.encode(json)
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let cursor = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let detail = "send the `cursor` of the page before, as it was";
        cursor.ok_or_else(|| Failure::invalid("cursor", detail))
    }
}
