//! The client that posts to receivers, and what comes of a post.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::CONTENT_TYPE;
use outbound::{ClientOptions, Failure, Outgoing, Resolve, Target, TargetInvalid};
use rustls::ClientConfig;

use crate::message::Message;

/// A client that posts to receivers, each of which a stranger named. Of an answer no more than its
/// beginning is read.
#[derive(Debug)]
pub struct Client(outbound::Client);

/// The answer of a receiver, or why there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status; `None`: there was no answer.
    pub status: Option<u16>,
    /// The beginning of the body as it came, or what failed, of at most [`Answer::MAX_READ`] bytes.
    pub text: String,
}

/// The time for the body of an answer whose status is known.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

// === impl Client ===

impl Client {
    /// Returns a client that trusts whom `tls` trusts.
    #[must_use]
    pub fn new(resolver: Arc<dyn Resolve>, tls: ClientConfig, options: ClientOptions) -> Self {
        Self(outbound::Client::new(resolver, tls, options))
    }

    /// Returns the bounds.
    #[must_use]
    pub const fn options(&self) -> ClientOptions {
        self.0.options()
    }

    /// Posts a message. Takes the time of the options at most, and a second for the body of an
    /// answer.
    pub async fn post(&self, target: &Target, message: Message) -> Answer {
        let json = (CONTENT_TYPE.as_str(), "application/json".to_owned());
        let outgoing = Outgoing {
            method: Method::POST,
            headers: std::iter::once(json).chain(message.headers).collect(),
            body: message.body,
        };
        match self.0.send(target, outgoing).await {
            Ok(reply) => {
                let status = reply.status();
                let body = reply.body(Answer::MAX_READ, BODY_TIMEOUT).await;
                Answer {
                    status: Some(status),
                    text: String::from_utf8_lossy(&body.bytes).into_owned(),
                }
            }
            Err(failure) => Answer::none(failure_words(&failure)),
        }
    }

    /// Returns whether a host has an address that may be called, as
    /// [`may_reach`](outbound::Client::may_reach).
    pub async fn may_reach(&self, target: &Target) -> bool {
        self.0.may_reach(target).await
    }
}

// === impl Answer ===

impl Answer {
    /// The largest number of bytes that are kept of an answer's body.
    pub const MAX_BYTES: usize = store::Attempt::MAX_ANSWER_BYTES;
    /// The largest number of bytes that are read of it: more than are kept, so that a credential at
    /// the end of what is kept is there whole, and known for one.
    pub const MAX_READ: usize = 4 * Self::MAX_BYTES;

    /// Returns that there was no answer, and why.
    pub(crate) const fn none(why: String) -> Self {
        Self {
            status: None,
            text: why,
        }
    }

    /// Returns the text as the log of deliveries keeps it, of at most [`Answer::MAX_BYTES`] bytes
    /// and without control characters: first the credentials are masked that the receiver may have
    /// said again, then it is cut.
    #[must_use]
    pub fn kept(&self) -> String {
        printable(&model::masked(&self.text))
    }

    /// Returns whether the receiver took what was sent: it answered with a status of 200 to 299.
    #[must_use]
    pub fn took(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }
}

/// Returns a text for people: without control characters, and cut.
fn printable(text: &str) -> String {
    let shown = |sign: char| if sign.is_control() { ' ' } else { sign };
    let mut kept = String::new();
    for sign in text.chars().map(shown) {
        if kept.len() + sign.len_utf8() > Answer::MAX_BYTES {
            break;
        }
        kept.push(sign);
    }
    kept.trim().to_owned()
}

/// Returns why a receiver cannot be posted to, and the key that allows it.
pub(crate) fn invalid_words(invalid: TargetInvalid) -> String {
    let allowed_by = match invalid {
        TargetInvalid::Plain => "; `[control] allow_plain_webhook_targets` allows `http://`",
        TargetInvalid::Private => "; `[control] allow_private_webhook_targets` allows that",
        _ => "",
    };
    format!("{invalid}{allowed_by}")
}

fn failure_words(failure: &Failure) -> String {
    let allowed_by = match failure {
        Failure::Private(_) => "; `[control] allow_private_webhook_targets` allows others",
        _ => "",
    };
    format!("{failure}{allowed_by}")
}
