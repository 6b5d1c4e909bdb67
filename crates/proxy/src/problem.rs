//! The body of a refusal: problem details (RFC 9457), and the headers that a credential belongs in.

use bytes::Bytes;
use gate::{AgentRefusal, App, Refused};
use http::header::{AUTHORIZATION, HeaderName};
use model::{CallId, Refusal};
use pingora::http::ResponseHeader;
use serde_json::{Value, json};

use crate::headers::{CALL_ID, LICENSE_KEY};

/// The problem details of one refusal.
pub(crate) struct Problem<'a> {
    refusal: Refusal,
    call_id: CallId,
    /// A sentence that says what would work.
    pub(crate) detail: Option<String>,
    /// The name of the rate-limit policy that the call violates.
    pub(crate) violated: Option<String>,
    /// What an agent is told.
    pub(crate) agent: Option<&'a AgentRefusal>,
}

impl Problem<'_> {
    pub(crate) const fn new(refusal: Refusal, call_id: CallId) -> Self {
        Self {
            refusal,
            call_id,
            detail: None,
            violated: None,
            agent: None,
        }
    }

    pub(crate) const fn refusal(&self) -> Refusal {
        self.refusal
    }

    /// Returns the head and the body of the answer. With `rpc`, a header tells the control plane
    /// that this is no answer of the upstream.
    pub(crate) fn answer(&self, rpc: bool) -> pingora::Result<(ResponseHeader, Bytes)> {
        let body = Bytes::from(self.body().to_string());
        let mut head = ResponseHeader::build(self.refusal.status(), Some(10))?;
        head.insert_header("Content-Type", "application/problem+json")?;
        head.insert_header("Content-Length", body.len().to_string())?;
        head.insert_header("Cache-Control", "no-store")?;
        head.insert_header(CALL_ID, self.call_id.to_string())?;
        if rpc {
            head.insert_header(gate::rpc::REFUSAL, self.refusal.code())?;
        }
        Ok((head, body))
    }

    /// Returns the body. `message` and `error` repeat the sentence where clients of language models
    /// look for it.
    fn body(&self) -> Value {
        let (title, code) = (self.refusal.title(), self.refusal.code());
        let message = match &self.detail {
            Some(detail) => format!("{title}: {detail}"),
            None => title.to_owned(),
        };
        let kind = match &self.violated {
            Some(_) => "https://iana.org/assignments/http-problem-types#quota-exceeded",
            None => "about:blank",
        };
        let mut body = json!({
            "type": kind,
            "title": title,
            "status": self.refusal.status(),
            "code": code,
            "call_id": self.call_id,
            "message": message,
            "error": { "message": message, "type": code, "code": code, "param": null },
        });
        if let Some(detail) = &self.detail {
            body["detail"] = detail.as_str().into();
        }
        if let Some(policy) = &self.violated {
            body["violated-policies"] = json!([policy]);
        }
        if let Some(reason) = self.agent.and_then(|told| told.reason) {
            body["reason"] = reason.as_str().into();
        }
        if let Some(fault) = self.agent.and_then(|told| told.signature) {
            body["signature"] = fault.into();
        }
        body
    }
}

/// Returns the headers that a credential for this app is read from.
pub(crate) fn places(app: &App, rpc: bool) -> Vec<HeaderName> {
    match rpc {
        true => vec![LICENSE_KEY],
        false => app.license_headers.to_vec(),
    }
}

/// Returns a sentence that says what would work; `None`: the refusal's own says it.
pub(crate) fn detail(refused: &Refused, places: Option<&[HeaderName]>) -> Option<String> {
    let texts: Vec<_> = places.unwrap_or_default().iter().map(place).collect();
    let places = texts.join(" or ");
    match refused.refusal {
        _ if refused.detail.is_some() => refused.detail.map(ToOwned::to_owned),
        Refusal::LicenseMissing if !places.is_empty() => Some(format!("send it as {places}")),
        Refusal::LicenseUnknown if !places.is_empty() => Some(format!(
            "no license has the key that was sent, send a valid one as {places}"
        )),
        Refusal::TokenInvalid => Some("get a new one, it is good for one call".to_owned()),
        Refusal::MethodNotAllowed => {
            let methods = refused.allow?;
            Some(format!("use one of {methods}"))
        }
        _ => None,
    }
}

/// Returns how a key is sent in a header, such as `` `X-Api-Key: KEY` ``.
fn place(name: &HeaderName) -> String {
    match *name == AUTHORIZATION {
        true => "`Authorization: Bearer KEY`".to_owned(),
        false => format!("`{}: KEY`", spelled(name)),
    }
}

/// The challenge of a 401 (RFC 9110, section 11.6.1). For other headers than `Authorization` there
/// is no registered scheme.
pub(crate) fn challenge(name: &HeaderName) -> String {
    match *name == AUTHORIZATION {
        true => "Bearer realm=\"tallygate\"".to_owned(),
        false => format!("ApiKey realm=\"tallygate\", header=\"{}\"", spelled(name)),
    }
}

/// Returns a header's name as people write it, such as `X-Api-Key`.
fn spelled(name: &HeaderName) -> String {
    let mut begins = true;
    let letter = |letter: char| {
        let spelled = match begins {
            true => letter.to_ascii_uppercase(),
            false => letter,
        };
        begins = letter == '-';
        spelled
    };
    name.as_str().chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_names_the_header_that_a_key_belongs_in() {
        let bearer = challenge(&AUTHORIZATION);
        assert_eq!(bearer, "Bearer realm=\"tallygate\"");
        let named = challenge(&LICENSE_KEY);
        assert!(
            named.ends_with("header=\"Apifew-User-License-Key\""),
            "{named}"
        );
    }

    #[test]
    fn a_message_stands_where_clients_of_language_models_look_for_it() {
        let mut problem = Problem::new(Refusal::RateLimited, CallId::from_u128(1));
        problem.detail = Some("wait".to_owned());
        problem.violated = Some("1m".to_owned());
        let body = problem.body();
        assert_eq!(
            body["error"]["message"],
            "too many calls, retry later: wait"
        );
        assert_eq!(body["error"]["message"], body["message"]);
        assert_eq!(body["violated-policies"], json!(["1m"]));
        let plain = Problem::new(Refusal::AppUnknown, CallId::from_u128(1)).body();
        assert_eq!(plain["type"], "about:blank");
        assert!(plain.get("detail").is_none(), "{plain}");
    }
}
