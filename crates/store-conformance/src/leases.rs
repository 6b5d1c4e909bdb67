//! The comparison of leases, refills and windows with a simple model: gates that lease, use,
//! report, give back and crash.
//!
//! The model keeps its own list of units that were really used, and checks two properties that no
//! arithmetic of the store goes into: never is more used than was granted, and once every gate is
//! settled, all units that were not used are free.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{InstanceId, LicenseId, RefillMode, Timestamp};
use proptest::prelude::*;

use crate::fixtures::{
    BIRTH, balance_figures, balance_of, batch, keep, lease, lease_window, spent_calls, spent_units,
    units, window_of,
};
use crate::{StoreFactory, for_all};
use store::{AuditEntries, LeaseKey, LicenseChange, Store};

const GATES: usize = 3;
const HOUR: u32 = 3_600;
/// The number of calls that pass in an hour.
const CAPACITY: u64 = 25;

#[derive(Clone, Debug)]
enum Step {
    Lease(usize, u64),
    LeaseWindow(usize, u64),
    /// Calls of one unit each, as far as the leases reach.
    Call(usize, u64),
    Report(usize),
    GiveBack(usize, u64),
    /// The gate dies; its journal is read; another takes its place.
    Crash(usize),
    Wait(i64),
    SetByHand(u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let gate = 0..GATES;
    prop_oneof![
        4 => (gate.clone(), 1..20_u64).prop_map(|(gate, want)| Step::Lease(gate, want)),
        4 => (gate.clone(), 1..20_u64).prop_map(|(gate, want)| Step::LeaseWindow(gate, want)),
        6 => (gate.clone(), 1..15_u64).prop_map(|(gate, calls)| Step::Call(gate, calls)),
        4 => gate.clone().prop_map(Step::Report),
        2 => (gate.clone(), 1..15_u64).prop_map(|(gate, units)| Step::GiveBack(gate, units)),
        2 => gate.prop_map(Step::Crash),
        3 => (1..50_i64).prop_map(Step::Wait),
        1 => (0..60_u64).prop_map(Step::SetByHand),
        1 => Just(Step::Reopen),
    ]
}

/// Random histories of three gates and one license with a refill every hour agree with the model.
pub async fn leases_agree_with_a_simple_model<F: StoreFactory>() {
    let steps = proptest::collection::vec(step(), 1..50);
    let refill = prop_oneof![Just("7/1h"), Just("7/1h,add")];
    for_all(
        24,
        (0..40_u64, refill, steps),
        |(remaining, refill, steps)| play::<F>(remaining, refill, steps),
    )
    .await;
}

async fn play<F: StoreFactory>(remaining: u64, refill: &'static str, steps: Vec<Step>) {
    let place = F::fresh().await;
    let mut store = place.open().await;
    let license = keep(&*store, units(remaining, Some(refill))).await;
    let mut world = World::new(license, remaining, refill);
    for step in steps {
        if matches!(step, Step::Reopen) {
            drop(store);
            store = place.open().await;
        }
        world.play(&store, step).await;
        world.check(&*store).await;
    }
    for gate in 0..GATES {
        world.crash(&*store, gate).await;
    }
    world.check_that_all_unused_is_free(&*store).await;
}

/// The units that a gate holds of one epoch or window, and has used of it.
#[derive(Default)]
struct Holding {
    held: u64,
    used: u64,
    reported: u64,
}

struct Gate {
    id: InstanceId,
    position: u64,
    balance: BTreeMap<u32, Holding>,
    windows: BTreeMap<u32, Holding>,
}

impl Gate {
    fn new() -> Self {
        Self {
            id: InstanceId::generate(),
            position: 0,
            balance: BTreeMap::new(),
            windows: BTreeMap::new(),
        }
    }
}

struct World {
    license: LicenseId,
    refill: &'static str,
    now: Timestamp,
    gates: Vec<Gate>,
    epoch: u32,
    granted: u64,
    hours_claimed: i64,
    /// The units that settled gates used, by epoch and by hour.
    settled_units: BTreeMap<u32, u64>,
    settled_calls: BTreeMap<u32, u64>,
}

impl World {
    fn new(license: LicenseId, remaining: u64, refill: &'static str) -> Self {
        Self {
            license,
            refill,
            now: BIRTH,
            gates: (0..GATES).map(|_| Gate::new()).collect(),
            epoch: 0,
            granted: remaining,
            hours_claimed: 0,
            settled_units: BTreeMap::new(),
            settled_calls: BTreeMap::new(),
        }
    }

