//! The fields `Signature-Input` and `Signature`, and what a signature says of itself.

use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser, SerializeValue};

use super::Rules;
use super::base::Request;
use super::keys::{Algorithm, Thumbprint};
use super::reason::{InvalidReason, Refused, UnverifiedReason};

/// A signature of Web Bot Auth as it came.
pub(super) struct Signature {
    pub(super) label: String,
    /// What it covers, with its parameters.
    pub(super) input: InnerList,
    pub(super) bytes: Vec<u8>,
}

/// The parameters of a signature that are there in every one that can hold.
pub(super) struct Terms<'s> {
    pub(super) created: i64,
    pub(super) expires: i64,
    pub(super) key: Thumbprint,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) nonce: Option<&'s str>,
}

const INPUT: &str = "signature-input";
const SIGNATURE: &str = "signature";
const TAG: &str = "web-bot-auth";
/// The size of all lines of one field together, in bytes.
const MAX_FIELD_BYTES: usize = 8_192;
/// The number of signatures in a request, with those of others.
const MAX_LABELS: usize = 8;
/// The number of things that a signature covers.
const MAX_COMPONENTS: usize = 32;

/// Returns the signatures of Web Bot Auth, each or what is wrong with it; none if there are only
/// others, or fields of the same name that mean something else.
///
/// # Errors
/// A field as a whole does not parse, so that no signature can be told from another.
pub(super) fn signatures(
    request: &Request<'_>,
) -> Result<Vec<Result<Signature, InvalidReason>>, InvalidReason> {
    if !request.has(INPUT) {
        return Ok(Vec::new());
    }
    let inputs = match dictionary(request, INPUT) {
        Ok(inputs) => inputs,
        // What is no signature of ours may have any form.
        Err(_) if !request.mentions(INPUT, TAG.as_bytes()) => return Ok(Vec::new()),
        Err(reason) => return Err(reason),
    };
    let ours = inputs.into_iter().filter_map(|(label, entry)| match entry {
        ListEntry::InnerList(input) if is_ours(&input) => Some((label, input)),
        _ => None,
    });
    let ours: Vec<(String, InnerList)> = ours.collect();
    if ours.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = dictionary(request, SIGNATURE)?;
    let with_bytes = |(label, input): (String, InnerList)| {
        let value = match bytes.get(&label) {
            Some(ListEntry::Item(item)) => item.bare_item.as_byte_seq(),
            _ => None,
        };
        let fits = input.items.len() <= MAX_COMPONENTS;
        let bytes = value.filter(|_| fits).ok_or(InvalidReason::Malformed)?;
        Ok(Signature {
            bytes: bytes.clone(),
            label,
            input,
        })
    };
    Ok(ours.into_iter().map(with_bytes).collect())
}

fn is_ours(input: &InnerList) -> bool {
    input.params.get("tag").and_then(BareItem::as_str) == Some(TAG)
}

/// Reads all lines of a field as one dictionary.
pub(super) fn dictionary(request: &Request<'_>, name: &str) -> Result<Dictionary, InvalidReason> {
    let text = request.field(name).ok_or(InvalidReason::Malformed)?;
    if text.len() > MAX_FIELD_BYTES {
        return Err(InvalidReason::Malformed);
    }
    let read = Parser::parse_dictionary(text.as_bytes()).map_err(|_| InvalidReason::Malformed)?;
    match read.len() <= MAX_LABELS {
        true => Ok(read),
        false => Err(InvalidReason::Malformed),
    }
}

impl Signature {
    /// Returns the parameters.
    pub(super) fn terms(&self) -> Result<Terms<'_>, Refused> {
        let param = |name: &str| self.input.params.get(name);
        let missing = InvalidReason::ParameterMissing;
        let time = |name| param(name).and_then(BareItem::as_int).ok_or(missing);
        let key = param("keyid").and_then(BareItem::as_str).ok_or(missing)?;
        let text = |name| match param(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or(missing),
        };
        let algorithm = text("alg")?
            .map(|name| Algorithm::parse(name).ok_or(UnverifiedReason::Algorithm))
            .transpose()?;
        Ok(Terms {
            created: time("created")?,
            expires: time("expires")?,
            // A key that is no thumbprint is in no directory.
            key: key.parse().map_err(|_| missing)?,
            algorithm,
            nonce: text("nonce")?,
        })
    }

    /// Returns what it covers, each in the form of `Signature-Input`.
    pub(super) fn covered(&self) -> Vec<String> {
        let texts = self.input.items.iter().map(SerializeValue::serialize_value);
        texts.filter_map(Result::ok).collect()
    }

    /// Returns the text behind `"@signature-params": `.
    pub(super) fn params(&self) -> Result<String, InvalidReason> {
        let list = vec![ListEntry::InnerList(self.input.clone())];
        list.serialize_value().map_err(|_| InvalidReason::Malformed)
    }
}

impl Terms<'_> {
    /// Checks the life of a signature at a time in seconds. A structured field holds no number that
    /// could leave the range here.
    pub(super) fn check_time(&self, now: i64, max_lifetime: i64) -> Result<(), InvalidReason> {
        let lives = (1..=max_lifetime).contains(&(self.expires - self.created));
        if self.created > now + Rules::SKEW_SECONDS {
            Err(InvalidReason::Future)
        } else if self.expires + Rules::SKEW_SECONDS < now {
            Err(InvalidReason::Expired)
        } else if !lives {
            Err(InvalidReason::Lifetime)
        } else {
            Ok(())
        }
    }
}
