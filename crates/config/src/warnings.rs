//! What a valid file says that its author may not mean.

use model::Outcome;

use crate::{Billable, Config, OutcomeSet, StatusSet};

impl Config {
    /// What is worth a second look, one sentence each; a file with warnings is served all the same.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for app in &self.apps {
            let name = format!("app `{}`", app.name);
            warnings.extend(empty(&name, &app.billable));
            warnings.extend(free_by_choice(&name, &app.billable));
            warnings.extend(free_by_outcome(&name, &app.billable_outcomes));
            for route in &app.routes {
                if route.billable != app.billable {
                    let name = format!("{name}, route `{}`", route.path);
                    warnings.extend(free_by_choice(&name, &route.billable));
                }
            }
        }
        warnings
    }
}

/// Outcomes that nobody is billed for, though the call was served or its caller left it.
fn free_by_outcome(what: &str, billable: &OutcomeSet) -> Option<String> {
    if !billable.contains(Outcome::Delivered) {
        return Some(format!(
            "{what}: `billable_outcomes` lacks \"delivered\": calls that were answered to their end cost nothing; name it, or leave \
             `billable_outcomes` out"
        ));
    }
    (!billable.contains(Outcome::ClientGone)).then(|| {
        format!(
            "{what}: `billable_outcomes` lacks \"client_gone\": callers who leave before the end of an answer pay nothing for it; name \
             it, or leave `billable_outcomes` out"
        )
    })
}

/// Of an app; a route with an empty `billable` is how a single one is made free.
fn empty(what: &str, billable: &Billable) -> Option<String> {
    (billable.forwarded == StatusSet::NONE).then(|| {
        format!(
            "{what}: `billable` is empty: no call costs anything, but by routes that name their own; name statuses in it, or leave it out"
        )
    })
}

fn free_by_choice(what: &str, billable: &Billable) -> Option<String> {
    let free = billable.free_by_choice();
    let statuses: Vec<_> = free.iter().map(u16::to_string).collect();
    (!free.is_empty()).then(|| {
        format!(
            "{what}: `billable` has 200 and lacks {}, which callers get by asking with `Range` or `If-None-Match`: such calls cost nothing; \
             leave `billable` out, or name them in it too",
            statuses.join(" and ")
        )
    })
}
