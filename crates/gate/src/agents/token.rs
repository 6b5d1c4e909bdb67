//! Tokens of agents: licenses that are an agent's own, by which it is let in.

use std::sync::Arc;

use agents::payment::crawler::CrawlerError;
use licensing::{Ask, CachedLicense, Reservation};
use model::Refusal;
use model::agent::{AgentIdentity, AgentPrice, AgentTokenState, CallingAgent, TokenShown};
use telemetry::AgentVerdict;

use super::admit::{Visit, of_agent};
use super::charge::{Charge, offer};
use super::decided::Decided;
use crate::admit::{Payment, Presented, admits};
use crate::call::Admitted;
use crate::gate::Gate;
use crate::refused::Refused;
use crate::reserve::{refused_by_rule, reserve};
use crate::routed::Routed;

/// The token of a call.
#[derive(Clone)]
pub(super) struct Token {
    /// What became of it.
    pub(super) shown: TokenShown,
    /// The license that it is; `None`: there is none of this agent for this app.
    pub(super) license: Option<Arc<CachedLicense>>,
}

impl Token {
    pub(super) const NONE: Self = Self {
        shown: TokenShown::None,
        license: None,
    };
}

/// Returns whether a credential is the secret of a token of an agent.
#[must_use]
pub fn is_token(credential: &[u8]) -> bool {
    credential.starts_with(AgentIdentity::SECRET_PREFIX.as_bytes())
}

impl Gate {
    /// Looks up the token that an agent shows. A token of another agent or for another app is
    /// unknown.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`] where that cannot be found out.
    pub(super) async fn token_of(
        &self,
        visit: &Visit<'_>,
        routed: &Routed,
    ) -> Result<Token, Refusal> {
        let secret = match visit.request.presented {
            Presented::Credential(secret) if is_token(secret) => secret,
            _ => return Ok(Token::NONE),
        };
        let found = match self.license_of(visit.worker, routed, secret).await {
            Ok(found) => Some(found),
            Err(Refusal::LicenseStoreUnavailable) => {
                return Err(Refusal::LicenseStoreUnavailable);
            }
            Err(_) => None,
        };
        let is_own = |found: &Arc<CachedLicense>| {
            let whose = found.license().spec.agent.as_ref();
            let calling = visit.calling();
            whose.is_some_and(|whose| calling.is_some_and(|agent| whose.covers(agent)))
        };
        let license = found.filter(is_own);
        let state = |found: &Arc<CachedLicense>| {
            let credential = found.credential();
            let credential = (credential.status, credential.expires_at);
            AgentTokenState::of(found.license(), credential, routed.started_at)
        };
        Ok(Token {
            shown: license
                .as_ref()
                .map_or(TokenShown::Unknown, |found| TokenShown::Known(state(found))),
            license,
        })
    }

    /// Lets an agent in by its token, which pays as any license does, or another in its place.
    pub(super) async fn admit_by_token(
        &self,
        visit: &Visit<'_>,
        routed: Routed,
        decided: &Decided,
        token: &Arc<CachedLicense>,
    ) -> Result<Admitted, Refused> {
        let payer = match self.payer_of(visit, &routed, token).await {
            Ok(payer) => payer,
            Err(refusal) => return Err(self.refuse(visit.worker, &routed, refusal)),
        };
        let charge = match decided.owed.map(|price| visit.charge(price, &payer)) {
            None => None,
            Some(Ok(charge)) => Some(charge),
            Some(Err((price, error))) => {
                return Err(self.ask_to_pay(visit, routed, decided, price, Some(error)));
            }
        };
        let routed = of_agent(routed);
        let reserved = visit.reserve(&routed, token, &payer, charge).await;
        match reserved {
            Ok(reservation) => {
                visit.count(&routed, AgentVerdict::Token);
                let payment = Payment {
                    entry: payer,
                    reservation,
                    token: None,
                    charge,
                };
                self.let_in(
                    visit.worker,
                    routed,
                    visit.request.idempotency,
                    Some(payment),
                )
            }
            Err((whose, refused)) => {
                visit.count(&routed, AgentVerdict::Denied);
                Err(self.refuse_known(visit.worker, &routed, &whose, &refused))
            }
        }
    }

    /// Returns the license that pays for calls with a token.
    async fn payer_of(
        &self,
        visit: &Visit<'_>,
        routed: &Routed,
        token: &Arc<CachedLicense>,
    ) -> Result<Arc<CachedLicense>, Refusal> {
        let whose = token.license().spec.agent.as_ref();
        let Some(payer) = whose.and_then(|whose| whose.payer) else {
            return Ok(token.clone());
        };
        let admission = &visit.worker.admission;
        match admission.license_by_id(payer, routed.started).await {
            Ok(Some(payer)) => Ok(payer),
            // The token is known: what is wrong with its payer is not the agent's to mend.
            Ok(None) | Err(_) => Err(Refusal::QuotaUnavailable),
        }
    }
}

/// A refusal, and the license that it is recorded for.
type RefusedBy = (Arc<CachedLicense>, licensing::Refused);

impl Visit<'_> {
    /// Returns the names of the agent that calls; `None`: nobody knows who operates it.
    pub(super) fn calling(&self) -> Option<CallingAgent<'_>> {
        let identity = self.identified;
        Some(CallingAgent {
            operator: identity.operator.as_ref()?,
            agent: identity.agent.as_ref(),
        })
    }

    /// Returns what a license is charged of a price that the agent owes, if what it offers, where it
    /// offers anything, pays it.
    fn charge(
        &self,
        price: AgentPrice,
        payer: &CachedLicense,
    ) -> Result<Charge, (AgentPrice, CrawlerError)> {
        let offered = offer(&self.head).and_then(|offer| match offer {
            Some(offer) => offer.pays(price),
            // A token is bought beforehand: it needs no offer.
            None => Ok(price),
        });
        let charge = offered.and_then(|price| Charge::of(price, payer));
        charge.map_err(|error| (price, error))
    }

    /// Takes what a call needs of the payer's limits, once the token admits it.
    async fn reserve(
        &self,
        routed: &Routed,
        token: &Arc<CachedLicense>,
        payer: &Arc<CachedLicense>,
        charge: Option<Charge>,
    ) -> Result<Reservation, RefusedBy> {
        let by_token = |refusal| (token.clone(), refused_by_rule(refusal));
        admits(routed, &self.request, token, self.calling()).map_err(by_token)?;
        let is_other = !Arc::ptr_eq(token, payer);
        let now = routed.started_at;
        if is_other && payer.standing(now).is_err() {
            return Err(by_token(Refusal::QuotaExhausted));
        }
        let units = charge.and_then(|charge| charge.units);
        let ask = Ask {
            units: units.unwrap_or(routed.route.max_units),
            now,
            slot: true,
        };
        let reserved = reserve(payer, ask, &mut None).await;
        let reservation = reserved.map_err(|refused| (payer.clone(), refused))?;
        // The token may have been revoked while this waited for the payer.
        if let Some(refusal) = token.cut(now).filter(|_| is_other) {
            payer.cancel(reservation);
            return Err(by_token(refusal));
        }
        Ok(reservation)
    }
}
