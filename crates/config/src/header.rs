//! Headers that the configuration may name, and those that it may not.

use http::{HeaderName, HeaderValue, header};

use crate::reader::{Located, Section};
use crate::value::FromValue;

/// A header value that may be a secret.
pub(crate) struct SecretHeader(pub(crate) HeaderValue);

impl FromValue for SecretHeader {
    const EXPECTED: &'static str = "a string of visible characters and blanks";

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        let value = HeaderValue::from_str(text).map(|mut value| {
            value.set_sensitive(true);
            Self(value)
        });
        Some(value.map_err(|_| {
            format!(
                "this cannot be the value of a header: write {}",
                Self::EXPECTED
            )
        }))
    }
}

/// Returns whether a header belongs to one connection, to the message's frame or to the gate
/// itself.
fn is_reserved(name: &HeaderName) -> bool {
    let frame = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::EXPECT,
        header::HOST,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    frame.contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
        || is_ours(name.as_str())
}

/// Returns whether a name begins with `tallygate-`, in every spelling that an upstream may read so.
fn is_ours(name: &str) -> bool {
    const OURS: &str = "tallygate-";
    name.get(..OURS.len())
        .is_some_and(|start| model::header::is_spelling_of(start, OURS))
}

fn refuse_reserved(section: &Section<'_>, key: &str, at: usize, name: &HeaderName) {
    if is_reserved(name) {
        let message = format!(
            "{key}: `{name}` belongs to the connection, the frame or the gate: name another header"
        );
        section.report(at, message);
    }
}

/// Reads `license_headers`: headers that a caller may put a credential into.
pub(crate) fn read_license_headers(section: &Section<'_>) -> Vec<HeaderName> {
    const KEY: &str = "license_headers";
    let Some(names) = section.located::<HeaderName>(KEY) else {
        return vec![HeaderName::from_static("apifew-user-license-key")];
    };
    let mut headers: Vec<HeaderName> = Vec::with_capacity(names.len());
    for Located { at, value } in names {
        refuse_reserved(section, KEY, at, &value);
        if headers.contains(&value) {
            section.report(at, format!("{KEY}: `{value}` is named twice: name it once"));
        }
        headers.push(value);
    }
    headers
}

/// Reads `units_header`: the header of an answer with the number of units that it used.
pub(crate) fn read_units_header(section: &Section<'_>) -> Option<HeaderName> {
    let name = section.optional("units_header")?;
    refuse_reserved(section, "units_header", section.at("units_header"), &name);
    Some(name)
}

/// Reads `[app.inject_headers]`: names and values, in the order of the names.
pub(crate) fn read_injected(section: Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    const TITLE: &str = "inject_headers";
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (key, value) in section.entries::<SecretHeader>() {
        let name = match HeaderName::from_text(key.value) {
            Some(Ok(name)) => name,
            Some(Err(message)) => {
                section.report(key.at, format!("{TITLE}: {message}"));
                continue;
            }
            None => continue,
        };
        refuse_reserved(&section, TITLE, key.at, &name);
        if headers.iter().any(|(other, _)| *other == name) {
            section.report(
                key.at,
                format!("{TITLE}: `{name}` is named twice: name it once"),
            );
        }
        headers.extend(value.map(|SecretHeader(value)| (name, value)));
    }
    headers
}
