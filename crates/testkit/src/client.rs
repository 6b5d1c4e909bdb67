//! A client that speaks HTTP/1.1 as bytes: it sends exactly the given bytes and reports exactly
//! those that came.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpSocket;

use crate::eventually::test_timeout;
use crate::wire::{self, Framing, Head};

/// The header that carries a license key where an app names no other.
pub const KEY_HEADER: &str = "Apifew-User-License-Key";
/// The header that every answer of the gate carries.
pub const CALL_ID_HEADER: &str = "Tallygate-Call-Id";

/// A request that is sent as it is built.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A response as it came, whole or not.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status of the final head.
    pub status: u16,
    /// The statuses of the informational heads before it.
    pub informational: Vec<u16>,
    /// The status line and the headers.
    pub head: Head,
    /// The body, as much of it as came.
    pub body: Vec<u8>,
    /// Whether the body ended as its framing says.
    pub complete: bool,
}

/// The reason why no status line came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoResponse {
    /// The connection was closed, or reset, before a whole head.
    Closed,
    /// Nothing came in time.
    TimedOut,
    /// The bytes that came are not HTTP.
    Malformed(String),
}

/// A connection to the gate.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    // Bytes that were read and belong to a later response.
    buffer: Vec<u8>,
}

// === impl Request ===

impl Request {
    /// Makes a request with a `Host` header and nothing else.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        let headers = vec![("Host".to_owned(), "api.test".to_owned())];
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            body: Vec::new(),
        }
    }

    /// Makes a `GET` without a body.
    #[must_use]
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// Makes a `POST` with a body of known length.
    #[must_use]
    pub fn post(target: &str, body: &[u8]) -> Self {
        Self::with_body("POST", target, body)
    }

    /// Makes a request of any method with a body of known length.
    #[must_use]
    pub fn with_body(method: &str, target: &str, body: &[u8]) -> Self {
        let mut request =
            Self::new(method, target).header("Content-Length", &body.len().to_string());
        request.body = body.to_vec();
        request
    }

    /// Adds a header; one of the same name stays beside it.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a license key in the default header.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header(KEY_HEADER, key)
    }

    /// Replaces the host.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.headers.retain(|(name, _)| name != "Host");
        self.header("Host", host)
    }

    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns the head alone, its empty line included.
    #[must_use]
    pub fn head_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str("\r\n");
        bytes.into_bytes()
    }

    /// Returns the bytes that go over the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

// === impl Response ===

impl Response {
    /// Returns the value of the first header of a name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// Returns the call id; every answer of the gate has one.
    ///
    /// # Panics
    /// When the header is missing.
    #[must_use]
    pub fn call_id(&self) -> &str {
        self.header(CALL_ID_HEADER)
            .unwrap_or_else(|| panic!("no call id in {:?}", self.head))
    }

    /// Returns the body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    /// When the body is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in body {:?}", self.text()))
    }

    /// Returns whether this is one of the gate's own refusals, even if its body was cut.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.header("content-type")
            .is_some_and(|kind| kind.starts_with("application/problem+json"))
    }

    /// Returns the `code` of one of the gate's own refusals; `None` for another response.
    #[must_use]
    pub fn refusal_code(&self) -> Option<String> {
        if !self.is_refusal() {
            return None;
        }
        let problem: Value = serde_json::from_slice(&self.body).ok()?;
        problem["code"].as_str().map(str::to_owned)
    }
}

// === impl Connection ===

impl Connection {
    /// Connects, with [`test_timeout`] as the limit of every later read and write.
    ///
    /// # Errors
    /// When the connection is refused.
    pub fn open(addr: SocketAddr) -> io::Result<Self> {
        Self::from_stream(TcpStream::connect(addr)?)
    }

    /// Connects from an address of this machine, such as another one of loopback.
    ///
    /// # Errors
    /// When the address is not this machine's, or the connection is refused.
    pub fn open_from(source: IpAddr, addr: SocketAddr) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let stream = runtime.block_on(async {
            let socket = match source {
                IpAddr::V4(_) => TcpSocket::new_v4()?,
                IpAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.bind((source, 0).into())?;
            socket.connect(addr).await?.into_std()
        })?;
        stream.set_nonblocking(false)?;
        Self::from_stream(stream)
    }

    pub(crate) fn from_stream(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(test_timeout()))?;
        stream.set_write_timeout(Some(test_timeout()))?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the other side has gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request and reads its response.
    ///
    /// # Errors
    /// When no status line came.
    pub fn call(&mut self, request: &Request) -> Result<Response, NoResponse> {
        self.send(&request.bytes())
            .map_err(|_| NoResponse::Closed)?;
        self.read_response(request.method())
    }

    /// Reads the response to a request with that method.
    ///
    /// # Errors
    /// When no status line came.
    pub fn read_response(&mut self, method: &str) -> Result<Response, NoResponse> {
        let mut informational = Vec::new();
        loop {
            let head = self.read_head()?;
            let status = head
                .status()
                .ok_or_else(|| NoResponse::Malformed(head.first_line.clone()))?;
            if (100..200).contains(&status) && status != 101 {
                informational.push(status);
                continue;
            }
            let (body, complete) = self.read_body(head.response_framing(method));
            return Ok(Response {
                status,
                informational,
                head,
                body,
                complete,
            });
        }
    }

    /// Reads half of the body that the upstream sends in two halves (`hold-mid-body`).
    ///
    /// # Panics
    /// When the half does not come whole.
    pub fn read_half(&mut self) {
        const HALF: usize = 1_000;
        let half = self.read_exactly(HALF).expect("half a body");
        assert_eq!(half.len(), HALF);
    }

