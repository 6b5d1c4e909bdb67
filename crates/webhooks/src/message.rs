//! What is posted to a receiver: a body with its headers.

use model::{Event, Timestamp, WebhookForm};

use crate::body::{Facts, body_of};
use crate::secret::Secret;
use crate::sign;

/// A body with the headers that name and sign it.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The headers, apart from those that HTTP needs.
    pub headers: Vec<(&'static str, String)>,
    /// The body: JSON, never empty.
    pub body: Vec<u8>,
}

impl Message {
    /// Returns an event in a form, as it is sent at `now`; `None`: it is not told in that form.
    /// Signed with each of `secrets` as Standard Webhooks say, and in the protocol's own header with
    /// the first, which is the newest. Costs a pass over the body for each signature.
    #[must_use]
    pub fn of_event(
        event: &Event,
        form: WebhookForm,
        facts: &Facts,
        secrets: &[Secret],
        now: Timestamp,
    ) -> Option<Self> {
        let body = body_of(event, form, facts)?;
        let mut headers = standard_headers(&event.id.to_string(), secrets, &body, now);
        let own = secrets.first().map(|secret| sign::of_body(secret, &body));
        let own = own.unwrap_or_default();
        match form {
            WebhookForm::Native => {}
            WebhookForm::Authforge => {
                let name = form.name_of(event.kind)?;
                headers.push(("x-authforge-event", name.to_owned()));
                headers.push(("x-authforge-timestamp", now.to_string()));
                headers.push(("x-authforge-signature", own));
            }
            WebhookForm::Apimw => headers.push(("x-apimw-signature", format!("sha256={own}"))),
        }
        Some(Self { headers, body })
    }

    /// Returns the question that APIMW asks a new receiver, whose answer holds the challenge. It is
    /// signed as an event is.
    #[must_use]
    pub fn of_challenge(id: &str, challenge: &str, secrets: &[Secret], now: Timestamp) -> Self {
        let body = serde_json::json!({"type": "webhook.verification", "challenge": challenge});
        let body = body.to_string().into_bytes();
        let mut headers = standard_headers(id, secrets, &body, now);
        if let Some(secret) = secrets.first() {
            let own = sign::of_body(secret, &body);
            headers.push(("x-apimw-signature", format!("sha256={own}")));
        }
        Self { headers, body }
    }
}

/// The length of the body alone: it names licenses, and in AuthForge's form their keys.
impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

fn standard_headers(
    id: &str,
    secrets: &[Secret],
    body: &[u8],
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let signature = sign::standard(secrets, id, now.seconds(), body);
    vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", now.seconds().to_string()),
        ("webhook-signature", signature),
    ]
}
