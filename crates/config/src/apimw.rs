//! `[apimw]`: sessions of key pairs, and the calls that are made with their tokens.

use model::{Interval, RateLimit};

use crate::reader::Section;
use crate::value::{FromValue, words};

/// `[apimw]`: sessions of key pairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apimw {
    /// The algorithm that signs access tokens \[`HS256`\].
    pub algorithm: TokenAlgorithm,
    /// The life of an access token \[1 h\].
    pub access_lifetime: Interval,
    /// The life of a refresh token \[30 d\].
    pub refresh_lifetime: Interval,
    /// The issuer of access tokens, their `iss` \[`tallygate`\].
    pub issuer: String,
    /// The audience of access tokens, their `aud` \[`tallygate`\].
    pub audience: String,
    /// The windows, all at once, of keys whose license and plan state none; at least one \[300 a
    /// minute, 10,000 an hour, 100,000 a day\].
    pub rate_limits: Vec<RateLimit>,
}

words! {
    /// The algorithm that signs access tokens.
    TokenAlgorithm {
        /// HMAC with a secret of the gates of this store, as in APIMW.
        #[default]
        Hs256 = "HS256",
        /// Ed25519 with a key whose public half is published, so that anybody can verify the
        /// tokens.
        EdDsa = "EdDSA",
    }
}

/// An issuer or an audience.
struct Party(String);

impl FromValue for Party {
    const EXPECTED: &'static str = "1 to 200 letters, digits and signs without blanks in a string";

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        let valid =
            (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        let refused = || format!("this cannot be used: write {}", Self::EXPECTED);
        Some(valid.then(|| Self(text.to_owned())).ok_or_else(refused))
    }
}

impl Default for Apimw {
    fn default() -> Self {
        let interval = |seconds| Interval::from_seconds(seconds).expect("it is in range");
        let limit = |text: &str| text.parse().expect("it is a rate limit");
        Self {
            algorithm: TokenAlgorithm::default(),
            access_lifetime: interval(3_600),
            refresh_lifetime: interval(30 * 86_400),
            issuer: "tallygate".to_owned(),
            audience: "tallygate".to_owned(),
            rate_limits: ["300/1m", "10000/1h", "100000/1d"].map(limit).into(),
        }
    }
}

impl Apimw {
    pub(crate) fn read(section: Section<'_>) -> Self {
        const KEY: &str = "rate_limits";
        let default = Self::default();
        let apimw = Self {
            algorithm: section.value("algorithm", default.algorithm),
            access_lifetime: section.value("access_lifetime", default.access_lifetime),
            refresh_lifetime: section.value("refresh_lifetime", default.refresh_lifetime),
            issuer: section.value("issuer", Party(default.issuer)).0,
            audience: section.value("audience", Party(default.audience)).0,
            rate_limits: section.windows(KEY, default.rate_limits),
        };
        if section.is_empty_list(KEY) {
            let message =
                format!("{KEY}: at least one window is needed: write such as [\"300/1m\"]");
            section.report(section.at(KEY), message);
        }
        if apimw.access_lifetime > apimw.refresh_lifetime {
            let message = "refresh_lifetime: it is shorter than access_lifetime: make it longer";
            section.report(section.at("refresh_lifetime"), message);
        }
        section.finish();
        apimw
    }
}
