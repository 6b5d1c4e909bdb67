//! The text that is signed (RFC 9421, section 2.5).

use std::borrow::Cow;
use std::collections::HashSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sfv::{BareItem, Item, ListEntry, Parser, SerializeValue};

use super::parse::Signature;
use super::reason::{InvalidReason, Refused, UnverifiedReason};

/// A request as its signer saw it: before anything of it is changed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// The method.
    pub method: &'r str,
    /// The scheme by which the caller came, `https` or `http`.
    pub scheme: &'r str,
    /// The authority: `:authority`, or the field `Host`. It must be one of the site's own names, see
    /// [`Request::is_for`]: a caller may write there what it likes, and a signature that an agent
    /// made for another site would hold here.
    pub authority: &'r str,
    /// The path as it was sent, which begins with a slash.
    pub path: &'r str,
    /// The query as it was sent, without its question mark; `None`: there is none.
    pub query: Option<&'r str>,
    /// All fields, in their order, by their names in any case.
    pub fields: &'r [(&'r str, &'r [u8])],
}

/// What stays as it is in a parameter of a query (RFC 9421, section 2.2.8).
const OF_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');

impl<'r> Request<'r> {
    /// Returns the host that the request is sent to: the authority without its port.
    #[must_use]
    pub fn host(&self) -> &'r str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => self.authority,
        }
    }

    /// Returns whether the request is sent to one of these names of hosts; case does not count, nor
    /// does the port. A signature on a request to any other is nobody's: it was made for another
    /// site, and is not judged.
    #[must_use]
    pub fn is_for<'n>(&self, own: impl IntoIterator<Item = &'n str>) -> bool {
        let host = self.host();
        own.into_iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    fn lines(&self, name: &str) -> impl Iterator<Item = &'r [u8]> {
        let of_name = move |(own, _): &&(&str, &[u8])| own.eq_ignore_ascii_case(name);
        self.fields.iter().filter(of_name).map(|(_, value)| *value)
    }

    /// Returns whether there is a field of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.lines(name).next().is_some()
    }

    /// Returns whether these bytes stand in a field.
    pub(super) fn mentions(&self, name: &str, bytes: &[u8]) -> bool {
        let mut lines = self.lines(name);
        lines.any(|line| line.windows(bytes.len()).any(|part| part == bytes))
    }

    /// Returns all lines of a field as one (RFC 9421, section 2.1); `None` if there is none, or one
    /// that is no visible ASCII.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let text = |line: &'r [u8]| {
            let plain = line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
            let text = std::str::from_utf8(line).ok().filter(|_| plain);
            text.map(|text| text.trim_matches([' ', '\t']))
        };
        let lines: Vec<&str> = self.lines(name).map(text).collect::<Option<_>>()?;
        (!lines.is_empty()).then(|| lines.join(", "))
    }

    /// Returns the authority in normal form: in small letters, without the port that the scheme has
    /// anyway.
    fn authority(&self) -> String {
        let usual = match self.scheme {
            "https" => ":443",
            _ => ":80",
        };
        let authority = self.authority.to_ascii_lowercase();
        match authority.strip_suffix(usual) {
            Some(host) => host.to_owned(),
            None => authority,
        }
    }

    fn target_uri(&self) -> String {
        let query = self
            .query
            .map_or(String::new(), |query| format!("?{query}"));
        format!("{}://{}{}{query}", self.scheme, self.authority(), self.path)
    }

    /// Returns the value of the one parameter of the query that has this name.
    fn query_param(&self, name: &str) -> Option<String> {
        let pairs = self.query.unwrap_or_default().split('&');
        let values = pairs.filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (encoded(key) == name).then(|| encoded(value))
        });
        let mut values = values;
        // Of several nobody could say which is meant: they are refused.
        values.next().filter(|_| values.next().is_none())
    }
}

/// Returns a part of a query decoded as a form and encoded anew.
fn encoded(part: &str) -> String {
    let part = part.replace('+', " ");
    let decoded: Cow<'_, str> = percent_decode_str(&part).decode_utf8_lossy();
    utf8_percent_encode(&decoded, OF_QUERY).to_string()
}

/// Returns the text that a signature is over. It covers the target of the request, nothing twice,
/// and nothing that the request does not have.
pub(super) fn signature_base(
    signature: &Signature,
    request: &Request<'_>,
) -> Result<String, Refused> {
    let mut base = String::new();
    let mut seen = HashSet::new();
    let mut covers_target = false;
    for item in &signature.input.items {
        let name = item.bare_item.as_str().ok_or(InvalidReason::Malformed)?;
        let identifier = item
            .serialize_value()
            .map_err(|_| InvalidReason::Malformed)?;
        let value = value(name, item, request)?;
        covers_target |= matches!(name, "@authority" | "@target-uri");
        base.push_str(&format!("{identifier}: {value}\n"));
        if !seen.insert(identifier) {
            return Err(InvalidReason::ComponentTwice.into());
        }
    }
    if !covers_target {
        return Err(InvalidReason::TargetNotCovered.into());
    }
    base.push_str(&format!("\"@signature-params\": {}", signature.params()?));
    Ok(base)
}

fn value(name: &str, item: &Item, request: &Request<'_>) -> Result<String, Refused> {
    if name.starts_with('@') {
        return derived(name, item, request);
    }
    // A name in capitals is no component name (RFC 9421, section 2.1).
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(InvalidReason::Malformed.into());
    }
    let missing = || Refused::Invalid(InvalidReason::ComponentMissing);
    let field = || request.field(name).ok_or_else(missing);
    let params: Vec<&str> = item.params.keys().map(String::as_str).collect();
    match params.as_slice() {
        [] => field(),
        ["key"] => {
            let key = item.params.get("key").and_then(BareItem::as_str);
            let key = key.ok_or(InvalidReason::Malformed)?;
            let members = Parser::parse_dictionary(field()?.as_bytes())
                .map_err(|_| InvalidReason::Malformed)?;
            let member = members.get(key).ok_or_else(missing)?;
            member_text(member).ok_or(InvalidReason::Malformed.into())
        }
        _ => Err(UnverifiedReason::Component.into()),
    }
}

fn member_text(member: &ListEntry) -> Option<String> {
    vec![member.clone()].serialize_value().ok()
}

fn derived(name: &str, item: &Item, request: &Request<'_>) -> Result<String, Refused> {
    if name == "@query-param" && item.params.len() == 1 {
        let wanted = item.params.get("name").and_then(BareItem::as_str);
        let wanted = wanted.ok_or(InvalidReason::Malformed)?;
        let value = request.query_param(wanted);
        return value.ok_or(InvalidReason::ComponentMissing.into());
    }
    if !item.params.is_empty() {
        return Err(UnverifiedReason::Component.into());
    }
    Ok(match name {
        "@method" => request.method.to_owned(),
        "@authority" => request.authority(),
        "@scheme" => request.scheme.to_ascii_lowercase(),
        "@target-uri" => request.target_uri(),
        "@path" => request.path.to_owned(),
        // Without a query it is the question mark alone (RFC 9421, section 2.2.7).
        "@query" => format!("?{}", request.query.unwrap_or_default()),
        "@request-target" => {
            let query = request
                .query
                .map_or(String::new(), |query| format!("?{query}"));
            format!("{}{query}", request.path)
        }
        _ => return Err(UnverifiedReason::Component.into()),
    })
}
