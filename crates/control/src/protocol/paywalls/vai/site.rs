//! The site whose visitors are judged.

use api_types::App;
use axum::http::HeaderMap;
use axum::http::header::HOST;
use model::AccountName;

use super::super::answer::Failure;

/// The site whose visitors are judged, by its host name.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// The host name, in lower case and without a port.
    pub(super) host: String,
    /// The hosts of the account's apps.
    hosts: Vec<String>,
}

/// The length of the longest name, in bytes (RFC 1035, section 2.3.4).
const MAX_HOST_BYTES: usize = 253;

impl Site {
    /// Returns the site that an edge names in `X-Original-Host`, or whose name is the `Host` of a
    /// request that came without an edge. `account`: `None` where nobody says whose site it is.
    ///
    /// # Errors
    /// There is no such name, or an app of another account serves it.
    pub(super) fn of(
        headers: &HeaderMap,
        apps: &[App],
        account: Option<&AccountName>,
    ) -> Result<Self, Failure> {
        const FIELD: &str = "X-Original-Host";
        let named = headers.get("x-original-host").or_else(|| headers.get(HOST));
        let host = named
            .and_then(|value| value.to_str().ok())
            .and_then(host_name);
        let host = host.ok_or_else(|| Failure::invalid(FIELD, "name the host of the site"))?;
        let host = host.to_ascii_lowercase();
        let (own, others): (Vec<&App>, Vec<&App>) =
            apps.iter().partition(|app| Some(&app.account) == account);
        let serves = |apps: &[&App]| {
            let mut hosts = apps.iter().flat_map(|app| &app.hosts);
            hosts.any(|pattern| is_served(pattern, &host))
        };
        if account.is_some() && serves(&others) && !serves(&own) {
            return Err(Failure::forbidden(
                "this host is the site of another account",
            ));
        }
        let hosts = own.iter().flat_map(|app| app.hosts.iter().cloned());
        Ok(Self {
            hosts: hosts.collect(),
            host,
        })
    }

    /// Returns whether pages of a host may read what is said of visitors of the site.
    pub(super) fn is_read_from(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        host == self.host
            || is_below(&host, &self.host)
            || is_below(&self.host, &host) && host.contains('.')
            || self.hosts.iter().any(|pattern| is_served(pattern, &host))
    }
}

fn is_below(host: &str, parent: &str) -> bool {
    let rest = host.strip_suffix(parent);
    rest.is_some_and(|rest| rest.ends_with('.'))
}

/// Returns whether a host of the configuration, `name` or `*.name`, is this one.
fn is_served(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => is_below(host, parent),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

/// Returns the host name of an authority, without its port; `None`: it has none that a site may
/// have.
pub(super) fn host_name(authority: &str) -> Option<&str> {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) => return None,
        None => authority,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = (1..=MAX_HOST_BYTES).contains(&host.len())
        && host.bytes().all(of_name)
        && host.split('.').all(|label| (1..=63).contains(&label.len()));
    is_name.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(host: &str) -> Site {
        Site {
            host: host.to_owned(),
            hosts: vec!["*.example.net".to_owned()],
        }
    }

    #[test]
    fn pages_of_the_site_and_of_the_accounts_hosts_read_it_and_others_do_not() {
        let site = site("www.example.com");
        for host in [
            "www.example.com",
            "a.www.example.com",
            "example.com",
            "x.example.net",
        ] {
            assert!(site.is_read_from(host), "{host}");
        }
        for host in [
            "evil.com",
            "evilwww.example.com",
            "com",
            "example.net",
            "other.example.com",
        ] {
            assert!(!site.is_read_from(host), "{host}");
        }
    }

    #[test]
    fn a_host_is_read_without_its_port_and_nothing_else_is_one() {
        assert_eq!(host_name("Example.com:8443"), Some("Example.com"));
        assert_eq!(host_name("example.com."), Some("example.com"));
        for text in [
            "",
            "a b",
            "a/b",
            "[::1]",
            "a..b",
            "a:b",
            &"a".repeat(64),
            "\"x",
        ] {
            assert_eq!(host_name(text), None, "{text}");
        }
    }
}
