//! Settings of the store that are numbered from 1. Each is written once and never changed, so that
//! there is nothing to update, and whoever knows some of them reads only those that came since.

use store::Store;

use crate::error::Error;

/// Reads the settings after the first `known`, up to number `max`, each by its name. Asks the store
/// once for each, and once for the one that does not exist.
///
/// # Errors
/// The store fails, or `read` does.
pub(crate) async fn since<T>(
    store: &dyn Store,
    known: usize,
    max: usize,
    name: impl Fn(usize) -> String,
    read: impl Fn(&str, &[u8]) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let mut new = Vec::new();
    for number in known + 1..=max {
        let name = name(number);
        let Some(bytes) = store.setting(&name).await? else {
            break;
        };
        new.push(read(&name, &bytes)?);
    }
    Ok(new)
}
