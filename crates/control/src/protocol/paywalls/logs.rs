//! `POST /api/filter/access/logs`: the accesses of agents that a site decided on, each of which is
//! one record of the ledger, however often it is reported.

use std::time::Duration;

use api_types::Scope;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use gate::{AtLimit, Holder, Note, Payer, Spend};
use ledger::CallsQuery;
use licensing::{CachedLicense, Idempotency, IdempotencyGuard, IdempotentRequest};
use model::agent::AgentReason;
use model::{AccountName, CallId, Mode, Refusal};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use store::ClaimKind;

use super::answer::{Failure, json as answer};
use super::body::{Access, Log, Status, Token};
use super::context::{caller_with, own_account};
use super::target::{Reported, Target};
use crate::http::body::{BODY_LIMIT, parse, read_bytes};
use crate::http::client::Client;
use crate::http::fault::Fault;
use crate::http::services::Services;

/// The time within which the same report is the same access. Clients have no name for an access and
/// send none again by themselves; what comes again so soon was sent again on its way.
const SAME_CONTENT: Duration = Duration::from_secs(10);
/// The time for which the name of an access is remembered.
const SAME_ID: Duration = Duration::from_secs(86_400);
/// The longest time that a report waits for the same one that is under way.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Answers a report of an access.
pub(super) async fn log(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let caller = caller_with(&services, &client, &headers, Scope::WriteLicenses).await?;
    let text = read_bytes(body, BODY_LIMIT).await?;
    let log: Log = parse(&text)?;
    let account = own_account(&caller, log.account_id.as_deref())?;
    let host = log
        .headers
        .as_ref()
        .and_then(|headers| headers.host.as_deref());
    let reported = Reported {
        host: log.hostname.as_deref().or(host),
        method: log.method.as_deref(),
        resource: log.resource.as_deref(),
    };
    let target = Target::of(&services, &caller, account, reported)?;
    let content: [u8; 32] = Sha256::digest(&text).into();
    let claimed = claim(&services, account, log.id.as_deref(), &content).await?;
    if let Some(claim) = claimed {
        let access = Accessed {
            account,
            target: &target,
            status: &log.status,
            idempotency: log
                .id
                .as_deref()
                .map_or(0, |id| model::key::digest_u64(id.as_bytes())),
        };
        record_once(&services, &access, claim).await?;
    }
    Ok(answer(
        StatusCode::ACCEPTED,
        &json!({ "message": "Accepted" }),
    ))
}

/// Claims an access. Returns `None` if it was recorded before.
async fn claim(
    services: &Services,
    account: &AccountName,
    id: Option<&str>,
    content: &[u8; 32],
) -> Result<Option<IdempotencyGuard>, Failure> {
    const FIRST_PAUSE: Duration = Duration::from_millis(25);
    const LONGEST_PAUSE: Duration = Duration::from_millis(200);
    let (kind, name, lifetime): (&[u8], &[u8], _) = match id {
        Some(id) => (b"paywalls access by id", id.as_bytes(), SAME_ID),
        None => (b"paywalls access", content, SAME_CONTENT),
    };
    let dead = services.api().ledger.earlier_starts();
    let request = IdempotentRequest {
        kind: ClaimKind::IdempotencyKey,
        name: &[kind, account.as_str().as_bytes(), name],
        content: &[content],
        reference: CallId::generate().as_u128(),
        prepared: Some(b"accepted"),
        waits_for_disk: true,
        lifetime,
        dead: &dead,
    };
    let mut pause = FIRST_PAUSE;
    let begun = tokio::time::Instant::now();
    loop {
        match services.licensing().once(&request).await? {
            Idempotency::Run(claim) => return Ok(Some(claim)),
            Idempotency::Replay { .. } => return Ok(None),
            Idempotency::Conflict => {
                let message = "`id` was used for another access: give each access its own";
                return Err(Failure::new(StatusCode::CONFLICT, "conflict", message));
            }
            // It is being recorded, or a gate died over it whose journal is not read yet.
            Idempotency::InProgress | Idempotency::Elsewhere(_) => {
                if begun.elapsed() >= LONGEST_WAIT {
                    return Err(Failure::unavailable());
                }
                tokio::time::sleep(pause).await;
                pause = LONGEST_PAUSE.min(2 * pause);
            }
        }
    }
}

