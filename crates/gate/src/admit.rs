//! Admission: credential, license, limits, then room in the journal. A refusal ends here.

use std::sync::Arc;

use licensing::{Ask, CachedLicense, ClaimedToken, Reservation};
use model::agent::CallingAgent;
use model::path::NormalPath;
use model::{Address, CallFacts, CallHead, CallTail, Refusal};

use crate::agents::{Charge, RequestHead, sight_of};
use crate::call::{Admitted, Ticket};
use crate::catalogue::PlanSymbol;
use crate::gate::Gate;
use crate::refused::Refused;
use crate::reserve::{refused_by_rule, reserve};
use crate::routed::Routed;
use crate::worker::Worker;

/// The credentials that a call presents to be let in.
#[derive(Clone, Copy)]
pub enum Presented<'a> {
    /// No credential.
    Nothing,
    /// One credential.
    Credential(&'a [u8]),
    /// Two different credentials.
    Ambiguous,
    /// A one-use request token.
    Token(&'a [u8]),
}

/// The properties of a call that admission looks at besides its route.
#[derive(Clone, Copy)]
pub struct CallRequest<'a> {
    /// The raw path, without query.
    pub path: &'a [u8],
    /// The caller's address.
    pub address: Option<Address>,
    /// The presented credentials.
    pub presented: Presented<'a>,
    /// The hash of the caller's idempotency key; 0 where there is none.
    pub idempotency: u64,
    /// The head, by which agents are known; `None` where the app does not decide on agents, and for
    /// calls that the control plane passes on.
    pub head: Option<RequestHead<'a>>,
}

/// The license that pays for a call, and what the call holds of its limits.
pub(crate) struct Payment {
    pub(crate) entry: Arc<CachedLicense>,
    pub(crate) reservation: Reservation,
    pub(crate) token: Option<ClaimedToken>,
    /// What is charged, where a price was agreed on.
    pub(crate) charge: Option<Charge>,
}

impl Payment {
    /// Gives everything back: nobody was reached.
    pub(crate) fn cancel(mut self) {
        if let Some(token) = self.token {
            token.release(Some(&mut self.reservation));
        }
        self.entry.cancel(self.reservation);
    }
}

impl Gate {
    /// Payload bytes that the records of one forwarded call take in the journal: head and tail.
    const PAYLOAD_BYTES: u32 = (CallHead::LENGTH + CallTail::LENGTH) as u32;

    /// Lets a call in, or refuses it. Waits only where the license is not known here or its lease
    /// has run out.
    ///
    /// # Errors
    /// The first rule that refuses. A refusal of a known license is recorded; nobody waits for that
    /// record.
    pub async fn admit(
        &self,
        worker: &Arc<Worker>,
        routed: Routed,
        request: CallRequest<'_>,
    ) -> Result<Admitted, Refused> {
        match sight_of(&routed, &request) {
            // Boxed, so that the calls of others do not carry its room.
            Some(sight) => Box::pin(self.admit_sighted(worker, routed, request, sight)).await,
            None => self.admit_anybody(worker, routed, request).await,
        }
    }

    /// Lets a call in by its license, or on an open route.
    pub(crate) async fn admit_anybody(
        &self,
        worker: &Arc<Worker>,
        routed: Routed,
        request: CallRequest<'_>,
    ) -> Result<Admitted, Refused> {
        if routed.route.open {
            return self.let_in(worker, routed, request.idempotency, None);
        }
        self.admit_licensed(worker, routed, request).await
    }

    /// Lets a call in by the license that it presents.
    pub(crate) async fn admit_licensed(
        &self,
        worker: &Arc<Worker>,
        routed: Routed,
        request: CallRequest<'_>,
    ) -> Result<Admitted, Refused> {
        let found = match request.presented {
            Presented::Token(secret) => {
                return self.admit_token(worker, routed, &request, secret).await;
            }
            Presented::Credential(credential) => self.license_of(worker, &routed, credential).await,
            Presented::Nothing => Err(Refusal::LicenseMissing),
            Presented::Ambiguous => Err(Refusal::CredentialAmbiguous),
        };
        match found {
            Ok(entry) => self.admit_with(worker, routed, request, entry).await,
            Err(refusal) => Err(self.refuse(worker, &routed, refusal)),
        }
    }

