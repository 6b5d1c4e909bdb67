//! The maker of connections to Redis: they are made, checked and subscribed to the channel of
//! changes.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::{AsyncPushSender, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{Client, ConnectionAddr, ConnectionInfo, ProtocolVersion, RedisError, TlsMode};

use crate::address::Address;
use crate::circuit::Circuit;
use crate::link::Link;
use crate::notifier::{ChangeNotifier, Subscriber};
use crate::options::CoordinatorOptions;
use crate::server::{self, Fault};

/// The time limit that the client puts on a command, far beyond that of the circuit.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// The maker of connections.
pub(crate) struct Connector {
    pub(crate) address: Address,
    pub(crate) options: CoordinatorOptions,
    pub(crate) circuit: Arc<Circuit>,
    pub(crate) notifier: Arc<ChangeNotifier>,
    /// The master of the last connection; `None`: there was none, or no Sentinel names it.
    pub(crate) master: Mutex<Option<ConnectionAddr>>,
}

impl Connector {
    /// Connects, checks the server and subscribes, all within `connect_timeout`. `number`
    /// identifies this connection.
    pub(crate) async fn connect(&self, number: u64) -> Result<Link, Fault> {
        let bound = self.options.connect_timeout;
        match store::suspend_aware::timeout(bound, self.connect_unbound(number)).await {
            Ok(result) => result,
            Err(_) => Err(Fault::Away(format!("no answer within {bound:?}"))),
        }
    }

    async fn connect_unbound(&self, number: u64) -> Result<Link, Fault> {
        let mut link = match &self.address {
            Address::Single(info) => {
                let mut link = self.single(info.clone(), number).await?;
                let report = server::look(&mut link).await?;
                if report.in_cluster {
                    link = self.cluster(std::slice::from_ref(info), number).await?;
                }
                link
            }
            Address::Sentinels { .. } => {
                let info = self.ask_sentinels(number).await?;
                *self.master.lock() = Some(info.addr().clone());
                self.single(info, number).await?
            }
            Address::Cluster(infos) => self.cluster(infos, number).await?,
        };
        server::look(&mut link).await?.check()?;
        // The first connection refuses such a server. A master that came later, or was away at the
        // start, is used all the same.
        if number > 0
            && let Ok(Some(policy)) = server::eviction(&mut link).await
        {
            let server = self.address.name();
            tracing::warn!(%server, policy, "redis may throw keys away: short rate limits may be exceeded, set `maxmemory-policy noeviction`");
        }
        link.subscribe(self.notifier.channel()).await?;
        Ok(link)
    }

    async fn single(&self, info: ConnectionInfo, number: u64) -> Result<Link, RedisError> {
        // A connection that fails is replaced as a whole, so that a Sentinel is asked again and
        // nothing is left of what was sent.
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            // The circuit limits every command, and does not count the time for which this process
            // was suspended.
            .set_response_timeout(None)
            .set_number_of_retries(0)
            .set_push_sender(self.subscriber(number));
        let manager = ConnectionManager::new_with_config(Client::open(info)?, config);
        Ok(Link::Single(manager.await?))
    }

    async fn cluster(&self, infos: &[ConnectionInfo], number: u64) -> Result<Link, RedisError> {
        let client = ClusterClient::builder(infos.to_vec())
            .connection_timeout(self.options.connect_timeout)
            // The circuit limits every command, as above.
            .response_timeout(COMMAND_TIMEOUT)
            .overall_response_timeout(Some(COMMAND_TIMEOUT))
            .retries(2)
            .min_retry_wait(5)
            .max_retry_wait(20)
            .use_protocol(ProtocolVersion::RESP3)
            .push_sender(self.subscriber(number))
            .build()?;
        Ok(Link::Cluster(client.get_async_connection().await?))
    }

    /// Asks the Sentinels for the present master. Each try begins with another Sentinel, so that
    /// one that hangs does not block the rest.
    async fn ask_sentinels(&self, number: u64) -> Result<ConnectionInfo, RedisError> {
        let Address::Sentinels {
            sentinels,
            service,
            login,
            tls,
        } = &self.address
        else {
            unreachable!("only called for sentinels");
        };
        let mut sentinels = sentinels.clone();
        let first = usize::try_from(number).unwrap_or(0) % sentinels.len();
        sentinels.rotate_left(first);
        let mut node =
            SentinelNodeConnectionInfo::default().set_redis_connection_info(login.clone());
        if *tls {
            node = node.set_tls_mode(TlsMode::Secure);
        }
        let kind = SentinelServerType::Master;
        let mut client = SentinelClient::build(sentinels, service, Some(node), kind)?;
        let master = client.async_get_client().await?;
        Ok(master.get_connection_info().clone())
    }

    /// Returns whether the Sentinels name another master than that of the last connection: after a
    /// planned failover the old master accepts writes for some seconds, which are lost. Returns
    /// `false` if no Sentinel answers in time.
    pub(crate) async fn has_moved(&self, number: u64) -> bool {
        if !matches!(self.address, Address::Sentinels { .. }) {
            return false;
        }
        let asked =
            store::suspend_aware::timeout(self.options.connect_timeout, self.ask_sentinels(number));
        match asked.await {
            Ok(Ok(info)) => self
                .master
                .lock()
                .as_ref()
                .is_some_and(|known| known != info.addr()),
            Ok(Err(_)) | Err(_) => false,
        }
    }

    fn subscriber(&self, number: u64) -> impl AsyncPushSender + use<> {
        Subscriber {
            notifier: self.notifier.clone(),
            circuit: Arc::downgrade(&self.circuit),
            number,
        }
    }
}
