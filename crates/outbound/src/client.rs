//! The client that asks servers of strangers.
//!
//! Each request is a connection of its own, to an address that was judged just before: what a name
//! means between two look-ups does not matter.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use model::system::in_words;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::failure::Failure;
use crate::reply::{Driver, Reply};
use crate::resolve::Resolve;
use crate::target::{Target, TargetRules};

/// A client that asks servers of strangers. HTTP/1.1 is all that it speaks.
pub struct Client {
    resolver: Arc<dyn Resolve>,
    tls: TlsConnector,
    options: ClientOptions,
}

/// The bounds of a [`Client`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// The servers that are allowed.
    pub rules: TargetRules,
    /// The time for all of a request, from the look-up of the name to the head of the answer \[5
    /// s\].
    pub timeout: Duration,
}

/// A request, apart from where it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// The headers, apart from `Host`, `User-Agent` and the length of the body.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty: there is none.
    pub body: Vec<u8>,
}

/// The largest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1_024;
/// The number of addresses of a host that are tried for one request.
const MAX_ADDRESSES: usize = 2;

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            rules: TargetRules::default(),
            timeout: Duration::from_secs(5),
        }
    }
}

impl Client {
    /// Returns a client that trusts whom `tls` trusts.
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

    /// Sends a request and waits for the head of its answer, whatever its status. Takes the time of
    /// the options at most.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn send(&self, target: &Target, outgoing: Outgoing) -> Result<Reply, Failure> {
        let limit = self.options.timeout;
        let answered = timeout(limit, self.exchange(target, outgoing)).await;
        answered.unwrap_or(Err(Failure::Time(limit)))
    }

    /// Returns whether a host has an address that may be called. A name that cannot be looked up now
    /// is given the benefit of the doubt: it is looked up again for each request.
    pub async fn may_reach(&self, target: &Target) -> bool {
        let addresses = timeout(self.options.timeout, self.addresses(target)).await;
        !matches!(addresses, Ok(Err(Failure::Private(_))))
    }

    async fn exchange(&self, target: &Target, outgoing: Outgoing) -> Result<Reply, Failure> {
        let request = request(target, outgoing)?;
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
        send(tls.map_err(|error| Failure::tls(&error))?, request).await
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
                    // A request is one write: nothing is gained by waiting for more.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = Failure::Connect(address, in_words(&error)),
                Err(_) => last = Failure::Time(self.options.timeout),
            }
        }
        Err(last)
    }

    /// Returns the addresses of a server that may be called, at least one.
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

fn request(target: &Target, outgoing: Outgoing) -> Result<Request<Full<Bytes>>, Failure> {
    let mut request = Request::builder()
        .method(outgoing.method)
        .uri(target.path.as_str())
        .header(HOST, target.authority.as_str())
        .header(USER_AGENT, concat!("Tallygate/", env!("CARGO_PKG_VERSION")));
    for (name, value) in outgoing.headers {
        request = request.header(name, value);
    }
    let body = Full::new(Bytes::from(outgoing.body));
    request
        .body(body)
        .map_err(|error| Failure::Ours(error.to_string()))
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Reply, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: hyper::Error| Failure::http(&error);
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
    Ok(Reply::new(response, driver))
}
