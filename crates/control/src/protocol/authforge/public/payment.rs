//! The payment for work: credits of the account, within the burn cap of the app.

use gate::Held;
use licensing::SoftwareApp;
use model::CallId;

use super::answer::{Code, Refusal};
use super::context::Context;
use super::throttles::TakenCredits;
use crate::http::client::Client;
use crate::protocol::authforge::credits::{Parties, Work};

/// Credits that are taken for work. Dropped, they are given back.
#[must_use = "it is recorded or given back"]
pub(super) struct Payment<'a> {
    held: Held<'a>,
    taken: TakenCredits<'a>,
}

impl Context {
    /// Takes what work costs.
    pub(super) async fn pay<'a>(
        &'a self,
        parties: &'a Parties,
        app: &'a SoftwareApp,
        work: Work,
        client: &Client,
    ) -> Result<Payment<'a>, Refusal> {
        let taken = self.throttles.credits(app, work.credits(), self.moment());
        let taken = taken.map_err(|wait| Refusal::too_many(Code::AppBurnCapReached, wait))?;
        let held = parties.hold(&self.services, app, work, client.address);
        Ok(Payment {
            held: held.await?,
            taken,
        })
    }
}

impl Payment<'_> {
    /// Returns whether the app's records wait for the disk.
    pub(super) fn waits_for_disk(&self) -> bool {
        self.held.waits_for_disk()
    }

    /// Writes the record of the work. Returns when it is as durable as the app asks.
    ///
    /// # Errors
    /// It is not known whether it is kept: a journal that failed may have kept it.
    pub(super) async fn record(mut self, call_id: CallId) -> Result<(), Refusal> {
        self.held.set_call_id(call_id);
        let recorded = self.held.record().await;
        recorded.map_err(|_| Refusal::unavailable())?;
        self.taken.use_up();
        Ok(())
    }
}
