//! What a call takes of its license's limits.

use licensing::{Ask, CachedLicense, HeldUnits, Reservation, ReserveError};
use model::Refusal;

/// Reserves what a call needs of a license's limits, all or nothing. Waits where the store must be
/// asked for a lease.
///
/// `held`: units that were leased for this call alone. They are used if the call asks for them, and
/// given back otherwise; after a refusal they stay there.
///
/// # Errors
/// The limit that is reached, or a revocation that came into force while this waited.
pub(crate) async fn reserve(
    entry: &CachedLicense,
    ask: Ask,
    held: &mut Option<HeldUnits>,
) -> Result<Reservation, licensing::Refused> {
    let usable = held.filter(|held| entry.serves(&ask, *held));
    if usable.is_none() {
        *held = None;
    }
    let ask = Ask {
        units: if usable.is_some() { 0 } else { ask.units },
        ..ask
    };
    let mut reservation = match entry.reserve(&ask) {
        Ok(reservation) => reservation,
        Err(ReserveError::Refused(refused)) => return Err(refused),
        Err(ReserveError::NeedLease) => entry.acquire(&ask).await?,
    };
    // A call that waited, here or for its license, may have been overtaken by a revocation, which
    // is in force once it has returned (G5).
    if let Some(refusal) = entry.cut(ask.now) {
        entry.cancel(reservation);
        return Err(refused_by_rule(refusal));
    }
    if let Some(usable) = usable {
        reservation.hold(usable);
        *held = None;
    }
    Ok(reservation)
}

/// Returns a refusal that has nothing to do with limits: no time to come back, no rate window.
pub(crate) const fn refused_by_rule(refusal: Refusal) -> licensing::Refused {
    licensing::Refused {
        refusal,
        retry_after: None,
        view: None,
        held_elsewhere: false,
    }
}
