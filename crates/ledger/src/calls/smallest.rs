//! The smallest rows of many, as many as memory allows.

use crate::row::Row;

/// Up to `size` rows: the smallest by a key behind another one, of all that were added. Twice as many lie in memory meanwhile.
pub(crate) struct Smallest<K> {
    rows: Vec<Row>,
    key: fn(&Row) -> K,
    after: Option<K>,
    /// Rows behind this key are not among the smallest.
    cutoff: Option<K>,
    size: usize,
}

impl<K: Ord + Copy> Smallest<K> {
    /// None yet: of those behind `after`, at least one.
    pub(crate) fn new(key: fn(&Row) -> K, after: Option<K>, size: usize) -> Self {
        Self {
            rows: Vec::new(),
            key,
            after,
            cutoff: None,
            size: size.max(1),
        }
    }

    /// Rows up to this key were passed over before.
    pub(crate) const fn after(&self) -> Option<K> {
        self.after
    }

    /// Rows behind this key are of no use any more.
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

    /// The rows in order, and whether nothing was left out.
    pub(crate) fn finish(mut self) -> (Vec<Row>, bool) {
        let whole = self.cutoff.is_none() && self.rows.len() <= self.size;
        if self.rows.len() > self.size {
            self.cut();
        }
        self.rows.sort_unstable_by_key(self.key);
        (self.rows, whole)
    }
}
