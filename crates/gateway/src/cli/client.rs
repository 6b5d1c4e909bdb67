//! The HTTP client of the native API, over the gate's Unix socket or TCP.

use std::io;
use std::time::Duration;

use api_types::ProblemBody;
use api_types::{App, LARGEST_LIMIT, List, Page, RECORDS_BEHIND};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use model::AppName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::cli::{Error, Target};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an ordinary answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest answer that is held in memory.
const ANSWER_LIMIT: usize = 256 << 20;
/// Longest line of a streamed answer.
const LINE_LIMIT: usize = 1 << 20;

/// A client of one gate. Every request has a connection of its own.
#[derive(Debug)]
pub(crate) struct Client {
    target: Target,
}

/// An answer that comes piece by piece.
pub(crate) struct Streamed {
    target: String,
    body: Incoming,
    // What came and is not a whole line yet.
    rest: Vec<u8>,
}

// === impl Client ===

impl Client {
    pub(crate) const fn new(target: Target) -> Self {
        Self { target }
    }

    /// Asks for something.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let response = within(ANSWER_TIMEOUT, self, self.send(Method::GET, path, None)).await?;
        self.read(response).await
    }

    /// Asks for something by parameters.
    pub(crate) async fn query<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &impl Serialize,
    ) -> Result<T, Error> {
        self.get(&with_query(path, parameters)).await
    }

    /// Says on stderr that no app of the file has this name, which may be a slip: records of apps that were there before have it too,
    /// so that it is no error. A gate that does not tell its apps is asked for what is wanted all the same.
    pub(crate) async fn tell_of_unknown_app(&self, app: Option<&AppName>) {
        let Some(app) = app else { return };
        let apps = self.all::<App>("/apps").await;
        if apps.is_ok_and(|apps| apps.iter().all(|known| known.name != *app)) {
            eprintln!(
                "tallygate: the file of the gate has no app `{app}`: what is found is of an earlier file, if anything is"
            );
        }
    }

    /// Asks for a list, page by page; the path may have parameters.
    pub(crate) async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        let mut page = Page::<String> {
            limit: Some(LARGEST_LIMIT),
            cursor: None,
        };
        loop {
            let list: List<T> = self.query(path, &page).await?;
            items.extend(list.items);
            page.cursor = list.next;
            if page.cursor.is_none() {
                return Ok(items);
            }
        }
    }

    /// Sends something.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let request = self.send(Method::POST, path, Some(encode(body)));
        let response = within(ANSWER_TIMEOUT, self, request).await?;
        self.read(response).await
    }

    /// Changes something.
    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let request = self.send(Method::PATCH, path, Some(encode(body)));
        let response = within(ANSWER_TIMEOUT, self, request).await?;
        self.read(response).await
    }

    /// Deletes something.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Error> {
        let request = self.send(Method::DELETE, path, None);
        within(ANSWER_TIMEOUT, self, request).await.map(drop)
    }

    /// Sends something whose answer takes as long as it takes.
    pub(crate) async fn post_patiently<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let response = self.send(Method::POST, path, Some(encode(body))).await?;
        self.read(response).await
    }

    /// Asks for something that comes piece by piece.
    pub(crate) async fn stream(
        &self,
        path: &str,
        parameters: &impl Serialize,
    ) -> Result<Streamed, Error> {
        let response = self
            .send(Method::GET, &with_query(path, parameters), None)
            .await?;
        Ok(Streamed {
            target: self.target.describe(),
            body: response.into_body(),
            rest: Vec::new(),
        })
    }

    /// Sends a request and returns its answer's head if it is one of success.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Response<Incoming>, Error> {
        let prefix = match &self.target {
            Target::Socket(_) => "",
            Target::Url { prefix, .. } => prefix,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{prefix}/api/v1{path}"))
            .header(
                header::USER_AGENT,
                concat!("tallygate/", env!("CARGO_PKG_VERSION")),
            );
        request = match &self.target {
            Target::Socket(_) => request.header(header::HOST, "localhost"),
            Target::Url {
                host, port, key, ..
            } => {
                let mut bearer = header::HeaderValue::try_from(format!("Bearer {key}"))
                    .map_err(|_| Error::Usage("TALLYGATE_KEY is not a key".to_owned()))?;
                bearer.set_sensitive(true);
                request
                    .header(header::HOST, format!("{host}:{port}"))
                    .header(header::AUTHORIZATION, bearer)
            }
        };
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| Error::Usage(format!("the request cannot be written: {error}")))?;
        let response = match &self.target {
            Target::Socket(path) => {
                self.exchange(within_connect(UnixStream::connect(path)), request)
                    .await
            }
            Target::Url { host, port, .. } => {
                self.exchange(
                    within_connect(TcpStream::connect((host.as_str(), *port))),
                    request,
                )
                .await
            }
        }?;
        if response.status().is_success() {
            tell_of_records_behind(&response);
            return Ok(response);
        }
        Err(self.refusal(response).await)
    }

    async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        connecting: impl Future<Output = io::Result<S>>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Error> {
        let stream = connecting.await.map_err(|source| {
            let target = self.target.describe();
            match self.target.is_starting(&source) {
                true => Error::Starting(target),
                false => Error::NoGate { target, source },
            }
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.failed(&error))?;
        // It ends with the answer; what goes wrong in it shows in the answer.
        tokio::spawn(connection);
        sender
            .send_request(request)
            .await
            .map_err(|error| self.failed(&error))
    }

    async fn read<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<T, Error> {
        let body = self.collect(response.into_body()).await?;
        // An answer without a body, as 204, is read as `null`.
        let text: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(text).map_err(|_| Error::NotAGate {
            target: self.target.describe(),
            reason: "its answer is none that a gate gives".to_owned(),
        })
    }

    async fn refusal(&self, response: Response<Incoming>) -> Error {
        let status = response.status();
        match self.collect(response.into_body()).await {
            Ok(body) => match serde_json::from_slice::<ProblemBody>(&body) {
                Ok(problem) => Error::Refused(Box::new(problem)),
                Err(_) => Error::NotAGate {
                    target: self.target.describe(),
                    reason: format!("it answers {} without saying why", status.as_u16()),
                },
            },
            Err(error) => error,
        }
    }

    async fn collect(&self, body: Incoming) -> Result<Bytes, Error> {
        let limited = Limited::new(body, ANSWER_LIMIT).collect();
        let collected = limited.await.map_err(|error| {
            let reason = match error.downcast_ref::<hyper::Error>() {
                Some(error) => broke_off(error).to_owned(),
                None => "its answer is longer than is taken here".to_owned(),
            };
            self.broken(&reason)
        })?;
        Ok(collected.to_bytes())
    }

    /// What came of a connection that was made.
    fn failed(&self, error: &hyper::Error) -> Error {
        if error.is_parse() {
            return Error::NotAGate {
                target: self.target.describe(),
                reason: "what it sends is no HTTP".to_owned(),
            };
        }
        self.broken(&broke_off(error))
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Broken {
            target: self.target.describe(),
            reason: error.to_string(),
        }
    }
}

