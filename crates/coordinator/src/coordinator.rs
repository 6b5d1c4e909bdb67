//! Redis as gates share it.

use std::sync::Arc;

use async_trait::async_trait;
use licensing::Fleet;
use licensing::fleet::{Announced, CounterReport, Fill, FleetAway, PeerCounts};
use model::InstanceId;
use store::ChangeNumber;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::address::Address;
use crate::bell::{ChangeNotifier, News};
use crate::cache;
use crate::circuit::Circuit;
use crate::error::Error;
use crate::link::Connector;
use crate::options::CoordinatorOptions;
use crate::server;
use crate::supervisor;
use crate::tally;

/// A Redis that this gate uses while it answers.
pub struct Coordinator {
    namespace: String,
    circuit: Arc<Circuit>,
    bell: Arc<ChangeNotifier>,
    news: watch::Sender<News>,
    /// Fills on their way; what comes beyond is not kept.
    fills: Arc<Semaphore>,
    tasks: Vec<JoinHandle<()>>,
}

impl Coordinator {
    /// Fills on their way at once.
    const FILLS: usize = 128;

    /// Connects. `on_change` is told whether Redis answers whenever that changes, and once at first. Ends with the value;
    /// to be called on the runtime that may wait for Redis.
    ///
    /// A Redis that does not answer is connected to in the background.
    ///
    /// # Errors
    /// A URL, a password or a server that only the operator can mend.
    pub async fn connect(
        options: CoordinatorOptions,
        on_change: impl Fn(bool) + Send + Sync + 'static,
    ) -> Result<Arc<Self>, Error> {
        let address = Address::parse(&options.urls)?;
        on_change(false);
        let circuit = Arc::new(Circuit::new(options.timeout, on_change));
        let bell = Arc::new(ChangeNotifier::new(&options.namespace));
        let namespace = options.namespace.clone();
        let connector = Arc::new(Connector {
            address,
            options,
            circuit: circuit.clone(),
            bell: bell.clone(),
            master: parking_lot::Mutex::default(),
        });
        first(&connector).await?;
        let (news, published) = watch::channel(News::default());
        let (publishing, ringing) = (circuit.clone(), bell.clone());
        let tasks = vec![
            tokio::spawn(supervisor::serve(connector, 1)),
            tokio::spawn(async move { ringing.publish(&publishing, published).await }),
        ];
        Ok(Arc::new(Self {
            namespace,
            circuit,
            bell,
            news,
            fills: Arc::new(Semaphore::new(Self::FILLS)),
            tasks,
        }))
    }

    /// Whether it is asked at present.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.circuit.is_closed()
    }
}

/// The first connection, at which everything is said that an operator should know.
async fn first(connector: &Connector) -> Result<(), Error> {
    let name = connector.address.name();
    match connector.connect(0).await {
        Ok(mut link) => {
            let key = cache::key(&connector.options.namespace, "rights");
            // A channel of the same spelling, which nobody listens to.
            if let Err(fault) = server::check_rights(&mut link, &key, &key).await
                && let Some(error) = fault.fatal(&name)
            {
                return Err(error);
            }
            if let Ok(Some(policy)) = server::eviction(&mut link).await {
                return Err(Error::Evicts {
                    server: name,
                    policy,
                });
            }
            connector.circuit.close(link, 0);
            Ok(())
        }
        Err(fault) => {
            let reason = fault.to_string();
            match fault.fatal(&name) {
                Some(error) => Err(error),
                None => {
                    tracing::warn!(server = %name, reason, "redis does not answer, the store serves alone until it does");
                    Ok(())
                }
            }
        }
    }
}

#[async_trait]
impl Fleet for Coordinator {
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, FleetAway> {
        cache::get(&self.circuit, &cache::key(&self.namespace, name)).await
    }

    fn put(&self, fill: Fill) {
        if !self.circuit.is_closed() {
            return;
        }
        // Too many at once: the next look-up offers it again.
        let Ok(permit) = self.fills.clone().try_acquire_owned() else {
            return;
        };
        let circuit = self.circuit.clone();
        let key = cache::key(&self.namespace, &fill.name);
        tokio::spawn(async move {
            let _ = cache::put(&circuit, &key, &fill).await;
            drop(permit);
        });
    }

    fn announce(&self, number: ChangeNumber) {
        self.news.send_if_modified(|news| {
            let is_newer = number.0 > news.number;
            news.number = number.0.max(news.number);
            is_newer
        });
    }

    fn announce_keys(&self) {
        self.news.send_modify(|news| news.keys += 1);
    }

    async fn announced(&self) -> Announced {
        self.bell.next().await
    }

    fn is_up(&self) -> bool {
        self.circuit.is_closed()
    }

    async fn tally(
        &self,
        gate: InstanceId,
        tallies: &[CounterReport],
    ) -> Result<Vec<PeerCounts>, FleetAway> {
        tally::tell(&self.circuit, &self.namespace, &gate.to_string(), tallies).await
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl std::fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coordinator")
            .field("namespace", &self.namespace)
            .field("is_up", &self.is_up())
            .finish_non_exhaustive()
    }
}
