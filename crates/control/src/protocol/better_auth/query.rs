//! The queries of requests.

use axum::http::Uri;
use store::{ApiKeyPage, ApiKeySort};

use super::refusal::{KeyCode, Refused};

/// The query of `GET /get`.
pub(super) struct Show {
    pub(super) id: String,
    pub(super) config_id: Option<String>,
}

/// The query of `GET /list`.
#[derive(Default)]
pub(super) struct List {
    pub(super) limit: Option<u64>,
    pub(super) offset: Option<u64>,
    pub(super) sort: ApiKeySort,
    pub(super) descending: bool,
    pub(super) config_id: Option<String>,
}

impl Show {
    pub(super) fn parse(uri: &Uri) -> Result<Self, Refused> {
        let (mut id, mut config_id) = (None, None);
        for (name, value) in query(uri)? {
            match name.as_str() {
                "id" => id = Some(value),
                "configId" => config_id = Some(value),
                _ => return Err(unknown(&name)),
            }
        }
        let id = id.ok_or_else(|| Refused::invalid("query.id", "expected the id of an API key"))?;
        Ok(Self { id, config_id })
    }
}

impl List {
    /// The number of keys on a page where the client names none.
    const LIMIT: u64 = 100;

    pub(super) fn parse(uri: &Uri) -> Result<Self, Refused> {
        let mut list = Self::default();
        for (name, value) in query(uri)? {
            let number = || -> Result<u64, Refused> {
                let expected = "expected a whole number of at least 0";
                let parsed = value.parse();
                parsed.map_err(|_| Refused::invalid(&format!("query.{name}"), expected))
            };
            match name.as_str() {
                "limit" => list.limit = Some(number()?),
                "offset" => list.offset = Some(number()?),
                "sortBy" => list.sort = sort(&value)?,
                "sortDirection" => list.descending = descending(&value)?,
                "configId" => list.config_id = Some(value),
                "organizationId" => return Err(KeyCode::OrganizationsUnknown.into()),
                _ => return Err(unknown(&name)),
            }
        }
        Ok(list)
    }

    pub(super) fn page(&self) -> ApiKeyPage {
        ApiKeyPage {
            sort: self.sort,
            descending: self.descending,
            offset: self.offset.unwrap_or(0),
            limit: usize::try_from(self.limit.unwrap_or(Self::LIMIT)).unwrap_or(usize::MAX),
        }
    }
}

fn sort(by: &str) -> Result<ApiKeySort, Refused> {
    Ok(match by {
        "createdAt" | "id" => ApiKeySort::CreatedAt,
        "updatedAt" => ApiKeySort::UpdatedAt,
        "lastRequest" => ApiKeySort::LastRequest,
        "expiresAt" => ApiKeySort::ExpiresAt,
        "name" => ApiKeySort::Name,
        "prefix" => ApiKeySort::Prefix,
        "enabled" => ApiKeySort::Enabled,
        _ => {
            let expected = "expected one of createdAt, updatedAt, lastRequest, expiresAt, name, prefix, enabled, id";
            return Err(Refused::invalid("query.sortBy", expected));
        }
    })
}

fn descending(direction: &str) -> Result<bool, Refused> {
    match direction {
        "asc" => Ok(false),
        "desc" => Ok(true),
        _ => Err(Refused::invalid(
            "query.sortDirection",
            "expected one of asc, desc",
        )),
    }
}

fn query(uri: &Uri) -> Result<Vec<(String, String)>, Refused> {
    let read = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
    let axum::extract::Query(pairs) =
        read.map_err(|_| Refused::invalid("query", "expected UTF-8 text"))?;
    for (at, (name, _)) in pairs.iter().enumerate() {
        if pairs[..at].iter().any(|(other, _)| other == name) {
            let field = format!("query.{}", shortened(name));
            return Err(Refused::invalid(&field, "expected once"));
        }
    }
    Ok(pairs)
}

fn unknown(name: &str) -> Refused {
    let field = format!("query.{}", shortened(name));
    Refused::invalid(&field, "unknown parameter")
}

fn shortened(name: &str) -> String {
    model::quoted(name, 80)
}
