//! Request tokens: issued for one call, used by the call itself or by whoever served it (G7).

use std::sync::Arc;
use std::time::Duration;

use licensing::{Ask, CachedLicense, ClaimedToken, IssuedToken, TokenRequest};
use model::{
    AccountName, Address, AppName, CallFacts, CallHead, Method, Mode, NormalPath, Refusal,
    RequestToken, TokenState,
};

use crate::admit::{CallRequest, Gate, Paid, Routed, plain, take};
use crate::call::Admitted;
use crate::refused::Refused;
use crate::spend::{Holder, Spend, Spent};
use crate::worker::Worker;

/// A wish for a token.
#[derive(Clone, Copy, Debug)]
pub struct IssueToken<'a> {
    /// Who pays.
    pub holder: Holder<'a>,
    /// The app that it must be a license of; `None`: whichever the license is one of.
    pub app: Option<&'a AppName>,
    /// The method of the call.
    pub method: Method,
    /// The path of the call.
    pub path: &'a NormalPath<'a>,
    /// From where the wish came, for allow-lists.
    pub address: Option<Address>,
    /// How long it may be used; `None`: five minutes. At most a day.
    pub lifetime: Option<Duration>,
}

/// The use of a token, told by whoever served the call.
#[derive(Clone, Copy, Debug)]
pub struct ConsumeToken<'a> {
    /// The text of the token.
    pub secret: &'a [u8],
    /// The account that it must be a token of; `None`: any.
    pub account: Option<&'a AccountName>,
    /// The app that it must be a token of; `None`: any.
    pub app: Option<&'a AppName>,
    /// Method and path that were called, if they are known: those of the token, or it is not used.
    pub target: Option<(Method, &'a NormalPath<'a>)>,
    /// The status of the call: whether it is billed depends on it.
    pub status: u16,
    /// Units used, where the route takes them from the answer, at most those that the token holds; `None`: those of the route.
    pub units: Option<u64>,
    /// Hash of an idempotency key; 0 where there is none.
    pub idempotency: u64,
}

/// A token that was used, once and for all.
#[derive(Clone, Debug)]
pub struct ConsumedToken {
    /// The token.
    pub token: RequestToken,
    /// What was spent.
    pub spent: Spent,
}

impl Gate {
    /// Issues a token: the license must be let in to its method and path now, and the units that the call may cost are held
    /// until it is used or its time is over. Nothing is spent or counted yet.
    ///
    /// # Errors
    /// The first rule that refuses; rate limits are those of the call, not of the token.
    pub async fn issue_token(
        &self,
        worker: &Arc<Worker>,
        wish: IssueToken<'_>,
    ) -> Result<IssuedToken, Refused> {
        let spend = Spend {
            app: wish.app,
            target: Some((wish.method, wish.path)),
            ..Spend::one(wish.holder, Mode::Token)
        };
        let (routed, entry) = self.find_spend(worker, &spend).await?;
        let facts = CallFacts {
            now: routed.started_at,
            address: wish.address,
            target: Some((wish.method, wish.path.as_str())),
        };
        let refused = |refused: &licensing::Refused| {
            self.refuse_known(worker, &routed, &entry, Mode::Token, refused)
        };
        let checked = entry.check(&facts).map_err(plain);
        checked.map_err(|found| refused(&found))?;
        let request = TokenRequest {
            license: &entry,
            method: wish.method,
            path: wish.path.as_str(),
            units: routed.route.most_units,
            lifetime: wish.lifetime.unwrap_or(TokenRequest::LIFETIME),
        };
        let issued = worker.admission.issue_token(&request).await;
        issued.map_err(|found| refused(&found))
    }

    /// Uses a token for a call that was made elsewhere. It is spent with every status, and charged by the rule of its route.
    ///
    /// # Errors
    /// [`Refusal::TokenInvalid`] for one that is unknown, used, expired or another app's; [`Refusal::TokenMismatch`] for
    /// another method or path; what the license or its limits refuse. The token stays as it was then.
    /// [`Refusal::JournalUnavailable`] may leave it used.
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

    /// Lets in a call that presents a token, and claims it: no other call is let in with it, unless this one reaches nobody.
    pub(crate) async fn admit_token(
        &self,
        worker: &Arc<Worker>,
        routed: Routed,
        request: &CallRequest<'_>,
        secret: &[u8],
    ) -> Result<Admitted, Refused> {
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
        let known = |refused: &licensing::Refused| {
            self.refuse_known(worker, &routed, &entry, Mode::Token, refused)
        };
        if !token.fits(routed.method, path.as_str()) {
            return Err(known(&plain(Refusal::TokenMismatch)));
        }
        let facts = CallFacts {
            now,
            address: request.address,
            target: Some((routed.method, path.as_str())),
        };
        let checked = entry.check(&facts).map_err(plain);
        checked.map_err(|refused| known(&refused))?;
        let claimed = worker.admission.claim_token(secret, routed.call_id).await;
        let mut claimed = claimed.map_err(refuse)?;
        let reservation = match reserve(&entry, &routed, &mut claimed).await {
            Ok(reservation) => reservation,
            Err(refused) => {
                claimed.give_back().await;
                return Err(known(&refused));
            }
        };
        let head = CallHead {
            mode: Mode::Token,
            ..routed.head_of(request)
        };
        let paid = Paid {
            entry,
            reservation,
            token: Some(claimed),
        };
        self.issue(worker, routed, head, paid)
    }
}

async fn reserve(
    entry: &CachedLicense,
    routed: &Routed,
    claimed: &mut ClaimedToken,
) -> Result<licensing::Reservation, licensing::Refused> {
    let ask = Ask {
        units: routed.route.most_units,
        now: routed.started_at,
        slot: true,
    };
    take(entry, ask, &mut claimed.leased).await
}

/// A token that may be used now by this account and app. Whatever else is wrong with one looks the same.
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
