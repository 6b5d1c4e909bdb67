//! The HTTP client of the native API, over the gate's Unix socket, TCP or TLS.

use std::time::Duration;

use api_types::ProblemBody;
use api_types::{App, LARGEST_LIMIT, List, Page, RECORDS_BEHIND};
use hyper::body::Bytes;
use hyper::{Method, header};
use model::AppName;
use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::failure;
use crate::cli::{Error, Target};

/// The time that connecting may take, the TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The time within which an ordinary answer must begin.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest answer that is held in memory.
const ANSWER_LIMIT: usize = 256 << 20;
/// Longest line of a streamed answer.
const LINE_LIMIT: usize = 1 << 20;

/// A client of one gate. Every request has a connection of its own.
#[derive(Debug)]
pub(crate) struct Client {
    target: Target,
    http: reqwest::Client,
}

/// An answer that comes piece by piece.
pub(crate) struct Streamed {
    target: String,
    response: Response,
    // What came and is not a whole line yet.
    rest: Vec<u8>,
}

// === impl Client ===

impl Client {
    /// Makes a client. It connects with its first request.
    ///
    /// # Errors
    /// [`Error::Config`] if the file of certificate authorities cannot be used, or the system has none.
    pub(crate) fn new(target: Target) -> Result<Self, Error> {
        // Neither a proxy nor another place that an answer names gets the key.
        let mut builder = ClientBuilder::new()
            .user_agent(concat!("tallygate/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none())
            .no_proxy()
            .http1_only()
            .pool_max_idle_per_host(0)
            .tls_backend_preconfigured(target.tls()?);
        if let Target::Socket(path) = &target {
            builder = builder.unix_socket(path.as_path());
        }
        let http = builder
            .build()
            .map_err(|error| Error::Config(format!("the client cannot be made: {error}")))?;
        Ok(Self { target, http })
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

    /// Sends something that is done once under a key, however often it is sent.
    pub(crate) async fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        key: Option<&str>,
    ) -> Result<T, Error> {
        let mut request = self.request(Method::POST, path, Some(encode(body)));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let response = within(ANSWER_TIMEOUT, self, self.answer(request)).await?;
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
        Ok(self.streamed(response))
    }

    /// Sends a request and returns its answer's head if it is one of success.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Response, Error> {
        self.answer(self.request(method, path, body)).await
    }

    fn request(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> RequestBuilder {
        let url = format!("{}/api/v1{path}", self.target.base());
        let mut request = self.http.request(method, url);
        if let Some(key) = self.target.key() {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body);
        }
        request
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await;
        let response = response.map_err(|error| failure::of(&self.target, &error))?;
        if response.status().is_success() {
            tell_of_records_behind(&response);
            return Ok(response);
        }
        Err(self.refusal(response).await)
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, Error> {
        let body = self.collect(response).await?;
        // An answer without a body, as 204, is read as `null`.
        let text: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(text)
            .map_err(|_| self.no_gate("its answer is none that a gate gives"))
    }

    /// Returns the error for an answer that no gate of this version gives.
    pub(crate) fn no_gate(&self, reason: &str) -> Error {
        Error::NotAGate {
            target: self.target.describe(),
            reason: reason.to_owned(),
        }
    }

    async fn refusal(&self, response: Response) -> Error {
        let status = response.status();
        match self.collect(response).await {
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

    async fn collect(&self, response: Response) -> Result<Vec<u8>, Error> {
        let mut answer = self.streamed(response);
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_LIMIT {
                return Err(answer.broken(&"its answer is longer than is taken here"));
            }
        }
        Ok(body)
    }

    fn streamed(&self, response: Response) -> Streamed {
        Streamed {
            target: self.target.describe(),
            response,
            rest: Vec::new(),
        }
    }
}

// === impl Streamed ===

impl Streamed {
    /// The next piece as it came; `None` when all has come.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = self.response.chunk().await;
        chunk.map_err(|error| self.broken(&failure::in_the_middle(&error)))
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

/// What an answer lacks goes where no program looks for the answer.
fn tell_of_records_behind(response: &Response) {
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
        Err(_) => Err(Error::Broken {
            target: client.target.describe(),
            reason: format!("no answer within {} s", limit.as_secs()),
        }),
    }
}
