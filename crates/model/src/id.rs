//! Identifiers of sixteen bytes, told apart by type and by a prefix in their text form.

use std::fmt;
use std::str::FromStr;

use crate::forms::text_form;

/// The error for a text that is not the expected identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id: expected `{prefix}` and 32 hexadecimal digits")]
pub struct ParseIdError {
    /// The prefix of the expected kind of id.
    pub prefix: &'static str,
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal $(, $description:literal)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u128);

        impl $name {
            /// The prefix of the text form.
            pub const PREFIX: &'static str = $prefix;

            /// Returns the id with these bits.
            #[must_use]
            pub const fn from_u128(bits: u128) -> Self {
                Self(bits)
            }

            /// Returns the bits of the id.
            #[must_use]
            pub const fn as_u128(self) -> u128 {
                self.0
            }

            /// Generates an id: a UUID version 7, so that ids sort by the time they were made.
            #[must_use]
            pub fn generate() -> Self {
                Self(uuid::Uuid::now_v7().as_u128())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:032x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse($prefix, text).map(Self).ok_or(ParseIdError { prefix: $prefix })
            }
        }

        text_form! { $name $({
            "description": $description,
            "pattern": concat!("^", $prefix, "[0-9a-f]{32}$"),
        })? }
    };
}

id_type!(
    /// The id of a license: the right of a user to call an app, with its limits.
    LicenseId, "lic_", "A license."
);
id_type!(
    /// The id of a credential: one of the keys that open the gate for a license.
    CredentialId, "crd_", "A credential: one of the keys of a license."
);
id_type!(
    /// The id of a management key, which opens the control plane and never the gate.
    ManagementKeyId, "mgk_", "A management key."
);
id_type!(
    /// The id of a session: a family of tokens that began with one log-in.
    SessionId, "ses_", "A session."
);
id_type!(
    /// The id of a signing key, which is the `kid` of what it signed.
    SigningKeyId, "sgk_", "A signing key."
);
id_type!(
    /// The id of one process start of a gate, with its own journal and its own chain of sealed
    /// files.
    InstanceId, "ins_", "One process start of a gate."
);
id_type!(
    /// The id of a request token: a permit for one call.
    RequestTokenId, "rtk_", "A request token."
);
id_type!(
    /// The id of an entry of the audit log.
    AuditId, "aud_"
);
id_type!(
    /// The id of a plan's revision, a hash of its content: the same terms have the same revision.
    PlanRevisionId, "rev_", "A content hash of a plan: the same terms have the same revision."
);

id_type!(
    /// The id of a user of an app.
    UserId, "usr_", "A user of an app."
);
id_type!(
    /// The id of an app, for the software that is sold with it.
    AppId, "app_", "An app, for the software that is sold with it."
);

id_type!(
    /// The id of an event, by which its receivers tell a repetition.
    EventId, "evt_", "An event; the same in every delivery of it."
);
id_type!(
    /// The id of a webhook: a receiver of events.
    WebhookId, "whk_", "A webhook."
);

id_type!(
    /// The id of a rule of a policy on agents.
    AgentRuleId, "agr_", "A rule of a policy on agents."
);

fn parse(prefix: &str, text: &str) -> Option<u128> {
    let digits = text.strip_prefix(prefix)?;
    let plain = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u128::from_str_radix(digits, 16).ok())?
}

/// The id of one call, unique through retries, replays, restarts and re-shipping (G2).
///
/// Its text form is that of a UUID; it travels in the header `Tallygate-Call-Id`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(u128);

impl CallId {
    /// The length of the text form in bytes.
    pub const TEXT_LENGTH: usize = 36;

    /// Returns the id with these bits.
    #[must_use]
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// Returns the bits of the id.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// Generates an id, for calls that no worker counts.
    #[must_use]
    pub fn generate() -> Self {
        let bits = uuid::Uuid::now_v7().as_u128();
        Self(bits | u128::from(bits & 0xff == 0))
    }

