//! The headers of a request: the credentials that a caller presents, and the head that the upstream
//! gets.

use gate::{Presented, Route, rpc};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use ipnet::IpNet;
use model::header::{Meaning, has_underscore, is_odd, is_spelling_of, meaning};
use model::{Address, Forwarded, ForwardedFor, License, is_access_token};
use pingora::http::RequestHeader;

use crate::backend::{Backend, Underscores};
use crate::caller::Caller;

/// The header with the identity of a call, on every answer and on every forwarded request.
///
/// Names that the gate writes are text: the framework keeps them as they stand, where it would copy
/// a `HeaderName`.
pub(crate) const CALL_ID: &str = "Tallygate-Call-Id";

/// The header with which a caller names a call that it may repeat.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const LICENSE_ID_TEXT: &str = "Tallygate-License-Id";
const USER_ID_TEXT: &str = "Tallygate-User-Id";
const FORWARDED_FOR_TEXT: &str = "X-Forwarded-For";
const FORWARDED_PROTO_TEXT: &str = "X-Forwarded-Proto";
const FORWARDED_TEXT: &str = "Forwarded";
const REAL_IP_TEXT: &str = "X-Real-IP";
/// The protocol of callers' connections.
const PROTO: &str = "http";
const REQUEST_TOKEN: HeaderName = HeaderName::from_static("apifew-request-token");
pub(crate) const LICENSE_KEY: HeaderName = HeaderName::from_static("apifew-user-license-key");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Returns the credentials that the headers present. `names`: the headers that keys are read from.
/// `agents`: whether tokens of agents are among them. One pass over all headers is cheaper than a
/// look-up of each name.
pub(crate) fn presented<'a>(
    headers: &'a HeaderMap,
    names: &[HeaderName],
    agents: bool,
) -> Presented<'a> {
    let (mut credentials, mut tokens) = (One::default(), One::default());
    for (name, value) in headers {
        if names.contains(name) {
            credentials.add(credential(name, value));
        } else if *name == AUTHORIZATION {
            own_token(value, agents)
                .into_iter()
                .for_each(|own| credentials.add(own));
        } else if *name == REQUEST_TOKEN {
            tokens.add(value.as_bytes().trim_ascii());
        }
    }
    match (tokens, credentials) {
        // The license that pays must not be guessed.
        (One::Several, _) | (_, One::Several) => Presented::Ambiguous,
        (One::None, One::None | One::Of([])) => Presented::Nothing,
        (One::None, One::Of(credential)) => Presented::Credential(credential),
        (One::Of(token), One::None | One::Of([])) => Presented::Token(token),
        (One::Of(_), One::Of(_)) => Presented::Ambiguous,
    }
}

/// The one value of a header, however often it is repeated; or several different ones.
#[derive(Clone, Copy, Default)]
enum One<'a> {
    #[default]
    None,
    Of(&'a [u8]),
    Several,
}

impl<'a> One<'a> {
    fn add(&mut self, text: &'a [u8]) {
        *self = match *self {
            Self::None => Self::Of(text),
            Self::Of(first) if first == text => return,
            Self::Of(_) | Self::Several => Self::Several,
        };
    }
}

/// Returns an access token of ours, or with `agents` the token of an agent. Any other bearer token
/// is the upstream's.
fn own_token(value: &HeaderValue, agents: bool) -> Option<&[u8]> {
    let token = credential(&AUTHORIZATION, value);
    let is_own = is_access_token(token) || agents && gate::is_agent_token(token);
    is_own.then_some(token)
}

/// Returns the credentials that a call by rpc presents: its license key, whatever headers its app
/// reads keys from. A different key in one of those makes the call ambiguous, as anywhere.
pub(crate) fn presented_by_rpc<'a>(headers: &'a HeaderMap, names: &[HeaderName]) -> Presented<'a> {
    let names: Vec<_> = [LICENSE_KEY].iter().chain(names).cloned().collect();
    presented(headers, &names, false)
}

/// Returns the name of the app that a call by rpc is for, and its caller.
pub(crate) fn rpc_call(headers: &HeaderMap) -> (&str, Option<Caller>) {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let address = text(&rpc::CALLER).and_then(|text| Address::parse(text).ok());
    let caller = address.map(Caller::new);
    (text(&rpc::APP).unwrap_or_default(), caller)
}

/// Returns the credential in a header's value, without the scheme `Bearer` in `Authorization`.
fn credential<'a>(name: &HeaderName, value: &'a HeaderValue) -> &'a [u8] {
    let bytes = value.as_bytes().trim_ascii();
    if *name != AUTHORIZATION {
        return bytes;
    }
    match bytes.split_at_checked(7) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer ") => rest.trim_ascii(),
        _ => bytes,
    }
}

