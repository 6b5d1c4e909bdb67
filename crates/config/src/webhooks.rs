//! `[webhooks]`: the deliveries of events to their receivers.

use crate::duration::Millis;
use crate::reader::Section;

/// `[webhooks]`: the deliveries of events to their receivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhooks {
    /// The times of the tries of a delivery since the first, which is at once; 1 to
    /// [`Webhooks::MAX_TRIES`], each later than the one before. When the last has failed, the
    /// webhook is disabled \[0, 1, 5 and 30 minutes, 2 hours\].
    pub schedule: Vec<Millis>,
    /// The time that a receiver has for its answer \[5 s\].
    pub timeout: Millis,
    /// How long events are kept, with their deliveries, those that wait too \[30 d\].
    pub keep: Millis,
}

impl Default for Webhooks {
    fn default() -> Self {
        let minutes = |minutes: u64| Millis::from_seconds(minutes * 60);
        Self {
            schedule: [0, 1, 5, 30, 120].map(minutes).into(),
            timeout: Millis::from_seconds(5),
            keep: minutes(30 * 24 * 60),
        }
    }
}

impl Webhooks {
    /// The largest number of tries.
    pub const MAX_TRIES: usize = 20;
    /// The longest time that a receiver may have: it takes a place of another for that long.
    const MAX_TIMEOUT: Millis = Millis::from_seconds(30);

    pub(crate) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let webhooks = Self {
            schedule: section.list("schedule", default.schedule),
            timeout: section.timeout("timeout", default.timeout),
            keep: section.timeout("keep", default.keep),
        };
        if !webhooks.has_schedule() {
            let message = format!(
                "schedule: these are not the times of tries: write 1 to {}, the first \"0s\" and each later than the one before, such as [\"0s\", \"1m\", \"5m\"]",
                Self::MAX_TRIES
            );
            section.report(section.at("schedule"), message);
        }
        if webhooks.timeout > Self::MAX_TIMEOUT {
            let message = "timeout: a receiver that hangs would hold others up: write 30s or less";
            section.report(section.at("timeout"), message);
        }
        section.finish();
        webhooks
    }

    fn has_schedule(&self) -> bool {
        let times = &self.schedule;
        (1..=Self::MAX_TRIES).contains(&times.len())
            && times[0].is_zero()
            && times.windows(2).all(|two| two[0] < two[1])
    }
}