    /// Reads a head, informational or final, and leaves the body unread.
    ///
    /// # Errors
    /// When no whole head came.
    pub fn read_head(&mut self) -> Result<Head, NoResponse> {
        loop {
            if let Some(length) = wire::find_head(&self.buffer) {
                let head = Head::parse(&self.buffer[..length])
                    .map_err(|error| NoResponse::Malformed(error.0))?;
                self.buffer.drain(..length);
                return Ok(head);
            }
            match self.read_more() {
                Ok(0) => return Err(NoResponse::Closed),
                Ok(_) => {}
                Err(error) => return Err(NoResponse::of(&error)),
            }
        }
    }

    /// Reads so many bytes of a body.
    ///
    /// # Errors
    /// When the connection ends before.
    pub fn read_exactly(&mut self, length: usize) -> Result<Vec<u8>, NoResponse> {
        while self.buffer.len() < length {
            match self.read_more() {
                Ok(0) => return Err(NoResponse::Closed),
                Ok(_) => {}
                Err(error) => return Err(NoResponse::of(&error)),
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Reads until the other side closes. Bytes before a reset or the end of the timeout count.
    #[must_use]
    pub fn read_to_end(mut self) -> Vec<u8> {
        while matches!(self.read_more(), Ok(1..)) {}
        self.buffer
    }

    /// Reads the first bytes, or nothing when the other side closes or resets.
    ///
    /// # Errors
    /// When neither happens in time.
    pub fn read_some(mut self) -> Result<Vec<u8>, NoResponse> {
        self.wait_for_some()?;
        Ok(self.buffer)
    }

    /// Waits until bytes come, or the other side closes or resets. The next read returns those
    /// bytes.
    ///
    /// # Errors
    /// When neither happens in time.
    pub fn wait_for_some(&mut self) -> Result<(), NoResponse> {
        match self.read_more().map_err(|error| NoResponse::of(&error)) {
            Err(NoResponse::TimedOut) => Err(NoResponse::TimedOut),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Returns whether the other side has closed, or closes in time, without another byte.
    #[must_use]
    pub fn is_closed_by_peer(&mut self) -> bool {
        self.buffer.is_empty() && !matches!(self.read_more(), Ok(1..) | Err(_)) || self.was_reset()
    }

    /// Returns whether bytes have come that were not read yet. Does not wait.
    ///
    /// # Panics
    /// When the connection is gone.
    #[must_use]
    pub fn has_bytes(&self) -> bool {
        self.stream
            .set_nonblocking(true)
            .expect("a socket can be told not to wait");
        let has_arrived = matches!(self.stream.peek(&mut [0]), Ok(1..));
        self.stream
            .set_nonblocking(false)
            .expect("a socket can be told to wait");
        has_arrived || !self.buffer.is_empty()
    }

    /// Closes the sending side, and goes on reading.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn half_close(&self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("the connection is open");
    }

    /// Breaks the connection with a reset, as a caller that is gone does.
    ///
    /// # Panics
    /// When the connection is gone already.
    pub fn reset(self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .expect("a runtime can be built");
        runtime.block_on(async {
            let set = self.stream.set_nonblocking(true);
            let stream = set.and_then(|()| tokio::net::TcpStream::from_std(self.stream));
            let reset = stream.and_then(|stream| stream.set_zero_linger());
            reset.expect("the connection is open");
        });
    }

    /// Limits later reads, for tests in which no bytes are expected.
    ///
    /// # Panics
    /// When the limit is zero.
    pub fn set_read_timeout(&self, limit: Duration) {
        self.stream
            .set_read_timeout(Some(limit))
            .expect("the limit is above zero");
    }

    fn was_reset(&self) -> bool {
        matches!(self.stream.take_error(), Ok(Some(_)))
            || matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::ConnectionReset)
    }

    fn read_body(&mut self, framing: Framing) -> (Vec<u8>, bool) {
        loop {
            match self.take_body(framing) {
                Some(whole) => return whole,
                None => match self.read_more() {
                    Ok(0) => {
                        return (
                            std::mem::take(&mut self.buffer),
                            framing == Framing::UntilClose,
                        );
                    }
                    Ok(_) => {}
                    Err(_) => return (std::mem::take(&mut self.buffer), false),
                },
            }
        }
    }

    // Returns the body and whether it is well-formed, once it is in the buffer whole.
    fn take_body(&mut self, framing: Framing) -> Option<(Vec<u8>, bool)> {
        match framing {
            Framing::UntilClose => None,
            Framing::Length(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                (self.buffer.len() >= length).then(|| (self.buffer.drain(..length).collect(), true))
            }
            Framing::Chunked => match wire::parse_chunked(&self.buffer) {
                Ok(None) => None,
                Ok(Some((length, body))) => {
                    self.buffer.drain(..length);
                    Some((body, true))
                }
                Err(_) => Some((std::mem::take(&mut self.buffer), false)),
            },
        }
    }

    fn read_more(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 16 * 1024];
        let read = self.stream.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..read]);
        Ok(read)
    }
}

impl NoResponse {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Closed,
        }
    }
}

impl fmt::Display for NoResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => formatter.write_str("connection closed without a response"),
            Self::TimedOut => formatter.write_str("no response in time"),
            Self::Malformed(what) => write!(formatter, "malformed response: {what}"),
        }
    }
}

impl std::error::Error for NoResponse {}

/// Sends one request on a connection of its own.
///
/// # Panics
/// When the connection is refused or no response comes.
#[must_use]
pub fn call(addr: SocketAddr, request: &Request) -> Response {
    let mut connection =
        Connection::open(addr).unwrap_or_else(|error| panic!("cannot connect to {addr}: {error}"));
    connection
        .call(request)
        .unwrap_or_else(|error| panic!("{error} to {request:?}"))
}