// === impl Streamed ===

impl Streamed {
    /// The next piece as it came; `None` when all has come.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| self.broken(&broke_off(&error)))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// The next line, without its end; `None` when all has come.
    pub(crate) async fn line(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.rest[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.rest.split_off(searched + at + 1);
                let mut line = std::mem::replace(&mut self.rest, rest);
                line.pop();
                return Ok(Some(line));
            }
            searched = self.rest.len();
            if searched > LINE_LIMIT {
                return Err(self.broken(&"a line is too long"));
            }
            match self.chunk().await? {
                Some(data) => self.rest.extend_from_slice(&data),
                None if self.rest.is_empty() => return Ok(None),
                None => return Ok(Some(std::mem::take(&mut self.rest))),
            }
        }
    }

    /// Reads one of the lines.
    pub(crate) fn parse<T: DeserializeOwned>(&self, line: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(line).map_err(|_| Error::NotAGate {
            target: self.target.clone(),
            reason: "a line of its answer is none that a gate gives".to_owned(),
        })
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Broken {
            target: self.target.clone(),
            reason: error.to_string(),
        }
    }
}

/// How an answer ended that did not come to its end.
fn broke_off(error: &hyper::Error) -> &'static str {
    if error.is_timeout() {
        "there was no answer in time"
    } else if error.is_parse() {
        "what it sends is no HTTP"
    } else {
        "it ended the connection before its answer was complete"
    }
}

/// What an answer lacks goes where no program looks for the answer.
fn tell_of_records_behind(response: &Response<Incoming>) {
    let behind = response.headers().get(RECORDS_BEHIND);
    if let Some(behind) = behind.and_then(|value| value.to_str().ok()) {
        eprintln!(
            "tallygate: this answer lacks {behind} records: those of an earlier start are still being read, or the disk of the journal is \
             behind; ask again for an answer with them"
        );
    }
}

fn encode(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("requests are plain data")
}

/// A path with more parameters. Parameters are flat data, so that they can always be written.
pub(crate) fn with_query(path: &str, parameters: &impl Serialize) -> String {
    match serde_urlencoded::to_string(parameters).expect("parameters are flat data") {
        query if query.is_empty() => path.to_owned(),
        query if path.contains('?') => format!("{path}&{query}"),
        query => format!("{path}?{query}"),
    }
}

async fn within<T>(
    limit: Duration,
    client: &Client,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(client.broken(&format!("no answer within {} s", limit.as_secs()))),
    }
}

async fn within_connect<S>(connecting: impl Future<Output = io::Result<S>>) -> io::Result<S> {
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
