//! A collection that keeps the smallest of many rows, as many as memory allows.

use crate::row::Row;

/// The up to `size` smallest rows by a key, behind a given key, of all that were added. Up to twice
/// as many are in memory while it is filled.
pub(crate) struct Smallest<K> {
    rows: Vec<Row>,
    key: fn(&Row) -> K,
    after: Option<K>,
    /// The key behind which no row is among the smallest.
    cutoff: Option<K>,
    size: usize,
}

impl<K: Ord + Copy> Smallest<K> {
    /// Makes an empty collection of at least one row, for rows behind `after`.
    pub(crate) fn new(key: fn(&Row) -> K, after: Option<K>, size: usize) -> Self {
        Self {
            rows: Vec::new(),
            key,
            after,
            cutoff: None,
            size: size.max(1),
        }
    }

    /// Returns the key up to which rows are passed over.
    pub(crate) const fn after(&self) -> Option<K> {
        self.after
    }

    /// Returns the key behind which rows are of no use any more.
    pub(crate) const fn cutoff(&self) -> Option<K> {
        self.cutoff
    }

    pub(crate) fn add(&mut self, row: Row) {
        let key = (self.key)(&row);
        if self.after.is_some_and(|after| key <= after) || self.cutoff.is_some_and(|cut| key > cut)
        {
            return;
        }
        self.rows.push(row);
        if self.rows.len() >= 2 * self.size {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let last = self.size - 1;
        self.rows.select_nth_unstable_by_key(last, self.key);
        self.cutoff = Some((self.key)(&self.rows[last]));
        self.rows.truncate(self.size);
    }

    /// Returns the rows in order, and whether none was left out.
    pub(crate) fn finish(mut self) -> (Vec<Row>, bool) {
        let whole = self.cutoff.is_none() && self.rows.len() <= self.size;
        if self.rows.len() > self.size {
            self.cut();
        }
        self.rows.sort_unstable_by_key(self.key);
        (self.rows, whole)
    }
}