/// An access of an agent.
struct Accessed<'a> {
    account: &'a AccountName,
    target: &'a Target,
    status: &'a Status,
    idempotency: u64,
}

/// Records an access that is claimed, unless an earlier try did so.
async fn record_once(
    services: &Services,
    access: &Accessed<'_>,
    claim: IdempotencyGuard,
) -> Result<(), Failure> {
    let call_id = CallId::from_u128(claim.reference);
    if let Some(since) = claim.broken_off {
        let query = CallsQuery {
            account: Some(access.account.clone()),
            app: Some(access.target.app.clone()),
            mode: Some(Mode::Agent),
            ..CallsQuery::default()
        };
        if services
            .recorded_among(query, call_id, since)
            .await?
            .is_some()
        {
            services.licensing().finish_prepared(claim);
            return Ok(());
        }
    }
    let recorded = access.record(services, call_id).await;
    match recorded {
        Ok(()) => services.licensing().finish_prepared(claim),
        // A journal that failed may have kept the record: then the next report finds it.
        Err(Refusal::JournalUnavailable) => return Err(Failure::unavailable()),
        Err(refusal) => {
            if let Err(error) = services.licensing().release_once(claim).await {
                tracing::warn!(%error, "an access stays claimed although nothing was recorded");
            }
            return Err(Fault::internal(&refusal.code()).into());
        }
    }
    Ok(())
}

impl Accessed<'_> {
    async fn record(&self, services: &Services, call_id: CallId) -> Result<(), Refusal> {
        let refusal = self.refusal();
        if let Some(license) = self.token(services).await.filter(|_| refusal.is_none()) {
            let whose = license.license().spec.agent.as_ref();
            let payer = whose.and_then(|agent| agent.payer);
            let spend = Spend {
                app: Some(&self.target.app),
                target: self.target.route(),
                elsewhere: true,
                idempotency: self.idempotency,
                limits: AtLimit::Record,
                call_id: Some(call_id),
                payer: payer.map_or(Payer::Holder, |id| Payer::Other(Holder::License(id))),
                ..Spend::one(Holder::Found(&license), Mode::Agent)
            };
            match services.spender().spend(spend).await {
                Ok(_) => return Ok(()),
                Err(refused) if refused.refusal == Refusal::JournalUnavailable => {
                    return Err(refused.refusal);
                }
                // The license ended, or is for other paths. The agent was let in all the same.
                Err(refused) => {
                    tracing::debug!(
                        code = refused.refusal.code(),
                        "an access is recorded without its license"
                    );
                }
            }
        }
        let note = Note {
            app: &self.target.app,
            target: self.target.route(),
            status: refusal.map_or(200, Refusal::status),
            refusal,
            idempotency: self.idempotency,
            call_id: Some(call_id),
        };
        let noted = services.spender().note(note).await;
        noted.map(drop).map_err(|refused| refused.refusal)
    }

    /// Returns the token that was shown, if it is one of an agent that opens the app.
    async fn token(&self, services: &Services) -> Option<Arc<CachedLicense>> {
        let shown = Token::shown(self.status.token.as_ref())?;
        let found = services.spender().look_up(shown.as_bytes()).await.ok()?;
        let license = found.license();
        let is_token = license.spec.agent.is_some();
        (is_token && license.opens(self.account, &self.target.app)).then_some(found)
    }

    /// Returns why the agent was sent away; `None`: it was let in.
    fn refusal(&self) -> Option<Refusal> {
        match (self.status.access, self.status.reason) {
            (Access::Allow, _) => None,
            (
                Access::Deny,
                AgentReason::TokenNotProvided
                | AgentReason::TokenNotFound
                | AgentReason::TokenDisabled
                | AgentReason::TokenExpired,
            ) => Some(Refusal::PaymentRequired),
            (Access::Deny, _) => Some(Refusal::AgentDenied),
        }
    }
}