/// Returns the caller's address: that of the peer, or the one that a trusted proxy names.
pub(crate) fn caller_address(peer: Address, headers: &HeaderMap, trusted: &[IpNet]) -> Address {
    if trusted.is_empty() {
        return peer;
    }
    forwarded_for(headers).caller(peer, trusted).address
}

/// Returns the scheme by which a caller came: that of the gate's own connections, or the one that a
/// trusted proxy names.
pub(crate) fn caller_scheme(
    peer: Option<Address>,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> &'static str {
    let is_trusted = !trusted.is_empty() && peer.is_some_and(|peer| peer.is_in(trusted));
    let said = headers.get(&FORWARDED_PROTO).filter(|_| is_trusted);
    match said {
        Some(said) if said.as_bytes().eq_ignore_ascii_case(b"https") => "https",
        _ => PROTO,
    }
}

/// Returns all lines of `X-Forwarded-For`, in order.
fn forwarded_for(headers: &HeaderMap) -> ForwardedFor<impl DoubleEndedIterator<Item = &[u8]>> {
    let lines = headers.get_all(&FORWARDED_FOR).iter();
    ForwardedFor(lines.map(HeaderValue::as_bytes))
}

/// The circumstances that the rewriting of a request's head depends on.
pub(crate) struct Rewrite<'a> {
    pub(crate) route: &'a Route,
    pub(crate) backend: &'a Backend,
    pub(crate) license: Option<&'a License>,
    pub(crate) call_id: &'a HeaderValue,
    /// The caller at the other end of the connection, or by rpc the one that the control plane
    /// names.
    pub(crate) peer: Option<&'a Caller>,
    pub(crate) from_trusted_proxy: bool,
}

/// Strips the headers that only the gate may set and their imitations, and adds those that the
/// upstream gets. Everything else stays as it was sent.
pub(crate) fn rewrite(head: &mut RequestHeader, rewrite: &Rewrite<'_>) -> pingora::Result<()> {
    strip(head, rewrite);
    head.insert_header(CALL_ID, rewrite.call_id.clone())?;
    forwarded(head, rewrite)?;
    if let Some(license) = rewrite.license {
        if rewrite.backend.forward_license_id {
            head.insert_header(LICENSE_ID_TEXT, license.id.to_string())?;
        }
        if let (true, Some(user)) = (rewrite.backend.forward_user_id, &license.spec.user)
            && let Ok(user) = HeaderValue::from_str(user)
        {
            head.insert_header(USER_ID_TEXT, user)?;
        }
    }
    for (name, value) in &rewrite.backend.inject {
        head.insert_header(name.clone(), value.clone())?;
    }
    Ok(())
}

/// Returns whether a header may not reach the upstream as the caller sent it.
fn is_stripped(name: &HeaderName, rewrite: &Rewrite<'_>) -> bool {
    let (text, backend) = (name.as_str(), rewrite.backend);
    let keys = &rewrite.route.app.license_headers;
    let by_meaning = match meaning(text) {
        Meaning::Ordinary => false,
        Meaning::Gate | Meaning::Frame => true,
        Meaning::Proxy => !rewrite.from_trusted_proxy,
        Meaning::MethodOverride => !backend.allow_method_override,
    };
    by_meaning || keys.contains(name) || (is_odd(text) && is_odd_one_stripped(text, rewrite))
}

/// Returns the same for a name that an upstream may read as another one.
fn is_odd_one_stripped(name: &str, rewrite: &Rewrite<'_>) -> bool {
    let keys = rewrite.route.app.license_headers.iter();
    let injected = rewrite.backend.inject.iter().map(|(name, _)| name);
    (has_underscore(name) && rewrite.backend.underscores != Underscores::Forward)
        || keys
            .chain(injected)
            .any(|ours| is_spelling_of(name, ours.as_str()))
}

/// Returns whether a head has a name with an underscore, other than those that the app reads keys
/// from.
pub(crate) fn has_underscored_name(headers: &HeaderMap, keys: &[HeaderName]) -> bool {
    let mut names = headers.keys();
    names.any(|name| has_underscore(name.as_str()) && !keys.contains(name))
}

/// Removes credentials, headers that only the gate may set, and method overrides. One pass finds
/// them: most requests have one of them at most, and each removal costs two look-ups.
fn strip(head: &mut RequestHeader, rewrite: &Rewrite<'_>) {
    const BATCH_SIZE: usize = 8;
    let agents = rewrite.route.app.decides_on_agents();
    if head
        .headers
        .get_all(&AUTHORIZATION)
        .iter()
        .any(|value| own_token(value, agents).is_some())
    {
        head.remove_header(&AUTHORIZATION);
    }
    loop {
        let mut found: [Option<HeaderName>; BATCH_SIZE] = [const { None }; BATCH_SIZE];
        let names = head.headers.keys();
        let names = names
            .filter(|name| is_stripped(name, rewrite))
            .take(BATCH_SIZE);
        let count = found
            .iter_mut()
            .zip(names)
            .map(|(slot, name)| *slot = Some(name.clone()))
            .count();
        for name in found.iter().flatten() {
            head.remove_header(name);
        }
        if count < BATCH_SIZE {
            return;
        }
    }
}

