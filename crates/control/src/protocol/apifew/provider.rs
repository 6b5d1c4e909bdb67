//! Who asks: the provider's secret, wherever it stands.

use api_types::Scope;
use axum::http::HeaderMap;

use super::answer::Failure;
use crate::http::caller::Caller;
use crate::http::client::Client;
use crate::http::fault::Denied;
use crate::http::field::Secret;
use crate::http::services::Services;

/// The headers that it may stand in, by the time at which apifew called it so.
const HEADERS: [&str; 2] = ["apifew-key", "apifew-app-secret-key"];
/// The field that it may stand in.
pub(super) const FIELD: &str = "APIFEW_KEY";

/// The holder of the provider's secret, if it was made for this.
///
/// # Errors
/// None, a wrong one, two different ones, or one without the scope.
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
    let values = HEADERS.iter().flat_map(|name| headers.get_all(*name));
    for value in values {
        // What is no text is no key; it is looked up like any other that is none.
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
        for name in HEADERS {
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