    /// Returns a version 7 UUID (RFC 9562, section 5.7) of the given parts.
    ///
    /// `milliseconds` count from the UNIX epoch (48 bits are used), `seed` is random and fixed for
    /// a worker, and `counter` counts that worker's calls. Two workers collide only if 42 random
    /// bits and the counter agree.
    ///
    /// The last byte is never zero, since some readers of Parquet (fastparquet) cut zeros off the
    /// end of fixed-length values. So the counter begins anew after 255 × 2²⁴ calls, which no
    /// worker sees in one millisecond.
    #[must_use]
    pub const fn from_parts(milliseconds: u64, seed: u64, counter: u32) -> Self {
        const LAST_BYTES: u32 = 255;
        let counter = counter % (LAST_BYTES << 24);
        let counter = ((counter / LAST_BYTES) << 8) | (counter % LAST_BYTES + 1);
        let high = (milliseconds << 16) | 0x7000 | (seed & 0x0fff);
        let low = (0b10 << 62) | (((seed >> 12) & 0x3fff_ffff) << 32) | counter as u64;
        Self(((high as u128) << 64) | low as u128)
    }

    /// Writes the text form into a buffer, without allocation.
    #[must_use]
    pub fn encode(self, buffer: &mut [u8; Self::TEXT_LENGTH]) -> &str {
        uuid::Uuid::from_u128(self.0)
            .hyphenated()
            .encode_lower(buffer)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; Self::TEXT_LENGTH]))
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CallId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        uuid::Uuid::try_parse(text)
            .map(|uuid| Self(uuid.as_u128()))
            .map_err(|_| ParseIdError { prefix: "" })
    }
}

text_form! { CallId {
    "format": "uuid",
    "description": "A call.",
} }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_form_and_refuses_anothers() {
        let id = LicenseId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().parse::<CredentialId>().is_err());
        assert!(
            "lic_+0000000000000000000000000000000"
                .parse::<LicenseId>()
                .is_err()
        );
    }

    proptest::proptest! {
        #[test]
        fn call_ids_of_a_worker_follow_each_other_and_never_end_in_a_zero_byte(first: u32, seed: u64) {
            let after = first.saturating_add(1);
            let [first, second] = [first, after].map(|count| CallId::from_parts(1_790_000_000_000, seed, count));
            proptest::prop_assert_ne!(first.as_u128() & 0xff, 0);
            // Where the counter begins anew, a later millisecond keeps the order.
            let later = CallId::from_parts(1_790_000_000_001, seed, after);
            proptest::prop_assert!(first < later && (first < second || second.as_u128() & 0xffff_ffff == 1 || after == u32::MAX));
        }
    }

    #[test]
    fn the_first_call_ids_of_a_worker_are_in_order_and_end_in_no_zero_byte() {
        let id = |count| CallId::from_parts(1_790_000_000_000, 0x00c0_ffee, count).as_u128();
        let ids: Vec<_> = (0..100_000).map(id).collect();
        assert!(ids.is_sorted_by(|first, second| first < second));
        assert!(ids.iter().all(|id| id & 0xff != 0));
        let generated = (0..2_000).map(|_| CallId::generate().as_u128());
        assert!(generated.map(|id| id & 0xff).all(|last| last != 0));
        // Ids stay what they are made of where the counter begins anew.
        assert_eq!(id(u32::MAX) >> 32, id(0) >> 32);
    }

    #[test]
    fn a_call_id_is_a_version_7_uuid_and_keeps_its_parts_apart() {
        let id = CallId::from_parts(0x0123_4567_89ab, u64::MAX, 7);
        let uuid = uuid::Uuid::from_u128(id.as_u128());
        assert_eq!(uuid.get_version_num(), 7);
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        assert_ne!(id, CallId::from_parts(0x0123_4567_89ab, u64::MAX, 8));
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