/// Rewrites `Forwarded` and `X-Real-IP` of a trusted proxy in the form in which they are read here,
/// and removes them where they cannot be read.
fn restate(head: &mut RequestHeader, peer: Option<&Caller>) -> pingora::Result<()> {
    if head.headers.contains_key(&FORWARDED) {
        let lines = head.headers.get_all(&FORWARDED).iter();
        let said = Forwarded::read(lines.map(HeaderValue::as_bytes)).ok();
        head.remove_header(&FORWARDED);
        if let (Some(said), Some(peer)) = (said, peer) {
            head.insert_header(FORWARDED_TEXT, said.with_peer(peer.address, PROTO))?;
        }
    }
    if head.headers.contains_key(&REAL_IP) {
        let mut lines = head.headers.get_all(&REAL_IP).iter();
        let one = lines.next().filter(|_| lines.next().is_none());
        let said = one.and_then(|line| Address::parse(line.to_str().ok()?).ok());
        head.remove_header(&REAL_IP);
        if let Some(address) = said {
            head.insert_header(REAL_IP_TEXT, address.to_string())?;
        }
    }
    Ok(())
}

/// Writes `X-Forwarded-For` and `X-Forwarded-Proto`: appended to those of a trusted proxy, in place
/// of anybody else's. `Host` passes as it was sent, so `X-Forwarded-Host` would only repeat it: it
/// is kept from a trusted proxy and absent otherwise.
fn forwarded(head: &mut RequestHeader, rewrite: &Rewrite<'_>) -> pingora::Result<()> {
    if rewrite.from_trusted_proxy {
        restate(head, rewrite.peer)?;
    }
    if let Some(peer) = rewrite.peer {
        let value = if rewrite.from_trusted_proxy && head.headers.contains_key(&FORWARDED_FOR) {
            let list = forwarded_for(&head.headers).with_peer(peer.address);
            HeaderValue::try_from(list).expect("a list of addresses is plain ASCII")
        } else {
            peer.text.clone()
        };
        head.insert_header(FORWARDED_FOR_TEXT, value)?;
    }
    let said = rewrite.from_trusted_proxy && head.headers.contains_key(&FORWARDED_PROTO);
    if !said {
        head.insert_header(FORWARDED_PROTO_TEXT, HeaderValue::from_static(PROTO))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn one_credential_is_read_wherever_it_stands_and_two_are_ambiguous() {
        let names = [LICENSE_KEY, AUTHORIZATION];
        let found = |pairs: &[(&'static str, &'static str)]| match presented(
            &headers(pairs),
            &names,
            false,
        ) {
            Presented::Nothing => "nothing".to_owned(),
            Presented::Credential(credential) => String::from_utf8_lossy(credential).into_owned(),
            Presented::Ambiguous => "ambiguous".to_owned(),
            Presented::Token(token) => format!("token {}", String::from_utf8_lossy(token)),
        };
        assert_eq!(found(&[]), "nothing");
        assert_eq!(found(&[("apifew-user-license-key", " k1 ")]), "k1");
        assert_eq!(found(&[("authorization", "bearer k1")]), "k1");
        assert_eq!(
            found(&[
                ("authorization", "Bearer k1"),
                ("apifew-user-license-key", "k1")
            ]),
            "k1"
        );
        assert_eq!(
            found(&[
                ("authorization", "Bearer k2"),
                ("apifew-user-license-key", "k1")
            ]),
            "ambiguous"
        );
        assert_eq!(
            found(&[
                ("apifew-request-token", "t"),
                ("apifew-user-license-key", "k1")
            ]),
            "ambiguous"
        );
        assert_eq!(found(&[("apifew-request-token", " t ")]), "token t");
        assert_eq!(
            found(&[("apifew-request-token", "t"), ("apifew-request-token", "u")]),
            "ambiguous"
        );
    }

    #[test]
    fn only_trusted_proxies_may_say_who_called() {
        let peer = Address::parse("10.0.0.1").expect("valid");
        let trusted: [IpNet; 1] = ["10.0.0.0/8".parse().expect("valid")];
        let said = headers(&[
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2:80, 10.0.0.9"),
        ]);
        let address = |trusted: &[IpNet]| caller_address(peer, &said, trusted).to_string();
        assert_eq!(address(&[]), "10.0.0.1");
        assert_eq!(address(&trusted), "2.2.2.2");
    }
}
