//! Web Bot Auth: who signs a request, by HTTP Message Signatures (RFC 9421) in the profile of
//! draft-ietf-webbotauth-httpsig-protocol.
//!
//! [`Verifier::judge`] parses and judges and does no I/O: it asks a [`KeySource`] for the keys of a
//! directory, and takes the time. Where the draft leaves a choice:
//!
//! - A `Signature-Agent` is a dictionary; the bare text of earlier drafts is taken as well. A
//!   signature covers its member by `"signature-agent";key="LABEL"` or covers the whole field. Its
//!   member is the one of its own label; if there is none, the only one that it covers, as in the
//!   draft's own vectors. Of several it is ambiguous, and no member is picked.
//! - Of its types `directory` and `jwks_uri` are known; the second is taken of known agents alone
//!   ([`Directories`](crate::Directories)).
//! - `created` may be up to [`Rules::SKEW_SECONDS`] ahead, and `expires` as much ago.
//! - A signature is good once, also one without a nonce.
//! - An algorithm that is not known here leaves a signature unverified, since it may hold.
//! - A signature with `@authority` alone is good for every method, path and body: what it covers
//!   stands in [`Verified::covered`].

mod agent;
mod base;
mod exercise;
mod keys;
mod parse;
mod reason;
mod reuse;

use std::sync::Arc;

use model::Timestamp;
use model::agent::Verification;

pub use base::Request;
pub use exercise::exercise;
pub use keys::{KeySet, KeySetError, Thumbprint};
pub use reason::{InvalidReason, UnverifiedReason};
pub use reuse::Reuse;

use crate::directory_url::DirectoryUrl;
use parse::Signature;
use reason::Refused;
use reuse::Claim;

/// The value of `Accept-Signature` (RFC 9421, section 5.1) that asks for a signature that would be
/// taken.
pub const ACCEPT_SIGNATURE: &str =
    r#"sig1=("@authority" "signature-agent";key="sig1");created;expires;tag="web-bot-auth""#;

/// The keys of a directory, as far as they are there.
#[derive(Clone, Debug)]
pub enum Keys {
    /// The directory was fetched.
    Known(Arc<KeySet>),
    /// The directory was not fetched yet.
    Unknown,
    /// The directory could not be fetched, and was not before.
    Failed,
    /// The directory is not fetched: it is of a kind that is taken of known agents alone, or its
    /// host has too many.
    Refused,
}

/// A source of the keys of directories. It answers out of memory.
pub trait KeySource {
    /// Returns the keys of a directory. `wanted` is the one that is looked for: a source may fetch
    /// the directory again if it is not among them.
    fn keys(&self, directory: &DirectoryUrl, wanted: &Thumbprint, now: Timestamp) -> Keys;
}

/// What is allowed. The default is what the gate allows; only tests with published vectors, which
/// use published keys and live for a century, need more.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether keys that are published for tests are good. \[false\]
    pub test_keys: bool,
    /// The longest life of a signature, in seconds. \[a day\]
    pub max_lifetime_seconds: i64,
}

/// A verifier of signatures, which remembers those that it has seen. It is shared by all threads.
#[derive(Debug, Default)]
pub struct Verifier {
    rules: Rules,
    reuse: Reuse,
}

/// What a signature says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The request has no signature of Web Bot Auth.
    Unsigned,
    /// A signature holds.
    Verified(Verified),
    /// A signature does not hold.
    Invalid(InvalidReason),
    /// Nobody can say whether a signature holds.
    Unverified(UnverifiedReason),
}

/// A signature that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The directory that publishes the key: the identity of the agent.
    pub directory: DirectoryUrl,
    /// The key.
    pub key: Thumbprint,
    /// The label of the signature.
    pub label: String,
    /// What it covers, in the form of `Signature-Input`, such as `"@authority"`.
    pub covered: Vec<String>,
    /// The end of its life.
    pub expires_at: Timestamp,
}

// === impl Rules ===

impl Rules {
    /// The time by which the clocks of an agent and of the gate may differ, in seconds.
    pub const SKEW_SECONDS: i64 = 5;
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            test_keys: false,
            max_lifetime_seconds: 86_400,
        }
    }
}

// === impl Verifier ===