    async fn play(&mut self, store: &Arc<dyn Store>, step: Step) {
        let store = &**store;
        match step {
            Step::Lease(gate, want) => self.lease(store, gate, want).await,
            Step::LeaseWindow(gate, want) => self.lease_window(store, gate, want).await,
            Step::Call(gate, calls) => self.call(gate, calls),
            Step::Report(gate) => self.report(store, gate).await,
            Step::GiveBack(gate, units) => self.give_back(store, gate, units).await,
            Step::Crash(gate) => self.crash(store, gate).await,
            Step::Wait(minutes) => self.now = self.now.plus_micros(minutes * 60_000_000),
            Step::SetByHand(remaining) => self.set_by_hand(store, remaining).await,
            Step::Reopen => {}
        }
    }

    /// Claims the refill that is due now, once for all the hours that passed.
    fn refill(&mut self) {
        let hours = (self.now.micros() - BIRTH.micros()) / Timestamp::HOUR;
        if hours <= self.hours_claimed {
            return;
        }
        self.hours_claimed = hours;
        if self.mode() == RefillMode::Add {
            self.granted += 7;
        } else {
            self.granted = 7;
            self.epoch += 1;
        }
    }

    fn mode(&self) -> RefillMode {
        let refill: model::Refill = self.refill.parse().expect("valid");
        refill.mode
    }

    async fn lease(&mut self, store: &dyn Store, gate: usize, want: u64) {
        self.refill();
        let units = want.min(self.free_units());
        let grant = lease(store, self.gates[gate].id, self.license, want, self.now).await;
        assert_eq!((grant.units, grant.key.period), (units, self.epoch));
        assert_eq!(grant.left, self.free_units() - units);
        self.gates[gate].balance.entry(self.epoch).or_default().held += units;
    }

    fn free_units(&self) -> u64 {
        let held = |gate: &Gate| {
            gate.balance
                .get(&self.epoch)
                .map_or(0, |holding| holding.held)
        };
        let settled = self.settled_units.get(&self.epoch).copied().unwrap_or(0);
        self.granted - settled - self.gates.iter().map(held).sum::<u64>()
    }

    async fn lease_window(&mut self, store: &dyn Store, gate: usize, want: u64) {
        let key = window_of(self.license, HOUR, self.now);
        let free = self.free_calls(key.period);
        let grant = lease_window(store, self.gates[gate].id, key, [want, CAPACITY], self.now).await;
        assert_eq!(
            (grant.units, grant.left),
            (want.min(free), free - want.min(free))
        );
        self.gates[gate].windows.entry(key.period).or_default().held += grant.units;
    }

    fn free_calls(&self, hour: u32) -> u64 {
        let held = |gate: &Gate| gate.windows.get(&hour).map_or(0, |holding| holding.held);
        let settled = self.settled_calls.get(&hour).copied().unwrap_or(0);
        CAPACITY - settled - self.gates.iter().map(held).sum::<u64>()
    }

    /// Lets a gate use the units that it holds of the epoch it knows, which may be over.
    fn call(&mut self, gate: usize, calls: u64) {
        let gate = &mut self.gates[gate];
        if let Some(mut holding) = gate.balance.last_entry() {
            let holding = holding.get_mut();
            holding.used += calls.min(holding.held - holding.used);
        }
        if let Some(holding) = gate.windows.get_mut(&self.now.period(HOUR)) {
            holding.used += calls.min(holding.held - holding.used);
        }
    }

    async fn report(&mut self, store: &dyn Store, gate: usize) {
        let gate = &mut self.gates[gate];
        let mut spent = Vec::new();
        for (epoch, holding) in &mut gate.balance {
            spent.push(spent_units(
                self.license,
                *epoch,
                holding.used - holding.reported,
            ));
            holding.reported = holding.used;
        }
        for (hour, holding) in &mut gate.windows {
            let minute =
                Timestamp::from_micros(i64::from(*hour) * Timestamp::HOUR + 59 * 60_000_000);
            spent.push(spent_calls(
                self.license,
                minute,
                holding.used - holding.reported,
            ));
            holding.reported = holding.used;
        }
        store
            .roll_up(batch(gate.id, gate.position, spent))
            .await
            .expect("rolled");
        gate.position += 1;
    }

