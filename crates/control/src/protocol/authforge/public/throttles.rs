//! The limits of requests of software, by license, address and app.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use licensing::{SoftwareApp, Taken, Throttle};
use model::{Address, LicenseId, Moment};

/// The throttles of the protocol. Cheap to clone: all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Throttles(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    by_license: Throttle,
    by_address: Throttle,
    heartbeats: Throttle,
    credits: Throttle,
}

/// Credits that are taken of a burn cap. Dropped, they are given back.
#[derive(Debug)]
#[must_use = "they are used up or given back"]
pub(super) struct TakenCredits<'a> {
    throttle: &'a Throttle,
    taken: Option<Taken>,
}

impl Default for Throttles {
    fn default() -> Self {
        /// The number of licenses or addresses that are counted at once.
        const MOST: usize = 100_000;
        let throttle = || Throttle::new(MOST);
        Self(Arc::new(Counts {
            by_license: throttle(),
            by_address: throttle(),
            heartbeats: throttle(),
            credits: throttle(),
        }))
    }
}

impl Throttles {
    /// Takes a request from an address; none is counted from the gate's own socket.
    ///
    /// # Errors
    /// The time until the window is over.
    pub(super) fn address(
        &self,
        app: &SoftwareApp,
        address: Option<Address>,
        now: Moment,
    ) -> Result<(), Duration> {
        match (app.terms.validate_limit_per_address, address) {
            (Some(limit), Some(address)) => {
                let key = format!("{}\0{}", app.app, network(address));
                self.0.by_address.take(digest(&key), limit, now)
            }
            _ => Ok(()),
        }
    }

    /// Takes a validation of a license, by the text of its key, so that nothing is looked up.
    ///
    /// # Errors
    /// The time until the window is over.
    pub(super) fn license(
        &self,
        app: &SoftwareApp,
        key: &str,
        now: Moment,
    ) -> Result<(), Duration> {
        let Some(limit) = app.terms.validate_limit else {
            return Ok(());
        };
        let key = format!(
            "{}\0{}",
            app.app,
            key.trim().replace('-', "").to_ascii_uppercase()
        );
        self.0.by_license.take(digest(&key), limit, now)
    }

    /// Takes a heartbeat of a license.
    ///
    /// # Errors
    /// The time until the window is over.
    pub(super) fn heartbeat(
        &self,
        app: &SoftwareApp,
        license: LicenseId,
        now: Moment,
    ) -> Result<(), Duration> {
        let Some(limit) = app.terms.heartbeat_limit else {
            return Ok(());
        };
        self.0.heartbeats.take(license.as_u128(), limit, now)
    }

    /// Takes credits that the software of an app uses.
    ///
    /// # Errors
    /// The time until the window of its burn cap is over.
    pub(super) fn credits(
        &self,
        app: &SoftwareApp,
        credits: u64,
        now: Moment,
    ) -> Result<TakenCredits<'_>, Duration> {
        let throttle = &self.0.credits;
        let taken = match app.terms.burn_cap {
            Some(limit) => Some(throttle.take_many(app.id.as_u128(), credits, limit, now)?),
            None => None,
        };
        Ok(TakenCredits { throttle, taken })
    }
}

impl TakenCredits<'_> {
    /// Leaves them taken: they are used.
    pub(super) fn use_up(mut self) {
        self.taken = None;
    }
}

impl Drop for TakenCredits<'_> {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take() {
            self.throttle.give_back(taken);
        }
    }
}

/// Returns the text that an address counts as: the /64 of an IPv6 address.
fn network(address: Address) -> IpAddr {
    match address.ip() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

/// Returns a digest of a text that says nothing about a key in it.
fn digest(text: &str) -> u128 {
    use sha2::{Digest, Sha256};
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let (first, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
    u128::from_be_bytes(*first)
}
