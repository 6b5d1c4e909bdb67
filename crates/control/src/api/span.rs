//! Times that a question lies between.

use model::Timestamp;

use crate::http::problem::Problem;

/// Refuses a span that nothing can lie in, since it ends before it begins.
pub(super) fn check(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<(), Problem> {
    match (from, to) {
        (Some(from), Some(to)) if from > to => {
            let detail = format!(
                "`from`, {from}, is after `to`, {to}, so that nothing lies between: give the earlier time as `from`"
            );
            Err(Problem::field("from", detail))
        }
        _ => Ok(()),
    }
}