    /// Lets a call in by a license.
    pub(crate) async fn admit_with(
        &self,
        worker: &Arc<Worker>,
        routed: Routed,
        request: CallRequest<'_>,
        entry: Arc<CachedLicense>,
    ) -> Result<Admitted, Refused> {
        match check_and_reserve(&routed, &request, &entry).await {
            Ok(reservation) => {
                let payment = Payment {
                    entry,
                    reservation,
                    token: None,
                    charge: None,
                };
                self.let_in(worker, routed, request.idempotency, Some(payment))
            }
            Err(refused) => Err(self.refuse_known(worker, &routed, &entry, &refused)),
        }
    }

    /// Reserves room for the records of a call, so that none is forwarded that cannot be recorded,
    /// and lets it in. `payment`: `None` on open routes; given back if there is no room.
    pub(crate) fn let_in(
        &self,
        worker: &Arc<Worker>,
        routed: Routed,
        idempotency: u64,
        payment: Option<Payment>,
    ) -> Result<Admitted, Refused> {
        // Loaded here and not with the route: a plan may have become known while the call waited
        // for its license.
        let catalogue;
        let plan = match &payment {
            Some(payment) => {
                catalogue = self.catalogue.load();
                catalogue.plan_of(&worker.admission, &routed.route, &payment.entry)
            }
            None => None,
        };
        let Ok(space) = worker.room_for(&routed.route, plan, Self::PAYLOAD_BYTES, 2) else {
            if let Some(payment) = payment {
                payment.cancel();
            }
            return Err(self.refuse(worker, &routed, Refusal::JournalUnavailable));
        };
        let head = match &payment {
            Some(payment) => routed.paid_head(
                payment.entry.license().id,
                PlanSymbol::number_of(plan),
                Some(&payment.reservation),
            ),
            None => routed.head(),
        };
        let charge = payment.as_ref().and_then(|payment| payment.charge);
        let units = charge.and_then(|charge| charge.units);
        let rate = payment
            .as_ref()
            .and_then(|payment| payment.reservation.view());
        let (entry, reservation, token) = match payment {
            Some(payment) => (
                Some(payment.entry),
                Some(payment.reservation),
                payment.token,
            ),
            None => (None, None, None),
        };
        Ok(Admitted::new(Ticket {
            worker: worker.clone(),
            route: routed.route,
            entry,
            head: CallHead {
                idempotency,
                reserved: units.unwrap_or(head.reserved),
                ..head
            },
            started: routed.started,
            reservation,
            token,
            charge,
            space: Some(space),
            rate,
        }))
    }
}

/// Applies the ordered check, then takes what the call needs of the limits.
async fn check_and_reserve(
    routed: &Routed,
    request: &CallRequest<'_>,
    entry: &CachedLicense,
) -> Result<Reservation, licensing::Refused> {
    admits(routed, request, entry, None).map_err(refused_by_rule)?;
    let ask = Ask {
        units: routed.route.max_units,
        now: routed.started_at,
        slot: true,
    };
    reserve(entry, ask, &mut None).await
}

/// Applies the ordered check. `agent`: the agent that calls, whose token the license may be.
pub(crate) fn admits(
    routed: &Routed,
    request: &CallRequest<'_>,
    entry: &CachedLicense,
    agent: Option<CallingAgent<'_>>,
) -> Result<(), Refusal> {
    let has_permissions = !entry.license().spec.permissions.is_empty();
    let path = has_permissions.then(|| NormalPath::parse(request.path));
    let facts = CallFacts {
        now: routed.started_at,
        address: request.address,
        target: match &path {
            Some(Ok(path)) => Some((routed.method, path.as_str())),
            Some(Err(_)) | None => None,
        },
        features: &routed.route.features,
        agent,
    };
    entry.check(&facts)?;
    // A path that can be read in two ways is covered by no permission.
    match path {
        Some(Err(_)) => Err(Refusal::PathAmbiguous),
        _ => Ok(()),
    }
}
