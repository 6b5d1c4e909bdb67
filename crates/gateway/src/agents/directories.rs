//! The fetching of directories of keys, in the background and within bounds.

use std::sync::Arc;
use std::time::Duration;

use agents::directory::fetch::{Answer, MAX_TIME, MEDIA_TYPE};
use agents::directory::{FetchFailure, Fetched};
use agents::web_bot_auth::KeySet;
use agents::{DirectoryKind, DirectoryUrl};
use config::Config;
use gate::Agents;
use http::Method;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName};
use model::Clock;
use outbound::{Client, ClientOptions, Outgoing, SystemResolver, Target, TargetRules};

use crate::start_error::StartError;
use crate::trust;

/// The fetcher of directories.
pub(super) struct Directories {
    agents: Arc<Agents>,
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
}

/// The time after which directories that are wanted again are looked for, whoever calls.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Directories {
    pub(super) fn new(
        config: &Config,
        agents: &Arc<Agents>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let options = ClientOptions {
            rules: TargetRules {
                allow_private: config.server.private_agent_directories,
                allow_plain: false,
            },
            timeout: MAX_TIME,
        };
        let tls = trust::outside("no directory of an agent's keys can be fetched")?;
        let client = Client::new(Arc::new(SystemResolver), tls, options);
        Ok(Self {
            agents: agents.clone(),
            client: Arc::new(client),
            clock,
        })
    }

    /// Fetches what is wanted, as many at once as [`Agents::next_fetch`] gives. Never returns.
    pub(super) async fn run(self) {
        loop {
            let _ = tokio::time::timeout(LOOK_EVERY, self.agents.wanted()).await;
            while let Some(fetch) = self.agents.next_fetch(self.clock.now()) {
                let (agents, client) = (self.agents.clone(), self.client.clone());
                let clock = self.clock.clone();
                tokio::spawn(async move {
                    let came = fetched(&client, fetch.directory()).await;
                    if let Err(reason) = &came {
                        let directory = fetch.directory();
                        tracing::debug!(%directory, %reason, "a directory of an agent's keys was not fetched");
                    }
                    agents.fetched(fetch, came, clock.now());
                });
            }
        }
    }
}

/// Fetches a directory, within [`MAX_TIME`].
async fn fetched(client: &Client, directory: &DirectoryUrl) -> Result<Fetched, FetchFailure> {
    let fetching = tokio::time::timeout(MAX_TIME, fetch(client, directory)).await;
    fetching.unwrap_or_else(|_| Err(unreachable(format!("it took longer than {MAX_TIME:?}"))))
}

async fn fetch(client: &Client, directory: &DirectoryUrl) -> Result<Fetched, FetchFailure> {
    let target = Target::parse(directory.as_str(), client.options().rules);
    let target = target.map_err(unreachable)?;
    let media_type = match directory.kind() {
        DirectoryKind::WellKnown => MEDIA_TYPE,
        DirectoryKind::KeySet => "application/jwk-set+json, application/json",
    };
    let outgoing = Outgoing {
        method: Method::GET,
        headers: vec![(ACCEPT.as_str(), media_type.to_owned())],
        body: vec![],
    };
    let reply = client.send(&target, outgoing).await.map_err(unreachable)?;
    let (status, headers) = (reply.status(), reply.headers().clone());
    let body = reply.body(KeySet::MAX_BYTES + 1, MAX_TIME).await;
    if !body.is_whole && body.bytes.len() <= KeySet::MAX_BYTES {
        return Err(unreachable("it broke off"));
    }
    let answer = Answer {
        status,
        media_type: text(&headers, &CONTENT_TYPE),
        cache_control: text(&headers, &CACHE_CONTROL),
        body: &body.bytes,
    };
    answer.read(directory)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn unreachable(why: impl ToString) -> FetchFailure {
    FetchFailure::Unreachable(why.to_string())
}
