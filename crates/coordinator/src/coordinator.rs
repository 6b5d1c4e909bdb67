//! The Redis tier as a [`Fleet`] of gates.

use std::sync::Arc;

use async_trait::async_trait;
use licensing::Fleet;
use licensing::fleet::{Announced, CounterReport, Fill, FleetAway, PeerCounts};
use model::InstanceId;
use store::ChangeNumber;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::address::Address;
use crate::cache;
use crate::circuit::Circuit;
use crate::connector::Connector;
use crate::counts;
use crate::error::Error;
use crate::notifier::{ChangeNotifier, OwnChanges};
use crate::options::CoordinatorOptions;
use crate::server;
use crate::supervisor;

/// A Redis that this gate uses while it answers.
pub struct Coordinator {
    namespace: String,
    circuit: Arc<Circuit>,
    notifier: Arc<ChangeNotifier>,
    own_changes: watch::Sender<OwnChanges>,
    /// The permits for snapshots that are being stored.
    fills: Arc<Semaphore>,
    tasks: Vec<JoinHandle<()>>,
}

impl Coordinator {
    /// The number of snapshots that are stored at once. Further ones are not kept.
    const MAX_FILLS: usize = 128;

    /// Connects to Redis and starts the tasks that keep the connection; they end when the value is
    /// dropped. To be called on the runtime that may wait for Redis. `on_change` is called with
    /// whether Redis answers, once at first and whenever that changes.
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
        let notifier = Arc::new(ChangeNotifier::new(&options.namespace));
        let namespace = options.namespace.clone();
        let connector = Arc::new(Connector {
            address,
            options,
            circuit: circuit.clone(),
            notifier: notifier.clone(),
            master: parking_lot::Mutex::default(),
        });
        first(&connector).await?;
        let (own_changes, published) = watch::channel(OwnChanges::default());
        let (publisher_circuit, publisher) = (circuit.clone(), notifier.clone());
        let tasks = vec![
            tokio::spawn(supervisor::serve(connector, 1)),
            tokio::spawn(async move { publisher.publish(&publisher_circuit, published).await }),
        ];
        Ok(Arc::new(Self {
            namespace,
            circuit,
            notifier,
            own_changes,
            fills: Arc::new(Semaphore::new(Self::MAX_FILLS)),
            tasks,
        }))
    }

    /// Returns whether Redis answered until now, so that it is asked.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.circuit.is_closed()
    }
}

/// Makes the first connection, at which everything is reported that an operator should know.
async fn first(connector: &Connector) -> Result<(), Error> {
    let name = connector.address.name();
    match connector.connect(0).await {
        Ok(mut link) => {
            let key = cache::key(&connector.options.namespace, "rights");
            // The channel has the same name as the key; nobody listens to it.
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
        // If too many are stored at once, the next look-up offers this one again.
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
        self.own_changes.send_if_modified(|own_changes| {
            let is_newer = number.0 > own_changes.number;
            own_changes.number = number.0.max(own_changes.number);
            is_newer
        });
    }

    fn announce_keys(&self) {
        self.own_changes
            .send_modify(|own_changes| own_changes.keys += 1);
    }

    async fn announced(&self) -> Announced {
        self.notifier.next().await
    }

    fn is_up(&self) -> bool {
        self.circuit.is_closed()
    }

    async fn exchange_counts(
        &self,
        gate: InstanceId,
        reports: &[CounterReport],
    ) -> Result<Vec<PeerCounts>, FleetAway> {
        counts::exchange(&self.circuit, &self.namespace, &gate.to_string(), reports).await
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
