//! Private keys of apps that were made elsewhere, in the forms in which other programs write them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

use crate::keys::Key;

/// A private key of Ed25519 that was made elsewhere: its 32-byte seed.
#[derive(Clone)]
pub struct AppKeySeed(Key);

/// The reason why a text is no private key. No variant holds a part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseAppKeySeedError {
    /// It has none of the forms. Blame: caller.
    #[error(
        "this is no private key of Ed25519: send its 32-byte seed in base64 or hexadecimal, or PKCS#8 as PEM (`BEGIN PRIVATE KEY`)"
    )]
    Form,
    /// It is PKCS#8 of another algorithm. Blame: caller.
    #[error("the private key is of another algorithm than Ed25519: software verifies no other")]
    Algorithm,
    /// It is encrypted. Blame: caller.
    #[error("the private key is encrypted: decrypt it first, as `openssl pkey -in FILE` does")]
    Encrypted,
    /// It is a public key or a certificate. Blame: caller.
    #[error("this is no private key but a public one: signing takes the private key")]
    Public,
    /// The public key beside it is another's. Blame: caller.
    #[error("the public key in the file does not belong to the private key: the file was changed")]
    Mismatch,
}

/// The object identifier of Ed25519, 1.3.101.112 (RFC 8410).
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// The attributes of a key, tagged 0.
const ATTRIBUTES: u8 = 0xa0;
/// The public key beside a private one, tagged 1 (RFC 5958), as it should be; some write it whole.
const PUBLIC: u8 = 0x81;
const PUBLIC_WHOLE: u8 = 0xa1;
const BITS: u8 = 0x03;

impl AppKeySeed {
    /// Reads a private key: its 32-byte seed in base64 (of either alphabet, padded or not) or in
    /// hexadecimal, or PKCS#8 of version 1 or 2 (RFC 5958, RFC 8410) as PEM.
    ///
    /// # Errors
    /// What is wrong with it, and what would work.
    pub fn parse(text: &str) -> Result<Self, ParseAppKeySeedError> {
        let text = text.trim();
        if text.contains("-----BEGIN ") {
            return Self::from_pem(text);
        }
        let decoders = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
        let base64 = || {
            decoders
                .iter()
                .find_map(|decoder| decoder.decode(text).ok())
        };
        let bytes = match text.len() {
            64 => hex::decode(text).ok(),
            _ => base64(),
        };
        let bytes = Zeroizing::new(bytes.ok_or(ParseAppKeySeedError::Form)?);
        Self::of_bytes(&bytes).ok_or(ParseAppKeySeedError::Form)
    }

    /// Returns the seed.
    pub(super) const fn key(&self) -> &Key {
        &self.0
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Key::new(bytes.try_into().ok()?)))
    }

    fn from_pem(text: &str) -> Result<Self, ParseAppKeySeedError> {
        let body = |kind: &str| {
            let (_, rest) = text.split_once(&format!("-----BEGIN {kind}-----"))?;
            Some(rest.split_once(&format!("-----END {kind}-----"))?.0)
        };
        let Some(body) = body("PRIVATE KEY") else {
            return Err(match text {
                text if text.contains("ENCRYPTED") => ParseAppKeySeedError::Encrypted,
                text if text.contains("BEGIN PUBLIC KEY") || text.contains("CERTIFICATE") => {
                    ParseAppKeySeedError::Public
                }
                text if text.contains("PRIVATE KEY") => ParseAppKeySeedError::Algorithm,
                _ => ParseAppKeySeedError::Form,
            });
        };
        let is_sign = |letter: &char| !letter.is_whitespace();
        let base64: Zeroizing<String> = Zeroizing::new(body.chars().filter(is_sign).collect());
        let der = STANDARD.decode(base64.as_bytes());
        let der = Zeroizing::new(der.map_err(|_| ParseAppKeySeedError::Form)?);
        Self::from_pkcs8(&der)
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, ParseAppKeySeedError> {
        let parts = Parts::read(der).ok_or(ParseAppKeySeedError::Form)?;
        if parts.algorithm != ED25519 {
            return Err(ParseAppKeySeedError::Algorithm);
        }
        let seed = whole(OCTETS, parts.key).and_then(Self::of_bytes);
        let seed = seed.ok_or(ParseAppKeySeedError::Form)?;
        let Some(public) = parts.public else {
            return Ok(seed);
        };
        let pair = Ed25519KeyPair::from_seed_and_public_key(&seed.0[..], public);
        match pair.is_ok_and(|pair| pair.public_key().as_ref() == public) {
            true => Ok(seed),
            false => Err(ParseAppKeySeedError::Mismatch),
        }
    }
}

impl std::fmt::Debug for AppKeySeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AppKeySeed(redacted)")
    }
}

