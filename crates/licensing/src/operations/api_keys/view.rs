//! API keys as they are shown: the record of the store, with what this gate knows and the store
//! does not yet.

use model::{ApiKey, Counter, License, LicenseId, LicenseStatus, RateLimit, Refill, Timestamp};
use serde_json::{Value, json};
use store::{LeaseKey, LeaseRequest, StoredApiKey};

use super::super::acting::shown;
use crate::error::Error;
use crate::license::CachedLicense;
use crate::licensing::Licensing;
use crate::meter::{RateView, WindowUse};

/// An API key as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyView {
    /// The API key.
    pub key: ApiKey,
    /// The first characters of its newest key.
    pub start: String,
    /// The license of the key.
    pub license: License,
    /// The number of units that are left; `None`: they are not counted.
    pub remaining: Option<u64>,
    /// The time of the last refill; `None`: there was none yet.
    pub last_refill_at: Option<Timestamp>,
    /// The rate limit, whether it holds or not.
    pub rate: Option<RateLimit>,
    /// Whether the rate limit holds.
    pub rate_enabled: bool,
    /// The number of calls that passed in the present window.
    pub request_count: u32,
    /// The time of the last use.
    pub last_request: Option<Timestamp>,
}

impl Licensing {
    pub(super) async fn api_key_view(&self, stored: StoredApiKey) -> Result<ApiKeyView, Error> {
        let mut views = self.api_key_views(vec![stored]).await?;
        Ok(views.pop().expect("one key has one view"))
    }

    /// Returns the views of some keys, in their order.
    pub(super) async fn api_key_views(
        &self,
        stored: Vec<StoredApiKey>,
    ) -> Result<Vec<ApiKeyView>, Error> {
        let counts = self.request_counts(&stored).await?;
        let mut views = Vec::with_capacity(stored.len());
        for (stored, request_count) in stored.into_iter().zip(counts) {
            let id = stored.key.license_id;
            let start = stored.start().to_owned();
            let mut view = ApiKeyView::of(stored.key, start, stored.license.license);
            view.request_count = request_count;
            view.last_request = view.last_request.max(self.queues.last_uses.of(id));
            if view.license.spec.limits.remaining.is_some() {
                let balance = self.balance(id).await?;
                view.remaining = balance.map(|balance| balance.remaining);
            }
            view.last_refill_at = last_refill(&view.license, self.clock.now());
            views.push(view);
        }
        Ok(views)
    }

    /// Returns a key as it is after it was used, without asking the store. A key that was made with
    /// its license is shown as an API key that begins with `start`.
    #[must_use]
    pub fn used_key(
        &self,
        cached: &CachedLicense,
        start: &str,
        left: Option<u64>,
        rate: Option<RateView>,
        at: Timestamp,
    ) -> ApiKeyView {
        let license = License::clone(cached.license());
        let mut view = match cached.api_key() {
            Some(api_key) => ApiKeyView::of(api_key.key.clone(), api_key.start.clone(), license),
            None => {
                let limit = cached.effective().rate_limits.first().copied();
                ApiKeyView {
                    rate: limit,
                    rate_enabled: limit.is_some(),
                    ..ApiKeyView::of(as_api_key(&license), start.to_owned(), license)
                }
            }
        };
        view.remaining = left;
        view.last_refill_at = last_refill(&view.license, at);
        view.last_request = view.last_request.max(Some(at));
        let own = |seen: &RateView| {
            let limit = view.rate.filter(|_| view.rate_enabled);
            limit.is_some_and(|limit| limit.window.seconds() == seen.window_seconds)
        };
        let seen = rate.filter(own);
        view.request_count = seen.map_or(0, |seen| seen.limit.saturating_sub(seen.remaining));
        view
    }

