//! The readings of the store by page: the history of changes, and the fingerprints of all
//! credentials.

use store::{ChangeNumber, Store};

use crate::cache::{FingerprintSet, History};

/// Reads the last `longest` changes up to `last`.
///
/// # Errors
/// The store fails.
pub(super) async fn history(
    store: &dyn Store,
    last: ChangeNumber,
    longest: usize,
) -> Result<History, store::Error> {
    const BATCH_SIZE: usize = 1_000;
    let mut history = History::new(longest);
    let mut after = ChangeNumber(last.0.saturating_sub(longest as u64));
    while after < last {
        let (changes, _) = store.changes_since(after, BATCH_SIZE).await?;
        let upto = changes.iter().take_while(|change| change.number <= last);
        upto.for_each(|change| history.push(change));
        match changes.last() {
            Some(change) => after = change.number,
            None => break,
        }
    }
    Ok(history)
}

/// Reads the fingerprints of all credentials.
///
/// # Errors
/// The store fails.
pub(super) async fn fingerprints(store: &dyn Store) -> Result<FingerprintSet, store::Error> {
    const BATCH_SIZE: usize = 100_000;
    let set = FingerprintSet::with_capacity(0);
    let mut after = None;
    loop {
        let (page, next) = store.fingerprints(after, BATCH_SIZE).await?;
        set.insert(page);
        match next {
            Some(cursor) => after = Some(cursor),
            None => return Ok(set),
        }
    }
}
