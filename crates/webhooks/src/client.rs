//! The client that posts to receivers.
//!
//! Each post is a connection of its own, to an address that was judged just before: what a name
//! means between two look-ups does not matter. No redirection is followed, no proxy is asked, and
//! of the answer no more than its beginning is read.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use model::system::in_words;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::message::Message;
use crate::resolve::Resolve;
use crate::target::{Target, TargetRules};

/// A client that posts to receivers.
pub struct Client {
    resolver: Arc<dyn Resolve>,
    tls: TlsConnector,
    options: ClientOptions,
}

/// The bounds of a [`Client`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// The receivers that are allowed.
    pub rules: TargetRules,
    /// The time for all of a post, from the look-up of the name to the head of the answer \[5 s\].
    pub timeout: Duration,
}

/// The answer of a receiver, or why there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status; `None`: there was no answer.
    pub status: Option<u16>,
    /// The beginning of the body as it came, or what failed, of at most [`Answer::MAX_READ`] bytes.
    pub text: String,
}

/// The reason why a receiver did not answer. Blame: the receiver's, but for [`Failure::Ours`].
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the name `{0}` cannot be looked up: {1}")]
    Name(String, String),
    #[error("`{0}` has no address")]
    NoAddress(String),
    #[error(
        "`{0}` has no address on the public internet; `[control] allow_private_webhook_targets` allows others"
    )]
    Private(String),
    #[error("{0} could not be connected: {1}")]
    Connect(SocketAddr, String),
    #[error("TLS failed: {0}")]
    Tls(String),
    #[error("{0}")]
    Http(&'static str),
    #[error("there was no answer within {0:?}")]
    Time(Duration),
    #[error("the request cannot be written: {0}")]
    Ours(String),
}

/// The largest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1_024;
/// The time for the body of an answer whose status is known.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// The number of addresses of a host that are tried in one post.
const MAX_ADDRESSES: usize = 2;

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            rules: TargetRules::default(),
            timeout: Duration::from_secs(5),
        }
    }
}

// === impl Client ===