    /// Returns the number of calls that passed in the present window of each key. Counts that the
    /// store keeps are read in one statement.
    async fn request_counts(&self, stored: &[StoredApiKey]) -> Result<Vec<u32>, Error> {
        let now = self.clock.now();
        let mut counts = vec![0; stored.len()];
        let (mut asked, mut requests) = (Vec::new(), Vec::new());
        for (at, stored) in stored.iter().enumerate() {
            let license = &stored.license.license;
            let Some(limit) = license.spec.limits.rate_limits.first() else {
                continue;
            };
            let state = self.cache.state(license.id);
            if let Some(state) = &state {
                self.queues.leases.settled(state).await;
            }
            let known = state.and_then(|state| state.meter().window_use(limit, now));
            match known {
                Some(WindowUse::Used(used)) => counts[at] = used,
                Some(WindowUse::Unused(unused)) => asked.push((at, unused)),
                None if limit.is_durable() => asked.push((at, 0)),
                None => {}
            }
            if asked.len() > requests.len() {
                requests.push(window_request(license.id, limit, now));
            }
        }
        if requests.is_empty() {
            return Ok(counts);
        }
        let capacities: Vec<u64> = requests.iter().map(|request| request.capacity).collect();
        let grants = self.store.lease(self.instance, requests, now).await?;
        for ((grant, capacity), (at, unused)) in grants.iter().zip(capacities).zip(asked) {
            let taken = capacity.saturating_sub(grant.left).saturating_sub(unused);
            counts[at] = u32::try_from(taken).unwrap_or(u32::MAX);
        }
        Ok(counts)
    }
}

/// Returns a license that no API key was made with as an API key.
fn as_api_key(license: &License) -> ApiKey {
    ApiKey {
        license_id: license.id,
        name: license.spec.label.clone(),
        prefix: None,
        metadata: None,
        permissions: None,
        parked_rate: None,
        updated_at: license.created_at,
        last_request: None,
    }
}

/// Returns a request for the rest of a window, which leases nothing.
fn window_request(license_id: LicenseId, limit: &RateLimit, now: Timestamp) -> LeaseRequest {
    let seconds = limit.window.seconds();
    LeaseRequest {
        key: LeaseKey {
            license_id,
            counter: Counter::Window(seconds),
            period: now.period(seconds),
        },
        want: 0,
        capacity: u64::from(limit.calls),
    }
}

/// Returns the time of the last refill: the beginning of the present interval, unless that is the
/// first.
fn last_refill(license: &License, now: Timestamp) -> Option<Timestamp> {
    license.spec.limits.remaining?;
    let every = license.spec.limits.refill?.every.micros();
    let age = now.micros().saturating_sub(license.created_at.micros());
    let intervals = age.div_euclid(every);
    (intervals > 0).then(|| {
        license
            .created_at
            .plus_micros(intervals.saturating_mul(every))
    })
}

impl ApiKeyView {
    fn of(key: ApiKey, start: String, license: License) -> Self {
        let held = license.spec.limits.rate_limits.first().copied();
        Self {
            start,
            remaining: license.spec.limits.remaining,
            last_refill_at: None,
            rate: held.or(key.parked_rate),
            rate_enabled: held.is_some(),
            request_count: 0,
            last_request: key.last_request,
            license,
            key,
        }
    }

    /// Returns the id of the key, which is that of its license.
    #[must_use]
    pub const fn id(&self) -> LicenseId {
        self.key.license_id
    }

    /// Returns whether the key may be used.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.license.status == LicenseStatus::Active
    }

    /// Returns the refill of the units.
    #[must_use]
    pub const fn refill(&self) -> Option<Refill> {
        self.license.spec.limits.refill
    }

    /// Returns the time of the last change or use.
    #[must_use]
    pub fn updated_at(&self) -> Timestamp {
        let used = self.last_request.unwrap_or(self.key.updated_at);
        used.max(self.key.updated_at)
    }
}

/// Returns an API key as the audit log shows it: its license, and its further fields. The owner's
/// metadata is not shown.
pub(super) fn shown_key(stored: &StoredApiKey) -> Value {
    let license = stored.license.license.clone();
    let view = ApiKeyView::of(stored.key.clone(), String::new(), license);
    let mut value = shown(&view.license);
    if let Value::Object(fields) = &mut value {
        let key = &view.key;
        let metadata = key.metadata.as_ref().map(|_| "not shown");
        for (name, said) in [
            ("name", json!(key.name)),
            ("prefix", json!(key.prefix)),
            ("metadata", json!(metadata)),
            ("resource_permissions", json!(key.permissions)),
            ("rate", json!(view.rate)),
            ("rate_enabled", json!(view.rate_enabled)),
        ] {
            fields.insert(name.to_owned(), said);
        }
    }
    value
}
