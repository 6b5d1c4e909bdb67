//! `/audit`: the audit log.

use api_types::{AuditLine, AuditQuery, List, Scope};
use axum::Json as Answer;
use axum::extract::State;
use store::AuditFilter;

use super::query::{check_span, page_limit};
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::Caller;
use crate::http::extract::Query;
use crate::http::problem::{Code, Problem};
use crate::http::state::Shared;

/// Adds the requests about the audit log.
pub(super) fn routes(routes: Routes) -> Routes {
    routes.get(
        "/audit",
        list,
        Operation::new(
            "listAudit",
            "List who did what, oldest first",
            Needs::Scope(Scope::ReadAudit),
        )
        .query::<AuditQuery>()
        .answers::<List<AuditLine>>(200),
    )
}

/// Lists the audit log, oldest first: all lines for the operator, those of the caller's account for
/// others.
async fn list(
    State(state): Shared,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Answer<List<AuditLine>>, Problem> {
    // The table cannot express this: the lines do not name an app, so none can be picked for the
    // holder of one app's key.
    if caller.app().is_some() {
        let detail = "the audit log is one of the whole account, and the key is for one app of it";
        return Err(Problem::new(Code::ScopeMissing, detail));
    }
    check_span(query.from, query.to)?;
    let limit = page_limit(query.limit)?;
    let after = match query.cursor.as_deref() {
        None => 0,
        Some(cursor) => cursor
            .parse()
            .map_err(|_| Problem::field("cursor", "give what `next` of the page before said"))?,
    };
    let foreign = |account| caller.account().is_some_and(|own| own != account);
    if query.account.as_ref().is_some_and(foreign) {
        return Ok(Answer(List::whole(Vec::new())));
    }
    let filter = AuditFilter {
        account: query.account.or_else(|| caller.account().cloned()),
        who: query.actor,
        action: query.action,
        subject: query.subject,
        from: query.from,
        to: query.to,
    };
    let licensing = &state.licensing;
    let lines = licensing.audit_log(filter.clone(), after, limit).await?;
    let last = lines.last().map(|line| line.number);
    // The store returns at most the largest page at once, so the line after it is asked for alone.
    let next = match last {
        Some(last) if lines.len() == limit => {
            let more = licensing.audit_log(filter, last, 1).await?;
            (!more.is_empty()).then(|| last.to_string())
        }
        _ => None,
    };
    let items = lines.into_iter().map(view).collect();
    Ok(Answer(List { items, next }))
}

/// Returns a line of the log as it is answered.
fn view(line: store::NumberedEntry) -> AuditLine {
    let entry = line.entry;
    AuditLine {
        id: entry.id.to_string(),
        at: entry.at,
        account: entry.account,
        actor: entry.who.to_string(),
        address: entry.address.map(|address| address.to_string()),
        action: entry.action,
        subject: entry.subject,
        before: entry.before,
        after: entry.after,
        count: entry.count,
    }
}
