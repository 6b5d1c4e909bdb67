//! The report of a verification.

use model::InstanceId;
use serde::Serialize;

/// A kind of problem that a verification finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Pending records could not be shipped.
    NotShipped,
    /// The journal is damaged, or a part of it is gone.
    JournalDamaged,
    /// A sealed file is gone.
    FileMissing,
    /// A sealed file is not as it was written.
    FileChanged,
    /// A sealed file is in the directory and not in the manifest.
    FileUnknown,
    /// A file does not carry the hash of the one before.
    ChainBroken,
    /// Between two files of a lane, or in a file, records are missing.
    RecordsMissing,
    /// Records are in two files, or twice in one.
    RecordsDoubled,
    /// Two records have the same call id.
    CallDoubled,
    /// Rollups differ from the sums of the records.
    RollupsDiffer,
    /// A balance differs from what the records say was spent of it.
    BalanceWrong,
    /// A position is not where the files or the journal say.
    PositionWrong,
    /// An instance lives in another process; its unsealed records are taken on trust.
    NotVerifiable,
}

/// A problem, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The kind of problem.
    pub fault: Fault,
    /// The instance, where it is about one.
    pub instance: Option<InstanceId>,
    /// The lane, where it is about one.
    pub lane: Option<u32>,
    /// The file, where it is about one.
    pub file: Option<String>,
    /// The first and the last record, where it is about a range.
    pub range: Option<(u64, u64)>,
    /// A sentence for people.
    pub detail: String,
    /// Whether `tallygate ledger rebuild` may mend it.
    pub rebuild_heals: bool,
}

impl Problem {
    pub(crate) fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Self {
            fault,
            instance: None,
            lane: None,
            file: None,
            range: None,
            detail: detail.into(),
            rebuild_heals: matches!(
                fault,
                Fault::RollupsDiffer
                    | Fault::FileUnknown
                    | Fault::FileMissing
                    | Fault::FileChanged
                    | Fault::PositionWrong
                    | Fault::ChainBroken
            ),
        }
    }

    pub(crate) fn of(mut self, instance: InstanceId, lane: u32) -> Self {
        self.instance = Some(instance);
        self.lane = Some(lane);
        self
    }

    pub(crate) fn file(mut self, name: &str) -> Self {
        self.file = Some(name.to_owned());
        self
    }

    pub(crate) fn range(mut self, from: u64, through: u64) -> Self {
        self.range = Some((from, through));
        self
    }
}

/// The result of a verification, in calls: accepted = stored + pending + lost where nothing is
/// doubled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The number of calls that were taken into the journal.
    pub accepted: u64,
    /// The number of calls in the rollups; those that are there too often count once.
    pub stored: u64,
    /// The number of calls that are closed and not in the rollups yet.
    pub pending: u64,
    /// The number of calls of which a record or a sum is missing, or is in a file that is not as it
    /// was written.
    pub lost: u64,
    /// The number of calls that are there more than once.
    pub duplicated: u64,
    /// The problems, and where they are.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    /// Returns whether nothing is lost, nothing is doubled, and there is no other problem.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let trusted = |problem: &Problem| problem.fault == Fault::NotVerifiable;
        self.lost == 0 && self.duplicated == 0 && self.problems.iter().all(trusted)
    }
}
