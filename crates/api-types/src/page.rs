//! Lists that are handed out in pages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The number of items of a page where the caller names none.
pub const DEFAULT_LIMIT: usize = 100;
/// The largest number of items of a page.
pub const LARGEST_LIMIT: usize = 1_000;

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub struct List<T> {
    /// The items, in a fixed order.
    pub items: Vec<T>,
    /// The `cursor` of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A selection of a page, of a list in the order of `C`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Page<C> {
    /// The largest number of items of a page; 1 to 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<C>,
}

/// The parameters of a request that takes none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl<T> List<T> {
    /// Makes a list that is complete.
    #[must_use]
    pub const fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }

    /// Makes a page of up to `limit` items, cut from up to `limit + 1`. Its cursor is that of the
    /// last item on it.
    #[must_use]
    pub fn cut(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(cursor);
        Self { items, next }
    }

    /// Makes the page of a list held in memory that begins behind `cursor`, in the order of
    /// `place`, which tells items apart.
    ///
    /// An item that is added between two pages moves no other item to another page or off both.
    #[must_use]
    pub fn page<C: Ord + ToString>(
        mut items: Vec<T>,
        limit: usize,
        cursor: Option<&C>,
        place: impl Fn(&T) -> C,
    ) -> Self {
        items.retain(|item| cursor.is_none_or(|cursor| place(item) > *cursor));
        items.sort_by_cached_key(&place);
        Self::cut(items, limit, |item| place(item).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_the_next_one_only_if_there_is_one() {
        let cut = |items: &[u32]| List::cut(items.to_vec(), 2, ToString::to_string);
        assert_eq!(cut(&[1, 2]), List::whole(vec![1, 2]));
        assert_eq!(cut(&[1, 2, 3]).next.as_deref(), Some("2"));
        assert_eq!(cut(&[1, 2, 3]).items, [1, 2]);
        assert_eq!(cut(&[]).next, None);
    }

    #[test]
    fn pages_of_a_list_in_memory_neither_skip_nor_repeat_what_stays_while_others_come_and_go() {
        let mut all = vec![9, 4, 2, 6, 8];
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = List::page(all.clone(), 2, cursor.as_ref(), |item: &u32| *item);
            seen.extend(page.items);
            let Some(next) = page.next else { break };
            cursor = Some(next.parse().expect("a place"));
            // One behind the cursor, one before it, and the one that it names goes.
            all.retain(|item| Some(*item) != cursor);
            all.extend([1, 7]);
            all.sort_unstable();
            all.dedup();
        }
        assert_eq!(seen, [2, 4, 6, 7, 8, 9]);
    }
}