impl Verifier {
    /// Makes a verifier with these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self::with_memory(rules, Reuse::default())
    }

    /// Makes a verifier with these rules that remembers what was used in this memory.
    #[must_use]
    pub const fn with_memory(rules: Rules, reuse: Reuse) -> Self {
        Self { rules, reuse }
    }

    /// Judges the signatures of a request, each by itself: if one holds, it is verified; otherwise,
    /// if one does not hold, it is invalid. A signature that holds is used up by this. Of a field
    /// that does not parse as a whole, none holds.
    ///
    /// What is verified was signed for `Request::authority`: whoever asks lets only names of their
    /// own through ([`Request::is_for`]).
    ///
    /// Without the field `Signature-Input` it costs a pass over the names of the fields; with a
    /// signature some 50 to 100 µs.
    pub fn judge(&self, request: &Request<'_>, keys: &dyn KeySource, now: Timestamp) -> Judgement {
        let signatures = match parse::signatures(request) {
            Ok(signatures) => signatures,
            Err(reason) => return Judgement::Invalid(reason),
        };
        let mut judgement = Judgement::Unsigned;
        for signature in &signatures {
            let judged = match signature {
                Ok(signature) => self.judge_one(signature, request, keys, now),
                Err(reason) => Err(Refused::Invalid(*reason)),
            };
            let this = match judged {
                Ok(verified) => return Judgement::Verified(verified),
                Err(Refused::Invalid(reason)) => Judgement::Invalid(reason),
                Err(Refused::Unverified(reason)) => Judgement::Unverified(reason),
            };
            if !matches!(judgement, Judgement::Invalid(_)) {
                judgement = this;
            }
        }
        judgement
    }

    fn judge_one(
        &self,
        signature: &Signature,
        request: &Request<'_>,
        keys: &dyn KeySource,
        now: Timestamp,
    ) -> Result<Verified, Refused> {
        // What costs nothing comes first, so that only what could hold makes a directory be fetched.
        let terms = signature.terms()?;
        terms.check_time(now.seconds(), self.rules.max_lifetime_seconds)?;
        let base = base::signature_base(signature, request)?;
        let directory = agent::directory(signature, request)?;
        let key = terms.key;
        if key.is_of_tests() && !self.rules.test_keys {
            return Err(InvalidReason::TestKey.into());
        }
        let keys = match keys.keys(&directory, &key, now) {
            Keys::Known(keys) => keys,
            Keys::Unknown => return Err(UnverifiedReason::DirectoryUnknown.into()),
            Keys::Failed => return Err(UnverifiedReason::DirectoryFailed.into()),
            Keys::Refused => return Err(UnverifiedReason::DirectoryRefused.into()),
        };
        let public = keys.find(&key).ok_or(UnverifiedReason::KeyUnknown)?;
        if !public.is_valid_at(now.seconds()) {
            return Err(InvalidReason::KeyExpired.into());
        }
        public.verify(terms.algorithm, base.as_bytes(), &signature.bytes)?;
        let ends = terms.expires + Rules::SKEW_SECONDS;
        let mark = reuse::mark(&key, &signature.bytes, terms.nonce);
        match self.reuse.claim(&directory, mark, ends, now.seconds()) {
            Claim::Taken => (),
            Claim::Reused => return Err(InvalidReason::Reused.into()),
            Claim::NoRoom => return Err(UnverifiedReason::NoRoom.into()),
        }
        Ok(Verified {
            directory,
            key,
            label: signature.label.clone(),
            covered: signature.covered(),
            expires_at: Timestamp::from_micros(terms.expires.saturating_mul(1_000_000)),
        })
    }
}

// === impl Judgement ===

impl Judgement {
    /// Returns the outcome that policies name.
    #[must_use]
    pub const fn verification(&self) -> Verification {
        match self {
            Self::Verified(_) => Verification::Verified,
            Self::Invalid(_) => Verification::Invalid,
            Self::Unsigned | Self::Unverified(_) => Verification::Unverified,
        }
    }

    /// Returns the status that the draft gives to a request of this kind, where it refuses it: 400
    /// for what does not parse, 429 for what was used before; `None`: a policy decides.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Invalid(InvalidReason::Malformed) => Some(400),
            Self::Invalid(InvalidReason::Reused) => Some(429),
            _ => None,
        }
    }
}

// === impl Verified ===

impl Verified {
    /// Returns whether the signature covers a component, by its name: `@path`, `crawler-max-price`.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        let quoted = format!("\"{name}\"");
        self.covered.iter().any(|component| {
            let rest = component.strip_prefix(&quoted);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(';'))
        })
    }
}
