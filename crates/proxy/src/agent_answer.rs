//! The answer to an agent that is sent away, in the site's own words where it has some.

use bytes::Bytes;
use gate::AgentRefusal;
use http::header::{ACCEPT, HeaderMap};
use model::agent::AgentAnswer;
use pingora::http::ResponseHeader;

/// Adds what the gate tells an agent, and puts the site's own answer in the place of the usual one.
/// `headers`: those of the request, by which the form of the body is chosen.
pub(crate) fn tell(
    head: &mut ResponseHeader,
    body: Bytes,
    told: &AgentRefusal,
    headers: &HeaderMap,
) -> pingora::Result<Bytes> {
    for (name, value) in &told.headers {
        head.insert_header(*name, value)?;
    }
    let Some(answer) = &told.answer else {
        return Ok(body);
    };
    if let Some(code) = answer.code {
        head.set_status(code)?;
    }
    let body = match own_body(answer, headers) {
        Some((media_type, own)) => {
            head.insert_header("Content-Type", media_type)?;
            head.insert_header("Content-Length", own.len().to_string())?;
            own
        }
        None => body,
    };
    for (name, value) in &answer.headers {
        head.insert_header(name.clone(), value)?;
    }
    Ok(body)
}

/// Returns the site's own body and its type: HTML for who asks for it, or where there is no JSON.
fn own_body(answer: &AgentAnswer, headers: &HeaderMap) -> Option<(&'static str, Bytes)> {
    let html = || {
        let html = answer.html.as_ref()?;
        Some(("text/html; charset=utf-8", Bytes::from(html.clone())))
    };
    let json = || {
        let json = answer.json.as_ref()?;
        Some(("application/json", Bytes::from(json.to_string())))
    };
    match wants(headers, "text/html") || !wants(headers, "json") && answer.json.is_none() {
        true => html().or_else(json),
        false => json().or_else(html),
    }
}

fn wants(headers: &HeaderMap, media_type: &str) -> bool {
    let mut lines = headers.get_all(ACCEPT).iter();
    lines.any(|line| line.to_str().is_ok_and(|line| line.contains(media_type)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn body_for(answer: &AgentAnswer, accept: Option<&'static str>) -> String {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        own_body(answer, &headers).map_or_else(String::new, |(media_type, body)| {
            format!("{media_type} {}", String::from_utf8_lossy(&body))
        })
    }

    #[test]
    fn html_is_for_who_asks_for_it_or_where_there_is_nothing_else() {
        let html = AgentAnswer {
            html: Some("<p>".to_owned()),
            ..AgentAnswer::default()
        };
        let both = AgentAnswer {
            json: Some(serde_json::json!({ "pay": 1 })),
            ..html.clone()
        };
        let (page, data) = (
            "text/html; charset=utf-8 <p>",
            "application/json {\"pay\":1}",
        );
        for accept in [
            None,
            Some("*/*"),
            Some("application/json"),
            Some("text/html"),
        ] {
            assert_eq!(body_for(&html, accept), page, "{accept:?}");
        }
        assert_eq!(body_for(&both, Some("text/html,*/*")), page);
        assert_eq!(body_for(&both, Some("*/*")), data);
        assert_eq!(body_for(&both, None), data);
        assert_eq!(body_for(&AgentAnswer::default(), None), "");
    }
}
