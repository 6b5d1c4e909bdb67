//! Of the side of agents (`paywalls-net/access`): who asks, and the receipts of what was paid, from
//! the ledger.

use std::collections::VecDeque;

use api_types::{App, Scope};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use ledger::{CallLine, CallsQuery};
use model::{AccountName, CallId, Currency, Mode, Timestamp};
use serde::Serialize;

use super::answer::{Failure, json};
use super::context::{caller, caller_with};
use crate::http::caller::Caller;
use crate::http::client::Client;
use crate::http::fault::Fault;
use crate::http::services::Services;

/// The holder of a management key.
#[derive(Serialize)]
struct Me<'a> {
    account_id: &'a AccountName,
    account_name: &'a AccountName,
    user_id: String,
    user_type: &'static str,
}

/// A receipt: one call of an agent that is billed.
#[derive(Serialize)]
struct Receipt {
    #[serde(rename = "publicId")]
    public_id: CallId,
    /// Every receipt is of what was paid.
    #[serde(rename = "type")]
    kind: &'static str,
    /// In thousandths of a hundredth of the currency (millicents of a dollar), below 0.
    amount: i64,
    currency: Option<Currency>,
    /// The host of the site, or the name of its app where the configuration names no host.
    domain: String,
    units: u64,
    #[serde(rename = "createdAt")]
    created_at: Timestamp,
}

#[derive(Serialize)]
struct Receipts {
    receipts: Vec<Receipt>,
    limit: usize,
    offset: usize,
    total: usize,
}

/// The page of a list of receipts, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Page {
    limit: usize,
    offset: usize,
    kind: Option<String>,
    domain: Option<String>,
}

/// The type of every receipt.
const DEBIT: &str = "debit";
/// Nanos of the major unit in a thousandth of its hundredth.
const NANOS_PER_MILLICENT: i128 = 10_000;
/// The time around the beginning of a call in which its record is looked for, in microseconds.
const AROUND_US: i64 = 300_000_000;

/// Answers `GET /api/me`.
pub(super) async fn me(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let caller = caller(&services, &client, &headers).await?;
    let key = caller
        .key()
        .ok_or_else(|| Fault::internal(&"a caller without a key"))?;
    let me = Me {
        account_id: &key.account,
        account_name: &key.account,
        user_id: key.id.to_string(),
        user_type: "api_key",
    };
    Ok(json(StatusCode::OK, &me))
}

/// Answers `GET /api/wallet/{account}/receipts`.
pub(super) async fn receipts(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
    Path(account): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let caller = caller_with(&services, &client, &headers, Scope::ReadCalls).await?;
    let query_of = own_calls(&caller, &account)?;
    let page = Page::read(query.as_deref().unwrap_or_default())?;
    let apps = &services.directory().apps;
    // The newest come last.
    let (mut kept, mut total) = (VecDeque::new(), 0);
    let mut calls = services
        .api()
        .ledger
        .calls(query_of)
        .await
        .map_err(failed)?;
    while let Some(lines) = calls.next_page().await.map_err(failed)? {
        let paid = lines.into_iter().filter(|line| line.billable);
        for receipt in paid.map(|line| Receipt::of(&line, apps)) {
            if !page.wants(&receipt) {
                continue;
            }
            total += 1;
            kept.push_front(receipt);
            kept.truncate(page.offset + page.limit);
        }
    }
    let receipts = kept.into_iter().skip(page.offset).collect();
    let list = Receipts {
        receipts,
        limit: page.limit,
        offset: page.offset,
        total,
    };
    Ok(json(StatusCode::OK, &list))
}

/// Answers `GET /api/wallet/{account}/receipts/{id}`.
pub(super) async fn receipt(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
    Path((account, id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let caller = caller_with(&services, &client, &headers, Scope::ReadCalls).await?;
    let query = own_calls(&caller, &account)?;
    let unknown = || Failure::not_found("there is no such receipt");
    let id: CallId = id.parse().map_err(|_| unknown())?;
    // An id begins with the milliseconds of its call.
    let begun = i64::try_from((id.as_u128() >> 80) * 1_000).map_err(|_| unknown())?;
    let begun = Timestamp::from_micros(begun);
    let query = CallsQuery {
        from: Some(begun.plus_micros(-AROUND_US)),
        to: Some(begun.plus_micros(AROUND_US)),
        ..query
    };
    let mut calls = services.api().ledger.calls(query).await.map_err(failed)?;
    while let Some(lines) = calls.next_page().await.map_err(failed)? {
        let mut paid = lines.iter().filter(|line| line.billable);
        if let Some(line) = paid.find(|line| line.call_id == id) {
            let receipt = Receipt::of(line, &services.directory().apps);
            return Ok(json(StatusCode::OK, &receipt));
        }
    }
    Err(unknown())
}

/// Returns the calls of agents that the caller may see, if the account is theirs.
fn own_calls(caller: &Caller, account: &str) -> Result<CallsQuery, Failure> {
    let own = caller.account().filter(|own| own.as_str() == account);
    let own = own.ok_or_else(|| Failure::not_found("there is no such account"))?;
    Ok(CallsQuery {
        license_id: caller.license(),
        account: Some(own.clone()),
        app: caller.app().cloned(),
        mode: Some(Mode::Agent),
        ..CallsQuery::default()
    })
}

fn failed(error: ledger::Error) -> Failure {
    match error {
        ledger::Error::Store(error) => Fault::from(error).into(),
        ledger::Error::Behind => Failure::unavailable(),
        error => Fault::internal(&error).into(),
    }
}

impl Receipt {
    fn of(line: &CallLine, apps: &[App]) -> Self {
        let app = apps.iter().find(|app| app.name == line.app);
        let host = app.and_then(|app| app.hosts.first().cloned());
        let paid = line.amount.nanos() / NANOS_PER_MILLICENT;
        Self {
            public_id: line.call_id,
            kind: DEBIT,
            amount: -i64::try_from(paid).unwrap_or(i64::MAX),
            currency: line.currency,
            domain: host.unwrap_or_else(|| line.app.to_string()),
            units: line.billed_units,
            created_at: line.started_at,
        }
    }
}

impl Page {
    const MAX_OFFSET: usize = 10_000;

    fn read(query: &str) -> Result<Self, Failure> {
        let mut page = Self {
            limit: 10,
            offset: 0,
            kind: None,
            domain: None,
        };
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query)
            .map_err(|_| Failure::invalid("query", "write `name=value`, joined by `&`"))?;
        let within = |field: &str, text: &str, range: std::ops::RangeInclusive<usize>| {
            let number = text.parse().ok().filter(|number| range.contains(number));
            let (least, most) = range.into_inner();
            number.ok_or_else(|| Failure::invalid(field, format!("write {least} to {most}")))
        };
        for (name, value) in pairs {
            match name.as_str() {
                "limit" => page.limit = within("limit", &value, 1..=100)?,
                "offset" => page.offset = within("offset", &value, 0..=Self::MAX_OFFSET)?,
                "type" if matches!(value.as_str(), "debit" | "credit") => page.kind = Some(value),
                "type" => return Err(Failure::invalid("type", "write `debit` or `credit`")),
                "domain" => page.domain = Some(value),
                _ => {}
            }
        }
        Ok(page)
    }

    fn wants(&self, receipt: &Receipt) -> bool {
        let of_kind = self.kind.as_ref().is_none_or(|kind| kind == receipt.kind);
        let of_domain = self.domain.as_ref();
        of_kind && of_domain.is_none_or(|domain| domain.eq_ignore_ascii_case(&receipt.domain))
    }
}
