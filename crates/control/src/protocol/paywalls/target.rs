//! The call of a visitor as a client reports it: its app, method and path.

use model::{AccountName, AppName, Method, NormalPath};

use super::answer::Failure;
use crate::http::caller::Caller;
use crate::http::services::Services;

/// The call of a visitor.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The app: that of the management key, or the one of the account that serves the host, or else
    /// the first of the account.
    pub(super) app: AppName,
    /// The method; `None`: nobody says.
    method: Option<Method>,
    /// The path; `None`: nobody says, or it can be read in two ways.
    path: Option<NormalPath<'static>>,
}

impl Target {
    pub(super) fn of(
        services: &Services,
        caller: &Caller,
        account: &AccountName,
        reported: Reported<'_>,
    ) -> Result<Self, Failure> {
        let path = reported.path().map(NormalPath::parse);
        let path = path.and_then(Result::ok).map(NormalPath::into_owned);
        let root = NormalPath::parse("/").expect("the root is a path");
        let gate = services.spender().gate();
        let app = match caller.app() {
            Some(app) => Some(app.clone()),
            None => gate.app_of(account, reported.host, path.as_ref().unwrap_or(&root)),
        };
        let app = app.ok_or_else(|| {
            Failure::invalid(
                "account_id",
                "the account sells no app: declare an `[[app]]`",
            )
        })?;
        Ok(Self {
            app,
            method: reported.method.map(Method::of),
            path,
        })
    }

    /// Returns the method and the path, if both are known.
    pub(super) fn route(&self) -> Option<(Method, &NormalPath<'_>)> {
        self.method.zip(self.path.as_ref())
    }

    /// Returns the path; `/` where it is not known.
    pub(super) fn path(&self) -> &str {
        self.path.as_ref().map_or("/", NormalPath::as_str)
    }
}

/// A call in the words of a client.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reported<'a> {
    /// The host of the site, perhaps with a port.
    pub(super) host: Option<&'a str>,
    /// The method.
    pub(super) method: Option<&'a str>,
    /// The path and query.
    pub(super) resource: Option<&'a str>,
}

impl<'a> Reported<'a> {
    /// Returns the path without its query.
    fn path(&self) -> Option<&'a str> {
        let resource = self.resource.filter(|text| text.starts_with('/'))?;
        resource.split(['?', '#']).next()
    }
}
