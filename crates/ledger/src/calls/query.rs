//! The query that selects single calls.

use model::{AccountName, AppName, LicenseId, Mode, Timestamp};

use crate::file::Filter;
use crate::line::app_of;
use crate::names::{NameCache, Names};
use crate::row::Row;

/// A selection of calls: those that match every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallsQuery {
    /// The license; `None`: any.
    pub license_id: Option<LicenseId>,
    /// The account that owns the app; `None`: any.
    pub account: Option<AccountName>,
    /// The app; `None`: any.
    pub app: Option<AppName>,
    /// The way of spending; `None`: any.
    pub mode: Option<Mode>,
    /// The earliest start, included; `None`: no bound.
    pub from: Option<Timestamp>,
    /// The latest start, excluded; `None`: no bound.
    pub to: Option<Timestamp>,
    /// The number of calls that are returned at most, the oldest ones; `None`: all.
    pub limit: Option<u64>,
}

/// A predicate that says whether rows match a query.
pub(crate) struct Wanted<'a> {
    pub(crate) filter: Filter,
    query: &'a CallsQuery,
    names: NameCache<'a>,
    /// The answers for apps, by the number of the app.
    apps: Vec<Option<bool>>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(query: &'a CallsQuery, names: &'a Names) -> Self {
        Self {
            filter: Filter {
                license_id: query.license_id,
                from: query.from,
                to: query.to,
            },
            query,
            names: NameCache::new(names),
            apps: Vec::new(),
        }
    }

    /// Returns whether a row matches.
    pub(crate) fn takes(&mut self, row: &Row) -> bool {
        let head = &row.record.head;
        self.filter.takes(row)
            && self.query.mode.is_none_or(|wanted| wanted == head.mode)
            && self.takes_app(head.app)
    }

    fn takes_app(&mut self, number: u32) -> bool {
        if self.query.app.is_none() && self.query.account.is_none() {
            return true;
        }
        let index = number as usize;
        if index >= self.apps.len() {
            self.apps.resize(index + 1, None);
        }
        *self.apps[index].get_or_insert_with(|| {
            let (account, app) = app_of(&mut self.names, number);
            self.query.app.as_ref().is_none_or(|wanted| *wanted == app)
                && self
                    .query
                    .account
                    .as_ref()
                    .is_none_or(|wanted| *wanted == account)
        })
    }
}
