//! What a valid file says that its author may not mean.

use crate::{Billable, Config};

impl Config {
    /// What is worth a second look, one sentence each; a file with warnings is served all the same.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for app in &self.apps {
            let name = format!("app `{}`", app.name);
            warnings.extend(free_by_choice(&name, &app.billable));
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