    async fn give_back(&mut self, store: &dyn Store, gate: usize, units: u64) {
        let gate = &mut self.gates[gate];
        let Some(mut entry) = gate.balance.last_entry() else {
            return;
        };
        let period = *entry.key();
        let units = units.min(entry.get().held - entry.get().used);
        entry.get_mut().held -= units;
        let key = LeaseKey {
            period,
            ..balance_of(self.license)
        };
        store
            .give_back(gate.id, vec![(key, units)])
            .await
            .expect("answers");
    }

    async fn crash(&mut self, store: &dyn Store, gate: usize) {
        self.report(store, gate).await;
        let dead = std::mem::replace(&mut self.gates[gate], Gate::new());
        store.settle_instance(dead.id).await.expect("settled");
        store.settle_instance(dead.id).await.expect("settled again");
        for (epoch, holding) in dead.balance {
            *self.settled_units.entry(epoch).or_default() += holding.used;
        }
        for (hour, holding) in dead.windows {
            *self.settled_calls.entry(hour).or_default() += holding.used;
        }
    }

    async fn set_by_hand(&mut self, store: &dyn Store, remaining: u64) {
        let limits = units(remaining, Some(self.refill));
        let change = LicenseChange::Limits {
            limits,
            balance: true,
        };
        store
            .change_license(self.license, change, AuditEntries::none())
            .await
            .expect("answers")
            .expect("there");
        let hours = (self.now.micros() - BIRTH.micros()) / Timestamp::HOUR;
        self.hours_claimed = self.hours_claimed.max(hours);
        // A balance that nobody leased from is still in its first epoch.
        let first = store
            .balance(self.license, self.now)
            .await
            .expect("answers")
            .expect("counted");
        self.epoch = first.epoch;
        self.granted = remaining;
        // The store learns at the next lease when that was.
        self.lease(store, 0, 1).await;
    }

    async fn check(&mut self, store: &dyn Store) {
        let used = |holdings: &BTreeMap<u32, Holding>, at: u32| {
            holdings.get(&at).map_or(0, |holding| holding.used)
        };
        let hour = self.now.period(HOUR);
        let units: u64 = self
            .gates
            .iter()
            .map(|gate| used(&gate.balance, self.epoch))
            .sum();
        let settled = self.settled_units.get(&self.epoch).copied().unwrap_or(0);
        assert!(
            units + settled <= self.granted,
            "more was used than was granted"
        );
        let calls: u64 = self
            .gates
            .iter()
            .map(|gate| used(&gate.windows, hour))
            .sum();
        let settled = self.settled_calls.get(&hour).copied().unwrap_or(0);
        assert!(
            calls + settled <= CAPACITY,
            "more calls passed than the window lets pass"
        );
        self.refill_seen(store).await;
    }

    /// Checks that the balance shows the refill that the next lease will claim.
    async fn refill_seen(&self, store: &dyn Store) {
        let hours = (self.now.micros() - BIRTH.micros()) / Timestamp::HOUR;
        let due = hours > self.hours_claimed;
        let [granted, spent, leased, epoch] = balance_figures(store, self.license, self.now).await;
        if !due {
            assert_eq!((granted, epoch), (self.granted, u64::from(self.epoch)));
            assert_eq!(granted - spent - leased, self.free_units());
        } else if self.mode() == RefillMode::Set {
            assert_eq!(
                (granted, spent, leased, epoch),
                (7, 0, 0, u64::from(self.epoch) + 1)
            );
        } else {
            assert_eq!((granted, epoch), (self.granted + 7, u64::from(self.epoch)));
        }
    }

    async fn check_that_all_unused_is_free(&mut self, store: &dyn Store) {
        self.refill();
        let used = self.settled_units.get(&self.epoch).copied().unwrap_or(0);
        let grant = lease(
            store,
            InstanceId::generate(),
            self.license,
            1_000_000,
            self.now,
        )
        .await;
        assert_eq!((grant.units, grant.left), (self.granted - used, 0));
        let key = window_of(self.license, HOUR, self.now);
        let used = self.settled_calls.get(&key.period).copied().unwrap_or(0);
        let gate = InstanceId::generate();
        let grant = lease_window(store, gate, key, [1_000, CAPACITY], self.now).await;
        assert_eq!(grant.units, CAPACITY - used);
    }
}
