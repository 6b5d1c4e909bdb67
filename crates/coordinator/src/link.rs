//! A connection that is ready for use: checked, and subscribed to the bell.

use parking_lot::Mutex;
use redis::aio::{AsyncPushSender, ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    Client, Cmd, ConnectionAddr, ConnectionInfo, Pipeline, ProtocolVersion, RedisError,
    RedisFuture, RedisResult, TlsMode, Value,
};

use crate::address::Address;
use crate::bell::{ChangeNotifier, Subscriber};
use crate::circuit::Circuit;
use crate::options::CoordinatorOptions;
use crate::server::{self, Fault};

use std::sync::Arc;
use std::time::Duration;

/// The bound of a command for the client's own sake, far behind that of the circuit.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection. Cheap to clone; commands of all clones share it.
#[derive(Clone)]
pub(crate) enum Link {
    /// To one server.
    Single(ConnectionManager),
    /// To all servers of a Cluster.
    Cluster(ClusterConnection),
}

/// Makes connections.
pub(crate) struct Connector {
    pub(crate) address: Address,
    pub(crate) options: CoordinatorOptions,
    pub(crate) circuit: Arc<Circuit>,
    pub(crate) bell: Arc<ChangeNotifier>,
    /// The master that was connected to last, where Sentinels name it.
    pub(crate) master: Mutex<Option<ConnectionAddr>>,
}

impl Connector {
    /// Connects, looks at the server and subscribes, all within the bound. `number` tells this connection from others.
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
        // The first connection refuses it; a master that came later, or was away then, is used all the same.
        if number > 0
            && let Ok(Some(policy)) = server::eviction(&mut link).await
        {
            let server = self.address.name();
            tracing::warn!(%server, policy, "redis may throw keys away: short rate limits may be exceeded, set `maxmemory-policy noeviction`");
        }
        link.subscribe(self.bell.channel()).await?;
        Ok(link)
    }

    async fn single(&self, info: ConnectionInfo, number: u64) -> Result<Link, RedisError> {
        // It is replaced as a whole when it fails, so that a Sentinel is asked anew and nothing is left of what was sent.
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            // The circuit bounds every command, and does not count time in which this process stood still.
            .set_response_timeout(None)
            .set_number_of_retries(0)
            .set_push_sender(self.ear(number));
        let manager = ConnectionManager::new_with_config(Client::open(info)?, config);
        Ok(Link::Single(manager.await?))
    }

    async fn cluster(&self, infos: &[ConnectionInfo], number: u64) -> Result<Link, RedisError> {
        let client = ClusterClient::builder(infos.to_vec())
            .connection_timeout(self.options.connect_timeout)
            // As above.
            .response_timeout(COMMAND_TIMEOUT)
            .overall_response_timeout(Some(COMMAND_TIMEOUT))
            .retries(2)
            .min_retry_wait(5)
            .max_retry_wait(20)
            .use_protocol(ProtocolVersion::RESP3)
            .push_sender(self.ear(number))
            .build()?;
        Ok(Link::Cluster(client.get_async_connection().await?))
    }

    /// The present master. Each try begins with another Sentinel, so that one that hangs does not stand in the way.
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

    /// Whether Sentinels name another master than the one that is connected to: after a planned failover the old one goes on
    /// taking writes for some seconds, which are lost. `false` where none answers in time.
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

    fn ear(&self, number: u64) -> impl AsyncPushSender + use<> {
        Subscriber {
            bell: self.bell.clone(),
            circuit: Arc::downgrade(&self.circuit),
            number,
        }
    }
}

impl Link {
    async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Self::Single(link) => link.subscribe(channel).await,
            Self::Cluster(link) => link.subscribe(channel).await,
        }
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(link) => link.req_packed_command(command),
            Self::Cluster(link) => link.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(link) => link.req_packed_commands(commands, offset, count),
            Self::Cluster(link) => link.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(link) => link.get_db(),
            Self::Cluster(link) => link.get_db(),
        }
    }
}
