//! The search for the app that a request is about.

use api_types::App;
use axum::http::StatusCode;

use super::answer::Failure;
use crate::http::body::Input;
use crate::http::caller::Caller;
use crate::http::services::Services;

/// The field that names the app.
pub(super) const FIELD: &str = "APP_NAME";

/// Returns the app that the caller acts for: the one that is named, else the only one that the
/// caller sees.
///
/// # Errors
/// Returns a failure if there is no such app, if the caller may not see it, or if the field is
/// absent and the caller sees several.
pub(super) fn own<'a>(
    services: &'a Services,
    caller: &Caller,
    named: Option<&str>,
) -> Result<&'a App, Failure> {
    let apps = &services.directory().apps;
    let mut own = apps
        .iter()
        .filter(|app| caller.sees_app(&app.account, &app.name));
    if let Some(named) = named {
        return own.find(|app| is_called(app, named)).ok_or_else(not_found);
    }
    match (own.next(), own.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(Input::missing(FIELD).into()),
        (None, _) => Err(not_found()),
    }
}

/// Returns the app of this name or host, whichever account sells it.
///
/// # Errors
/// Returns a failure if there is no such app.
pub(super) fn any<'a>(services: &'a Services, named: &str) -> Result<&'a App, Failure> {
    let mut apps = services.directory().apps.iter();
    apps.find(|app| is_called(app, named)).ok_or_else(not_found)
}

/// Returns whether a text is the name of an app or one of its hosts.
pub(super) fn is_called(app: &App, text: &str) -> bool {
    app.name.as_str() == text || app.hosts.iter().any(|host| is_host(host, text))
}

/// Returns whether a host matches a pattern such as `api.example.com` or `*.example.com`.
fn is_host(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        None => pattern.eq_ignore_ascii_case(host),
        Some(parent) => {
            let at = host
                .len()
                .checked_sub(parent.len() + 1)
                .filter(|at| *at > 0);
            let split = at.and_then(|at| host.split_at_checked(at));
            split.is_some_and(|(_, rest)| {
                let rest = rest.strip_prefix('.');
                rest.is_some_and(|rest| rest.eq_ignore_ascii_case(parent))
            })
        }
    }
}

fn not_found() -> Failure {
    Failure::with_code(StatusCode::NOT_FOUND, "ERROR_APP_NOT_FOUND")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_meant_by_its_name_and_by_the_names_above_it() {
        assert!(is_host("api.example.com", "API.example.com"));
        assert!(is_host("*.example.com", "a.b.Example.com"));
        for host in [
            "example.com",
            ".example.com",
            "xexample.com",
            "",
            "é.example.com.evil",
        ] {
            assert!(!is_host("*.example.com", host), "{host}");
        }
    }
}