impl Client {
    /// Returns a client that trusts whom `tls` trusts. HTTP/1.1 is all that it speaks.
    #[must_use]
    pub fn new(resolver: Arc<dyn Resolve>, mut tls: ClientConfig, options: ClientOptions) -> Self {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            resolver,
            tls: Arc::new(tls).into(),
            options,
        }
    }

    /// Returns the bounds.
    #[must_use]
    pub const fn options(&self) -> ClientOptions {
        self.options
    }

    /// Posts a message. Takes the time of the options at most, and a second for the body of an
    /// answer.
    pub async fn post(&self, target: &Target, message: Message) -> Answer {
        let limit = self.options.timeout;
        let answered = timeout(limit, self.exchange(target, message)).await;
        let answered = answered.unwrap_or(Err(Failure::Time(limit)));
        match answered {
            Ok((response, _driver)) => {
                let status = response.status().as_u16();
                let text = beginning_of(response.into_body()).await;
                Answer {
                    status: Some(status),
                    text: String::from_utf8_lossy(&text).into_owned(),
                }
            }
            Err(failure) => Answer {
                status: None,
                text: failure.to_string(),
            },
        }
    }

    /// Returns whether a host has an address that may be called. A name that cannot be looked up now
    /// is given the benefit of the doubt: it is looked up again at each post.
    pub async fn may_reach(&self, target: &Target) -> bool {
        let addresses = timeout(self.options.timeout, self.addresses(target)).await;
        !matches!(addresses, Ok(Err(Failure::Private(_))))
    }

    async fn exchange(
        &self,
        target: &Target,
        message: Message,
    ) -> Result<(Response<Incoming>, Driver), Failure> {
        let request = request(target, message)?;
        let stream = self.connect(target).await?;
        if !target.is_tls {
            return send(stream, request).await;
        }
        let name = match target.address {
            Some(address) => ServerName::from(address),
            None => ServerName::try_from(target.host.clone())
                .map_err(|_| Failure::Tls("no certificate can have that name".to_owned()))?,
        };
        let tls = self.tls.connect(name, stream).await;
        let tls = tls.map_err(|error| Failure::Tls(tls_words(&error)))?;
        send(tls, request).await
    }

    async fn connect(&self, target: &Target) -> Result<TcpStream, Failure> {
        let mut last = Failure::NoAddress(target.host.clone());
        let begun = Instant::now();
        let addresses = self.addresses(target).await?;
        let addresses = &addresses[..addresses.len().min(MAX_ADDRESSES)];
        for (at, address) in addresses.iter().enumerate() {
            let address = SocketAddr::new(*address, target.port);
            // An address that does not answer leaves half of the time to the next.
            let share = self.options.timeout / if at + 1 < addresses.len() { 2 } else { 1 };
            let connected = timeout_at(begun + share, TcpStream::connect(address)).await;
            match connected {
                Ok(Ok(stream)) => {
                    // A message is one write: nothing is gained by waiting for more.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = Failure::Connect(address, in_words(&error)),
                Err(_) => last = Failure::Time(self.options.timeout),
            }
        }
        Err(last)
    }

    /// Returns the addresses of a receiver that may be called, at least one.
    async fn addresses(&self, target: &Target) -> Result<Vec<IpAddr>, Failure> {
        let found = match target.address {
            Some(address) => vec![address],
            None => {
                let found = self.resolver.resolve(&target.host).await;
                found.map_err(|error| Failure::Name(target.host.clone(), in_words(&error)))?
            }
        };
        if found.is_empty() {
            return Err(Failure::NoAddress(target.host.clone()));
        }
        let rules = self.options.rules;
        let allowed: Vec<_> = found
            .into_iter()
            .filter(|address| rules.allow(*address))
            .collect();
        match allowed.is_empty() {
            true => Err(Failure::Private(target.host.clone())),
            false => Ok(allowed),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

// === impl Answer ===

impl Answer {
    /// The largest number of bytes that are kept of an answer's body.
    pub const MAX_BYTES: usize = store::Attempt::MAX_ANSWER_BYTES;
    /// The largest number of bytes that are read of it: more than are kept, so that a credential at
    /// the end of what is kept is there whole, and known for one.
    pub const MAX_READ: usize = 4 * Self::MAX_BYTES;

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

/// The task that reads and writes a connection. Dropping it closes the connection.
struct Driver(tokio::task::JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn request(target: &Target, message: Message) -> Result<Request<Full<Bytes>>, Failure> {
    let mut request = Request::post(target.path.as_str())
        .header(HOST, target.authority.as_str())
        .header(USER_AGENT, concat!("Tallygate/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in message.headers {
        request = request.header(name, value);
    }
    let body = Full::new(Bytes::from(message.body));
    request
        .body(body)
        .map_err(|error| Failure::Ours(error.to_string()))
}

async fn send<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, Driver), Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: hyper::Error| Failure::Http(http_words(&error));
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let driver = Driver(tokio::spawn(async move {
        // What fails here fails the request or the body as well.
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await.map_err(failed)?;
    Ok((response, driver))
}

/// Returns the beginning of a body: what came in time, as far as it is kept.
async fn beginning_of(mut body: Incoming) -> Vec<u8> {
    let mut text = Vec::new();
    let end = Instant::now() + BODY_TIMEOUT;
    while text.len() < Answer::MAX_READ {
        let Ok(Some(Ok(frame))) = timeout_at(end, body.frame()).await else {
            break;
        };
        if let Some(data) = frame.data_ref() {
            let room = Answer::MAX_READ - text.len();
            text.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    text
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

fn tls_words(error: &io::Error) -> String {
    use rustls::{CertificateError, Error};
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    let words = match inner {
        None => return in_words(error),
        Some(Error::InvalidCertificate(why)) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate of the receiver has expired"
            }
            CertificateError::UnknownIssuer => "nobody trusted made the receiver's certificate",
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate of the receiver is for another name"
            }
            _ => "the certificate of the receiver is not valid",
        },
        Some(_) => "the receiver speaks another protocol, or refuses the connection",
    };
    words.to_owned()
}

fn http_words(error: &hyper::Error) -> &'static str {
    if error.is_parse() || error.is_parse_too_large() {
        "the answer is not HTTP/1.1, or its head is too large"
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        "the receiver ended the connection without an answer"
    } else {
        "the connection broke off"
    }
}
