//! The signal that cuts the running calls of a license.

use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use model::{LicenseStatus, Refusal, Timestamp};

/// The signal to running calls that their license may not be used any more (G5).
#[derive(Debug)]
pub struct CutSignal {
    refusal: AtomicU8,
    expires_at: AtomicI64,
}

impl CutSignal {
    const NEVER: i64 = i64::MAX;

    pub(super) const fn new() -> Self {
        Self {
            refusal: AtomicU8::new(0),
            expires_at: AtomicI64::new(Self::NEVER),
        }
    }

    /// Returns why the license may not be used any more; `None`: it may. Costs two relaxed loads.
    #[must_use]
    pub fn refusal(&self, now: Timestamp) -> Option<Refusal> {
        let refusal = Refusal::from_number(self.refusal.load(Ordering::Relaxed));
        let expired = self.expires_at.load(Ordering::Relaxed) <= now.micros();
        refusal.or_else(|| expired.then_some(Refusal::LicenseExpired))
    }

    pub(super) fn expires_at(&self) -> Timestamp {
        Timestamp::from_micros(self.expires_at.load(Ordering::Relaxed))
    }

    /// Takes in status and end. Returns whether anything changed.
    pub(super) fn learn(&self, status: LicenseStatus, expires_at: Option<Timestamp>) -> bool {
        let refusal = match status {
            LicenseStatus::Active => 0,
            LicenseStatus::Disabled => Refusal::LicenseDisabled as u8,
            LicenseStatus::Revoked => Refusal::LicenseRevoked as u8,
        };
        let end = expires_at.map_or(Self::NEVER, Timestamp::micros);
        let before = self.refusal.swap(refusal, Ordering::AcqRel);
        let end_before = self.expires_at.swap(end, Ordering::AcqRel);
        before != refusal || end_before != end
    }
}
