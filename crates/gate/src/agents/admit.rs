//! The admission of an agent.

use std::sync::Arc;

use agents::Judgement;
use agents::payment::crawler::CrawlerError;
use agents::web_bot_auth::InvalidReason;
use licensing::CachedLicense;
use model::agent::{AgentPrice, AgentReason, TokenShown, Verdict, Verification};
use model::{Mode, NormalPath, Refusal};
use telemetry::{AgentVerdict, AgentVerification};

use super::charge::offer;
use super::decided::{Decided, Question};
use super::head::{RequestHead, Sight};
use super::identify::Identified;
use super::refusal::AgentRefusal;
use super::rules::AgentRules;
use super::token::Token;
use crate::admit::{CallRequest, Presented, admits};
use crate::call::Admitted;
use crate::gate::Gate;
use crate::refused::Refused;
use crate::routed::Routed;
use crate::worker::Worker;

/// Returns whether an agent may be making a call; `None`: its app does not decide on agents, or it
/// is somebody like others.
pub(crate) fn sight_of(routed: &Routed, request: &CallRequest<'_>) -> Option<Sight> {
    let app = &routed.route.app;
    let rules = app.agents.as_ref()?;
    request.head?.sight(rules, app.test)
}

/// A call of an agent on its way through admission.
pub(super) struct Visit<'a> {
    pub(super) worker: &'a Arc<Worker>,
    pub(super) request: CallRequest<'a>,
    pub(super) head: RequestHead<'a>,
    pub(super) rules: &'a AgentRules,
    pub(super) identified: &'a Identified,
}

impl Gate {
    /// Lets in who may be an agent, or refuses it. A refusal of an agent is recorded.
    ///
    /// # Errors
    /// The first rule that refuses.
    pub(crate) async fn admit_sighted(
        &self,
        worker: &Arc<Worker>,
        routed: Routed,
        request: CallRequest<'_>,
        sight: Sight,
    ) -> Result<Admitted, Refused> {
        let app = routed.route.app.clone();
        let (Some(rules), Some(head)) = (&app.agents, request.head) else {
            return self.admit_anybody(worker, routed, request).await;
        };
        let now = routed.started_at;
        let identified = Identified::of(&head, request.path, sight, rules, now).await;
        let visit = Visit {
            worker,
            request,
            head,
            rules,
            identified: &identified,
        };
        if let Some(refusal) = of_signature(&identified.judgement) {
            let told = AgentRefusal::new(&identified, rules);
            let verdict = AgentVerdict::SignatureRefused;
            return Err(self.send_away(&visit, routed, refusal, verdict, told));
        }
        if !identified.is_agent() {
            return self.admit_anybody(worker, routed, request).await;
        }
        let Ok(path) = NormalPath::parse(request.path) else {
            let told = AgentRefusal::new(&identified, rules);
            let refusal = Refusal::PathAmbiguous;
            return Err(self.send_away(&visit, routed, refusal, AgentVerdict::Denied, told));
        };
        let question = Question {
            app: &app,
            rules,
            path: path.as_str(),
            identified: &identified,
            token: TokenShown::None,
        };
        let without = question.decide();
        if without.is_final() {
            return Err(self.deny(&visit, routed, without));
        }
        let token = match self.token_of(&visit, &routed).await {
            Ok(token) => token,
            Err(refusal) => return Err(self.refuse(worker, &routed, refusal)),
        };
        let decided = match token.shown {
            TokenShown::None => without,
            shown => Question {
                token: shown,
                ..question
            }
            .decide(),
        };
        self.admit_agent(&visit, routed, decided, token).await
    }

    /// Lets an agent in or refuses it, as the policy decided.
    async fn admit_agent(
        &self,
        visit: &Visit<'_>,
        routed: Routed,
        decided: Decided,
        token: Token,
    ) -> Result<Admitted, Refused> {
        let (worker, request, open) = (visit.worker, visit.request, routed.route.open);
        let presents =
            !matches!(request.presented, Presented::Nothing) && token.shown == TokenShown::None;
        if presents && !open {
            visit.count(&routed, AgentVerdict::License);
            return self.admit_licensed(worker, routed, request).await;
        }
        // Where no credential is needed none is looked at, but who has a good license is a customer
        // and is not asked to pay.
        if presents
            && decided.verdict != Verdict::Allow
            && let Some(entry) = self.good_license(visit, &routed).await
        {
            visit.count(&routed, AgentVerdict::License);
            return self.admit_with(worker, routed, request, entry).await;
        }
        let opens = open || decided.instead_of_license;
        // A token is a license: it pays where one is wanted, by the policy or by the route.
        let wanted = !opens || decided.reason == AgentReason::TokenActive;
        if let Some(license) = &token.license
            && wanted
            && decided.verdict == Verdict::Allow
        {
            return self.admit_by_token(visit, routed, &decided, license).await;
        }
        if !opens {
            return Err(self.want_license(visit, routed, decided, token.shown));
        }
        match decided.verdict {
            Verdict::Allow => {
                visit.count(&routed, AgentVerdict::Allowed);
                let routed = of_agent(routed);
                self.let_in(worker, routed, request.idempotency, None)
            }
            Verdict::Deny => Err(self.deny(visit, routed, decided)),
            Verdict::Pay(price) => {
                let error = visit.fault_of_offer(price);
                Err(self.ask_to_pay(visit, routed, &decided, price, error))
            }
        }
    }

    /// Returns the license that a call presents, if it admits the call apart from limits.
    async fn good_license(&self, visit: &Visit<'_>, routed: &Routed) -> Option<Arc<CachedLicense>> {
        let Presented::Credential(credential) = visit.request.presented else {
            return None;
        };
        let found = self.license_of(visit.worker, routed, credential).await;
        let entry = found.ok()?;
        admits(routed, &visit.request, &entry, None).ok()?;
        Some(entry)
    }

