//! Lists that are handed out in pages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Items of a page where the caller names no number.
pub const DEFAULT_LIMIT: usize = 100;
/// Most items of a page.
pub const LARGEST_LIMIT: usize = 1_000;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub struct List<T> {
    /// The items, in a fixed order.
    pub items: Vec<T>,
    /// Give it as `cursor` to get the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which page is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Items at most; 1 to [`LARGEST_LIMIT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// What `next` of the page before said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Parameters of a request that takes none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl<T> List<T> {
    /// A list that is complete.
    #[must_use]
    pub const fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }

    /// A page of up to `limit` items cut from up to `limit + 1`, the cursor being that of the last one handed out.
    #[must_use]
    pub fn cut(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(cursor);
        Self { items, next }
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
}
