//! Signing keys: their uses, algorithms and states.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::forms::text_form;
use crate::word_enum;

word_enum!(
    /// The use of a signing key. Each use has keys of its own, so that nothing signed for one
    /// passes as another.
    SigningUse {
        /// Stamps of processed requests, which anybody can verify offline.
        Stamps => "stamps",
        /// Access tokens that anybody can verify with the published key.
        Tokens => "tokens",
        /// Access tokens that only the gates of this store can verify.
        TokensHs256 => "tokens-hs256",
        /// Assertions on visitors of a site, which anybody can verify with the published key.
        Assertions => "assertions",
    }
);

/// The algorithm of a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SigningAlgorithm {
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// HMAC with SHA-256.
    Hs256,
}

/// The state of a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SigningKeyState {
    /// The key is published, and does not sign yet.
    Next,
    /// The key signs.
    Signing,
    /// The key signs no more. Its signatures are accepted until its overlap ends.
    Overlapping,
    /// Its signatures count no more. Its public half stays published, to read stamps later.
    Retired,
    /// Nothing that the key ever signed can be trusted. It is not published.
    Withdrawn,
}

/// The error for a text that is not a [`SigningUse`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not what keys sign: use `stamps`, `tokens`, `tokens-hs256` or `assertions`")]
pub struct ParseSigningUseError(pub String);

impl SigningUse {
    /// Returns the algorithm of its keys.
    #[must_use]
    pub const fn algorithm(self) -> SigningAlgorithm {
        match self {
            Self::Stamps | Self::Tokens | Self::Assertions => SigningAlgorithm::EdDsa,
            Self::TokensHs256 => SigningAlgorithm::Hs256,
        }
    }

    /// Returns whether its keys sign access tokens.
    #[must_use]
    pub const fn is_for_tokens(self) -> bool {
        matches!(self, Self::Tokens | Self::TokensHs256)
    }
}

impl SigningAlgorithm {
    /// Returns the algorithm's name in JOSE headers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }
}

impl SigningKeyState {
    /// Returns whether a signature by a key in this state counts as a credential.
    #[must_use]
    pub const fn verifies(self) -> bool {
        matches!(self, Self::Next | Self::Signing | Self::Overlapping)
    }

    /// Returns the word for this state.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Signing => "signing",
            Self::Overlapping => "overlapping",
            Self::Retired => "retired",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl FromStr for SigningUse {
    type Err = ParseSigningUseError;

    fn from_str(text: &str) -> Result<Self, ParseSigningUseError> {
        Self::parse(text).ok_or_else(|| ParseSigningUseError(crate::quoted(text, 40)))
    }
}

text_form! { SigningUse {
    "description": "The use of a signing key.",
    "enum": SigningUse::ALL.map(SigningUse::as_str),
} }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_survive_their_words_and_a_wrong_one_is_told_the_right_ones() {
        for signing_use in SigningUse::ALL {
            assert_eq!(signing_use.to_string().parse(), Ok(signing_use));
        }
        let error = "jwt".parse::<SigningUse>().expect_err("not a use");
        assert!(error.to_string().contains("`tokens-hs256`"), "{error}");
    }
}
