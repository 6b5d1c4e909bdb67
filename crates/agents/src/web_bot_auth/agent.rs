//! The field `Signature-Agent`: where the keys of a signature are.

use sfv::{BareItem, Item, ListEntry, Parser};

use super::base::Request;
use super::parse::{self, Signature};
use super::reason::{InvalidReason, Refused, UnverifiedReason};
use crate::directory_url::DirectoryUrl;

pub(super) const FIELD: &str = "signature-agent";

/// Returns the directory that a signature covers.
pub(super) fn directory(
    signature: &Signature,
    request: &Request<'_>,
) -> Result<DirectoryUrl, Refused> {
    if !request.has(FIELD) {
        return Err(UnverifiedReason::AgentMissing.into());
    }
    let of_field = |item: &&Item| item.bare_item.as_str() == Some(FIELD);
    let covering = signature.input.items.iter().filter(of_field);
    // `None` stands for the field as a whole.
    let keys: Vec<Option<&str>> = covering
        .map(|item| item.params.get("key").and_then(BareItem::as_str))
        .collect();
    if keys.is_empty() {
        return Err(InvalidReason::AgentNotCovered.into());
    }
    let text = request.field(FIELD).unwrap_or_default();
    if text.trim_start().starts_with('"') {
        let item = Parser::parse_item(text.as_bytes()).map_err(|_| InvalidReason::Malformed)?;
        return of_item(&item);
    }
    let members = parse::dictionary(request, FIELD)?;
    let is_covered = |label: &str| keys.iter().any(|key| key.is_none_or(|key| key == label));
    let covered = || members.iter().filter(|(label, _)| is_covered(label));
    let own = covered().find(|(label, _)| **label == signature.label);
    let member = match (own, covered().count()) {
        (Some(own), _) => Some(own),
        (None, 1) => covered().next(),
        (None, 0) => return Err(InvalidReason::AgentNotCovered.into()),
        (None, _) => return Err(InvalidReason::AgentAmbiguous.into()),
    };
    match member {
        Some((_, ListEntry::Item(item))) => of_item(item),
        _ => Err(InvalidReason::AgentUrl.into()),
    }
}

fn of_item(item: &Item) -> Result<DirectoryUrl, Refused> {
    let url = item.bare_item.as_str().ok_or(InvalidReason::AgentUrl)?;
    let read = match item.params.get("type").map(BareItem::as_token) {
        None | Some(Some("directory")) => DirectoryUrl::of_origin(url),
        Some(Some("jwks_uri")) => DirectoryUrl::of_key_set(url),
        Some(_) => return Err(UnverifiedReason::AgentType.into()),
    };
    read.map_err(|_| InvalidReason::AgentUrl.into())
}
