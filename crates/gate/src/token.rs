//! Request tokens: issued for one call, used by the call itself or by the service that it reached
//! (G7).

use std::sync::Arc;
use std::time::Duration;

use licensing::{Ask, IssuedToken, TokenRequest};
use model::{
    AccountName, Address, AppName, CallFacts, Method, Mode, NormalPath, Refusal, RequestToken,
    TokenState,
};

use crate::admit::{CallRequest, Payment};
use crate::call::Admitted;
use crate::gate::Gate;
use crate::refused::Refused;
use crate::reserve::{refused_by_rule, reserve};
use crate::routed::Routed;
use crate::spend::{Holder, Spend, Spent};
use crate::worker::Worker;

/// A request for a token.
#[derive(Clone, Copy, Debug)]
pub struct IssueToken<'a> {
    /// The license that pays.
    pub holder: Holder<'a>,
    /// The app that it must be a license of; `None`: any.
    pub app: Option<&'a AppName>,
    /// The method of the call.
    pub method: Method,
    /// The path of the call.
    pub path: &'a NormalPath<'a>,
    /// The address of whoever asks, for allow-lists.
    pub address: Option<Address>,
    /// The time for which the token may be used, at most a day; `None`: five minutes.
    pub lifetime: Option<Duration>,
}

/// The report of a token's use, by the service that the call reached.
#[derive(Clone, Copy, Debug)]
pub struct ConsumeToken<'a> {
    /// The text of the token.
    pub secret: &'a [u8],
    /// The account that it must be a token of; `None`: any.
    pub account: Option<&'a AccountName>,
    /// The app that it must be a token of; `None`: any.
    pub app: Option<&'a AppName>,
    /// The method and the path that were called, if they are known. Others than those of the token
    /// are refused.
    pub target: Option<(Method, &'a NormalPath<'a>)>,
    /// The status of the call, which decides whether it is billed.
    pub status: u16,
    /// The units used, at most those that the token holds, where the route takes units from the
    /// answer; `None`: those of the route.
    pub units: Option<u64>,
    /// The hash of an idempotency key; 0 where there is none.
    pub idempotency: u64,
}

/// A token whose use is final.
#[derive(Clone, Debug)]
pub struct ConsumedToken {
    /// The token.
    pub token: RequestToken,
    /// The use that was recorded.
    pub spent: Spent,
}

impl Gate {
    /// Issues a token. The license must be allowed its method and path now, and the units that the
    /// call may cost are held until the token is used or expires. Nothing is spent or counted yet.
    ///
    /// # Errors
    /// The first rule that refuses. Rate limits apply to the call, not to the token.
    pub async fn issue_token(
        &self,
        worker: &Arc<Worker>,
        request: IssueToken<'_>,
    ) -> Result<IssuedToken, Refused> {
        let spend = Spend {
            app: request.app,
            target: Some((request.method, request.path)),
            ..Spend::one(request.holder, Mode::Token)
        };
        let (routed, entry) = self.find_spend(worker, &spend).await?;
        let facts = CallFacts {
            now: routed.started_at,
            address: request.address,
            target: Some((request.method, request.path.as_str())),
            features: &routed.route.features,
            agent: None,
        };
        let refused =
            |refused: &licensing::Refused| self.refuse_known(worker, &routed, &entry, refused);
        let checked = entry.check(&facts).map_err(refused_by_rule);
        checked.map_err(|found| refused(&found))?;
        let request = TokenRequest {
            license: &entry,
            method: request.method,
            path: request.path.as_str(),
            units: routed.route.max_units,
            lifetime: request.lifetime.unwrap_or(TokenRequest::LIFETIME),
        };
        let issued = worker.admission.issue_token(&request).await;
        issued.map_err(|found| refused(&found))
    }

