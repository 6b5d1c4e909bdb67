//! Which calls are asked for.

use model::{AccountName, AppName, LicenseId, Mode, Timestamp};

use crate::file::Filter;
use crate::line::app_of;
use crate::names::{NameCache, Names};
use crate::row::Row;

/// Which calls to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallsQuery {
    /// Only calls of this license.
    pub license_id: Option<LicenseId>,
    /// Only calls of apps of this account.
    pub account: Option<AccountName>,
    /// Only calls of this app.
    pub app: Option<AppName>,
    /// Only calls by this way of spending.
    pub mode: Option<Mode>,
    /// Only calls that came in at or after this.
    pub from: Option<Timestamp>,
    /// Only calls that came in before this.
    pub to: Option<Timestamp>,
    /// At most so many, the oldest ones; `None`: all.
    pub limit: Option<u64>,
}

/// Whether rows match a query.
pub(crate) struct Wanted<'a> {
    pub(crate) filter: Filter,
    query: &'a CallsQuery,
    names: NameCache<'a>,
    /// By number of the app.
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

    /// Whether it is wanted.
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