/// The parts of PKCS#8.
struct Parts<'a> {
    algorithm: &'a [u8],
    key: &'a [u8],
    public: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let content = whole(SEQUENCE, der)?;
        let (version, rest) = part(INTEGER, content)?;
        if !matches!(version, [0 | 1]) {
            return None;
        }
        let (algorithm, rest) = part(SEQUENCE, rest)?;
        let (algorithm, _parameters) = part(IDENTIFIER, algorithm)?;
        let (key, rest) = part(OCTETS, rest)?;
        let rest = part(ATTRIBUTES, rest).map_or(rest, |(_, rest)| rest);
        let bits = match rest {
            [] => None,
            [PUBLIC, ..] => Some(whole(PUBLIC, rest)?),
            _ => Some(whole(BITS, whole(PUBLIC_WHOLE, rest)?)?),
        };
        // The first byte of a string of bits counts those of the last byte that are not used.
        let public = match bits {
            None => None,
            Some([0, public @ ..]) => Some(public),
            Some(_) => return None,
        };
        Some(Self {
            algorithm,
            key,
            public,
        })
    }
}

/// Returns the content of the first element of DER, which has this tag and fewer than 256 bytes, and
/// what follows it.
fn part(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der {
        [first, 0x81, length @ 0x80..=0xff, rest @ ..] if *first == tag => (*length, rest),
        [first, length @ ..=0x7f, rest @ ..] if *first == tag => (*length, rest),
        _ => return None,
    };
    rest.split_at_checked(length.into())
}

/// Returns the content of DER that is one element with this tag.
fn whole(tag: u8, der: &[u8]) -> Option<&[u8]> {
    let (content, rest) = part(tag, der)?;
    rest.is_empty().then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;

    /// The example of RFC 8410, section 10.3, and the same key with its public half.
    const V1: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
    const V2: &str = "-----BEGIN PRIVATE KEY-----
MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB
Z9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PRIVATE KEY-----
";
    const SEED: &str = "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";

    fn read(text: &str) -> Result<String, ParseAppKeySeedError> {
        AppKeySeed::parse(text).map(|seed| hex::encode(&seed.0[..]))
    }

    fn pem(der: &[u8]) -> String {
        let base64 = STANDARD.encode(der);
        format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----")
    }

    #[test]
    fn a_private_key_is_read_in_every_form() {
        let bytes = hex::decode(SEED).expect("hexadecimal");
        for text in [
            V1.to_owned(),
            V2.to_owned(),
            V1.replace('\n', "\r\n"),
            format!("\u{20}{SEED}\n"),
            SEED.to_uppercase(),
            STANDARD.encode(&bytes),
            STANDARD_NO_PAD.encode(&bytes),
            URL_SAFE.encode(&bytes),
        ] {
            assert_eq!(read(&text).as_deref(), Ok(SEED), "{text}");
        }
        // The form of ring, which writes the public key whole.
        let ring = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("random");
        let ring = AppKeySeed::parse(&pem(ring.as_ref()));
        assert_eq!(
            format!("{:?}", ring.expect("a key")),
            "AppKeySeed(redacted)"
        );
    }

    #[test]
    fn what_is_no_private_key_of_ed25519_is_told_apart() {
        use ParseAppKeySeedError::{Algorithm, Encrypted, Form, Mismatch, Public};
        let named = |kind: &str| V1.replace("PRIVATE KEY", kind);
        for (text, why) in [
            (String::new(), Form),
            ("a key".to_owned(), Form),
            (SEED[2..].to_owned(), Form),
            (V1.replace("MC4C", "MC5C"), Form),
            (V1.replace("VhC", ""), Form),
            (V1.replace("K2Vw", "K2Vv"), Algorithm),
            (named("RSA PRIVATE KEY"), Algorithm),
            (named("ENCRYPTED PRIVATE KEY"), Encrypted),
            (named("PUBLIC KEY"), Public),
            (V2.replace("Z9w7", "Z9w8"), Mismatch),
        ] {
            assert_eq!(read(&text), Err(why), "{text}");
        }
    }

    #[test]
    fn no_change_of_a_byte_makes_a_file_that_is_read_wrongly() {
        let der = V2.lines().filter(|line| !line.starts_with('-'));
        let der = STANDARD.decode(der.collect::<String>()).expect("base64");
        for at in 0..der.len() {
            for end in 0..der.len() {
                let _ = AppKeySeed::parse(&pem(&der[..end]));
            }
            let mut changed = der.clone();
            changed[at] ^= 1;
            if let Ok(seed) = read(&pem(&changed)) {
                assert_eq!(seed, SEED, "the public key would be another: byte {at}");
            }
        }
    }
}