    /// Uses a token for a call that was made elsewhere. It is used up by every status, and charged
    /// by the rule of its route.
    ///
    /// # Errors
    /// [`Refusal::TokenInvalid`] for a token that is unknown, used, expired or another app's;
    /// [`Refusal::TokenMismatch`] for another method or path; the refusal of the license or its
    /// limits. The token stays as it was then. [`Refusal::JournalUnavailable`] may leave it used.
    pub async fn consume_token(
        &self,
        worker: &Arc<Worker>,
        consume: ConsumeToken<'_>,
    ) -> Result<ConsumedToken, Refused> {
        let call_id = worker.next_id(worker.wall(worker.now()));
        let refuse = |refusal| {
            worker.count_refusal(model::Symbol::NONE, refusal);
            Refused::new(refusal, call_id)
        };
        let found = worker.admission.token(consume.secret).await;
        let token = found.and_then(|token| usable(token, consume.account, consume.app));
        let token = token.map_err(refuse)?;
        let fits = |(method, path): (Method, &NormalPath<'_>)| token.fits(method, path.as_str());
        if consume.target.is_some_and(|target| !fits(target)) {
            return Err(refuse(Refusal::TokenMismatch));
        }
        let path = NormalPath::parse(&token.path).map_err(|_| refuse(Refusal::TokenInvalid))?;
        let claimed = worker.admission.claim_token(consume.secret, call_id).await;
        let claimed = claimed.map_err(refuse)?;
        let spend = Spend {
            app: Some(&token.app),
            target: Some((token.method, &path)),
            status: consume.status,
            units: consume.units.map(|units| units.min(token.units)),
            elsewhere: true,
            idempotency: consume.idempotency,
            call_id: Some(call_id),
            ..Spend::one(Holder::License(token.license_id), Mode::Token)
        };
        let spent = self.spend_with(worker, spend, Some(claimed)).await?;
        let token = RequestToken {
            state: TokenState::Consumed,
            call_id: Some(call_id),
            consumed_at: Some(spent.at),
            status: Some(consume.status),
            ..token
        };
        Ok(ConsumedToken { token, spent })
    }

    /// Lets in a call that presents a token, and claims the token: no other call is let in with it,
    /// unless this one reaches nobody.
    pub(crate) async fn admit_token(
        &self,
        worker: &Arc<Worker>,
        routed: Routed,
        request: &CallRequest<'_>,
        secret: &[u8],
    ) -> Result<Admitted, Refused> {
        let routed = Routed {
            mode: Mode::Token,
            ..routed
        };
        let refuse = |refusal| self.refuse(worker, &routed, refusal);
        let found = worker.admission.token(secret).await;
        let token = found.and_then(|token| usable(token, None, Some(&routed.route.app.name)));
        let token = token.map_err(refuse)?;
        let path = NormalPath::parse(request.path).map_err(|_| refuse(Refusal::PathAmbiguous))?;
        let now = routed.started_at;
        let entry = worker
            .admission
            .license_by_id(token.license_id, routed.started)
            .await;
        let entry = entry.and_then(|entry| entry.ok_or(Refusal::TokenInvalid));
        let entry = entry.map_err(refuse)?;
        let known =
            |refused: &licensing::Refused| self.refuse_known(worker, &routed, &entry, refused);
        if !token.fits(routed.method, path.as_str()) {
            return Err(known(&refused_by_rule(Refusal::TokenMismatch)));
        }
        let facts = CallFacts {
            now,
            address: request.address,
            target: Some((routed.method, path.as_str())),
            features: &routed.route.features,
            agent: None,
        };
        let checked = entry.check(&facts).map_err(refused_by_rule);
        checked.map_err(|refused| known(&refused))?;
        let claimed = worker.admission.claim_token(secret, routed.call_id).await;
        let mut claimed = claimed.map_err(refuse)?;
        let ask = Ask {
            units: routed.route.max_units,
            now,
            slot: true,
        };
        let reservation = match reserve(&entry, ask, &mut claimed.leased).await {
            Ok(reservation) => reservation,
            Err(refused) => {
                claimed.give_back().await;
                return Err(known(&refused));
            }
        };
        let payment = Payment {
            charge: None,
            entry,
            reservation,
            token: Some(claimed),
        };
        self.let_in(worker, routed, request.idempotency, Some(payment))
    }
}

/// Returns a token if it may be used now by this account and app. Every other token is refused
/// alike.
fn usable(
    token: Option<RequestToken>,
    account: Option<&AccountName>,
    app: Option<&AppName>,
) -> Result<RequestToken, Refusal> {
    let usable = token.filter(|token| {
        token.state == TokenState::Issued
            && account.is_none_or(|account| *account == token.account)
            && app.is_none_or(|app| *app == token.app)
    });
    usable.ok_or(Refusal::TokenInvalid)
}
