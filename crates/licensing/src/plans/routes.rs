//! The routes that apps declare, by which a permission that could never hold is refused when it is
//! given.

use std::collections::HashMap;

use model::parent_path::lies_below;
use model::{AccountName, AppName, Method, ParentPath, Permission};

use super::Plans;

/// A route as the configuration declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredRoute {
    /// The methods that it serves; empty: all.
    pub methods: Vec<Method>,
    /// The path that it serves, with all paths below.
    pub path: ParentPath,
}

/// The declared routes by app. An app that is not in it serves every call.
pub(crate) type DeclaredRoutes = HashMap<AppName, Vec<DeclaredRoute>>;

impl DeclaredRoute {
    /// Returns whether it serves some call that the permission allows.
    fn meets(&self, permission: &Permission) -> bool {
        let (own, other) = (self.path.as_str(), permission.path.as_str());
        let methods = permission.method.is_none_or(|allowed| {
            // A route of GET serves HEAD too, and leave for GET is leave for HEAD.
            let any = |method: &Method| allowed.includes(*method) || method.includes(allowed);
            self.methods.is_empty() || self.methods.iter().any(any)
        });
        methods && (lies_below(own, other) || lies_below(other, own))
    }
}

impl std::fmt::Display for DeclaredRoute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let methods: Vec<&str> = self.methods.iter().map(|method| method.as_str()).collect();
        let methods = if methods.is_empty() {
            "*".to_owned()
        } else {
            methods.join(",")
        };
        write!(f, "`{methods} {}`", self.path)
    }
}

impl Plans {
    /// Returns why one of these permissions of a license would open nothing, and what would;
    /// `None`: each opens something.
    pub(crate) fn unserved(
        &self,
        app: &AppName,
        account: &AccountName,
        permissions: &[Permission],
    ) -> Option<String> {
        const SHOWN: usize = 10;
        let apps: Vec<&AppName> = if app.is_every() {
            let own = self.apps().filter(|terms| terms.account == *account);
            own.map(|terms| &terms.app).collect()
        } else {
            vec![app]
        };
        let declared: Option<Vec<_>> = apps.iter().map(|app| self.declared(app)).collect();
        let routes: Vec<&DeclaredRoute> = declared?.into_iter().flatten().collect();
        let opens_nothing =
            |permission: &&Permission| !routes.iter().any(|route| route.meets(permission));
        let permission = permissions.iter().find(opens_nothing)?;
        let shown: Vec<String> = routes.iter().take(SHOWN).map(ToString::to_string).collect();
        let more = if routes.len() > SHOWN { ", …" } else { "" };
        Some(format!(
            "`{permission}` opens nothing, no route of app `{app}` serves it: there are {}{more}",
            shown.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions(texts: &[&str]) -> Vec<Permission> {
        texts
            .iter()
            .map(|text| text.parse().expect("valid"))
            .collect()
    }

    #[test]
    fn a_permission_that_no_route_could_meet_is_named_with_the_routes_that_there_are() {
        let app: AppName = "api".parse().expect("valid");
        let route = |methods: &[Method], path: &str| DeclaredRoute {
            methods: methods.to_vec(),
            path: path.parse().expect("valid"),
        };
        let routes = vec![
            route(&[Method::Get, Method::Post], "/v1/reports"),
            route(&[], "/v2"),
        ];
        let plans = Plans::default().with_routes([(app.clone(), routes)]);
        let account = AccountName::default();
        let judge = |texts: &[&str]| plans.unserved(&app, &account, &permissions(texts));
        for good in [
            "* /",
            "GET /v1",
            "POST /v1/reports/2026",
            "DELETE /v2/x",
            "* /v2",
        ] {
            assert_eq!(judge(&[good]), None, "{good}");
        }
        assert_eq!(
            judge(&["GET /v1", "DELETE /v1"]).as_deref(),
            Some(
                "`DELETE /v1` opens nothing, no route of app `api` serves it: there are `GET,POST /v1/reports`, `* /v2`"
            )
        );
        assert!(judge(&["GET /v1/reportsX"]).is_some());
        let open: AppName = "open".parse().expect("valid");
        assert_eq!(
            plans.unserved(&open, &account, &permissions(&["GET /x"])),
            None
        );
    }
}
