//! The authentication of providers, by a secret in a header or in the body.

use api_types::Scope;
use axum::http::HeaderMap;

use super::answer::Failure;
use crate::http::caller::Caller;
use crate::http::client::Client;
use crate::http::fault::Denied;
use crate::http::field::Secret;
use crate::http::services::Services;

/// The headers that may hold the secret, by apifew's older and newer names.
const SECRET_HEADERS: [&str; 2] = ["apifew-key", "apifew-app-secret-key"];
/// The field that may hold the secret.
pub(super) const FIELD: &str = "APIFEW_KEY";

/// Returns the holder of the provider's secret, if it has this scope.
///
/// # Errors
/// Returns a failure without a secret, for a wrong one, for two different ones, and for one without
/// the scope.
pub(super) async fn provider(
    services: &Services,
    client: &Client,
    headers: &HeaderMap,
    field: Option<&Secret>,
    scope: Scope,
) -> Result<Caller, Failure> {
    let presented = presented(headers, field)?;
    let caller = services.authenticate(client, presented).await?;
    if caller.may(scope) {
        Ok(caller)
    } else {
        Err(Denied::Scope(scope).into())
    }
}

fn presented<'a>(
    headers: &'a HeaderMap,
    field: Option<&'a Secret>,
) -> Result<Option<&'a str>, Failure> {
    let mut found = field.map(Secret::expose);
    let values = SECRET_HEADERS
        .iter()
        .flat_map(|name| headers.get_all(*name));
    for value in values {
        // A value that is not ASCII is looked up as another text that is no key.
        let value = value.to_str().unwrap_or("?").trim();
        match found {
            None => found = Some(value),
            Some(first) if first == value => {}
            Some(_) => {
                let detail = "two different keys came, in headers or body: send one";
                return Err(Failure::invalid(FIELD, detail));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_found_wherever_it_stands_and_two_are_refused() {
        let secret: Secret = serde_json::from_str(r#""k1""#).expect("valid");
        let headers = |pairs: &[(&'static str, &str)]| {
            let pair = |(name, value): &(&'static str, &str)| {
                let name = axum::http::HeaderName::from_static(name);
                (name, value.parse().expect("valid"))
            };
            pairs.iter().map(pair).collect::<HeaderMap>()
        };
        let none = HeaderMap::new();
        assert!(matches!(presented(&none, None), Ok(None)));
        assert!(matches!(presented(&none, Some(&secret)), Ok(Some("k1"))));
        for name in SECRET_HEADERS {
            let headers = headers(&[(name, " k1 ")]);
            assert!(matches!(presented(&headers, None), Ok(Some("k1"))));
            assert!(matches!(presented(&headers, Some(&secret)), Ok(Some("k1"))));
        }
        let both = headers(&[("apifew-key", "k1"), ("apifew-app-secret-key", "k2")]);
        assert!(presented(&both, None).is_err());
        let other = headers(&[("apifew-key", "k2")]);
        assert!(presented(&other, Some(&secret)).is_err());
    }
}
