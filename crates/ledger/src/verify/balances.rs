//! The comparison of balances with the spending that the records show.

use std::collections::HashMap;

use model::LicenseId;

use super::Check;
use crate::report::{Fault, Problem};

impl Check {
    /// Compares balances with the records. Too little spent is always reported: those units could
    /// be spent twice. Too much is reported only where every record can be read.
    pub(super) fn balances(&mut self, balances: &[(LicenseId, u32, u64)]) {
        let mut counted: HashMap<(LicenseId, u32), u64> = HashMap::new();
        for spent in self.sums.spent() {
            for (epoch, units) in spent.units {
                counted.insert((spent.license_id, epoch), units);
            }
        }
        let all_is_read =
            self.trusted == 0 && !self.lives_elsewhere && self.gone + self.changed == 0;
        for (license, epoch, spent) in balances {
            let counted = counted.get(&(*license, *epoch)).copied().unwrap_or(0);
            if *spent < counted || (all_is_read && *spent > counted) {
                let what = format!(
                    "the records of license {license} say that {counted} units of its present balance are spent, the store says {spent}"
                );
                self.note(Problem::new(Fault::BalanceWrong, what));
            }
        }
    }
}