    /// Refuses an agent on a route that only a license opens, or a token that is one.
    fn want_license(
        &self,
        visit: &Visit<'_>,
        routed: Routed,
        decided: Decided,
        token: TokenShown,
    ) -> Refused {
        let refusal = match token {
            TokenShown::None => Refusal::LicenseMissing,
            TokenShown::Unknown => Refusal::LicenseUnknown,
            TokenShown::Known(_) => return self.deny(visit, routed, decided),
        };
        let told = visit.told(&decided);
        let verdict = AgentVerdict::LicenseRequired;
        self.send_away(visit, routed, refusal, verdict, told)
    }

    fn deny(&self, visit: &Visit<'_>, routed: Routed, decided: Decided) -> Refused {
        let told = AgentRefusal {
            answer: decided.answer.clone(),
            ..visit.told(&decided)
        };
        self.send_away(
            visit,
            routed,
            Refusal::AgentDenied,
            AgentVerdict::Denied,
            told,
        )
    }

    /// Asks for the price of a call, and says why an offer to pay it does not count.
    pub(super) fn ask_to_pay(
        &self,
        visit: &Visit<'_>,
        routed: Routed,
        decided: &Decided,
        price: AgentPrice,
        error: Option<CrawlerError>,
    ) -> Refused {
        let mut told = AgentRefusal {
            answer: decided.answer.clone(),
            ..visit.told(decided)
        };
        told.price(price);
        if let Some(error) = error {
            told.error(error);
        }
        // An offer that cannot be read is no offer of too little.
        let is_unreadable = matches!(
            error,
            Some(CrawlerError::InvalidCrawlerPriceValue | CrawlerError::ConflictingPriceHeaders)
        );
        let refusal = match is_unreadable {
            true => Refusal::RequestMalformed,
            false => Refusal::PaymentRequired,
        };
        if is_unreadable {
            told.answer = None;
        }
        let verdict = AgentVerdict::PaymentRequired;
        Refused {
            detail: error.map(words),
            ..self.send_away(visit, routed, refusal, verdict, told)
        }
    }

    /// Refuses a call of an agent: it is counted and recorded.
    fn send_away(
        &self,
        visit: &Visit<'_>,
        routed: Routed,
        refusal: Refusal,
        verdict: AgentVerdict,
        told: AgentRefusal,
    ) -> Refused {
        visit.count(&routed, verdict);
        let routed = of_agent(routed);
        visit.worker.record_refusal(&routed, None, None, refusal);
        let wants_credential = refusal.status() == 401;
        Refused {
            app: wants_credential.then(|| routed.route.app.clone()),
            agent: Some(Box::new(told)),
            ..Refused::new(refusal, routed.call_id)
        }
    }
}

impl Visit<'_> {
    fn told(&self, decided: &Decided) -> AgentRefusal {
        AgentRefusal {
            reason: Some(decided.reason),
            ..AgentRefusal::new(self.identified, self.rules)
        }
    }

    /// Returns why the offer of an agent without a token does not pay a price; `None`: it makes
    /// none.
    fn fault_of_offer(&self, price: AgentPrice) -> Option<CrawlerError> {
        let offer = match offer(&self.head) {
            Ok(offer) => offer?,
            Err(error) => return Some(error),
        };
        Some(match self.identified.verification {
            Verification::Invalid => CrawlerError::InvalidSignature,
            Verification::Unverified => CrawlerError::StrongAuthRequired,
            // It is known who offers, and no license of theirs was named.
            Verification::Verified => offer
                .pays(price)
                .err()
                .unwrap_or(CrawlerError::PaymentFailed),
        })
    }

    pub(super) fn count(&self, routed: &Routed, verdict: AgentVerdict) {
        let verification = match self.identified.verification {
            Verification::Verified => AgentVerification::Verified,
            Verification::Invalid => AgentVerification::Invalid,
            Verification::Unverified => AgentVerification::Unverified,
        };
        let app = routed.route.app.symbol;
        self.worker.shard.agent(app, verdict, verification);
    }
}

/// Returns a call that is an agent's: no license of its own decides about it.
pub(super) fn of_agent(routed: Routed) -> Routed {
    Routed {
        mode: Mode::Agent,
        ..routed
    }
}

/// Returns the refusal of a signature that nobody can take for what it should be.
const fn of_signature(judgement: &Judgement) -> Option<Refusal> {
    match judgement {
        Judgement::Invalid(InvalidReason::Malformed) => Some(Refusal::SignatureMalformed),
        Judgement::Invalid(InvalidReason::Reused) => Some(Refusal::SignatureReused),
        _ => None,
    }
}

/// Returns what would work in place of an offer that does not count.
const fn words(error: CrawlerError) -> &'static str {
    match error {
        CrawlerError::StrongAuthRequired => {
            "an offer counts only with a signature that holds or the token of a license"
        }
        CrawlerError::InvalidSignature => {
            "the signature does not hold, so the offer does not count"
        }
        CrawlerError::InvalidCrawlerPriceValue => {
            "write the offer as a currency and an amount above 0, such as `USD 0.01`"
        }
        CrawlerError::ConflictingPriceHeaders => {
            "send one offer: `crawler-exact-price` or `crawler-max-price`"
        }
        CrawlerError::InvalidCrawlerExactPrice | CrawlerError::InvalidCrawlerMaxPrice => {
            "offer what `crawler-price` says"
        }
        _ => "no license pays for this agent: send its token as `Authorization: Bearer TOKEN`",
    }
}
