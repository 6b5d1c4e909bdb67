//! The signals of a visitor, as a site's edge sends them beside a request for an assertion (VAI
//! proxy protocol 2).

use axum::http::HeaderMap;

/// The signals of a visitor. What was not sent is absent; what cannot be read is absent, too.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signals<'a> {
    /// Whether the edge speaks version 2, so that what is absent was absent in the visitor's
    /// request.
    pub(super) is_version_2: bool,
    /// Whether any of the visitor's `Sec-Fetch-*` came.
    pub(super) has_fetch_metadata: bool,
    /// `X-PW-Enc`.
    pub(super) encoding: Features<'a>,
    /// `X-PW-Lang`.
    pub(super) language: Features<'a>,
    /// `X-PW-Net`.
    pub(super) network: Features<'a>,
    /// `X-PW-CH`: the client hints.
    pub(super) hints: Features<'a>,
    /// `X-PW-UA`: what the edge made of the user agent.
    pub(super) user_agent: Features<'a>,
}

/// A list of features in the form of a dictionary of structured fields (RFC 8941): `name` or
/// `name=value`, separated by commas.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Features<'a>(Option<&'a str>);

impl<'a> Signals<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let features = |name: &str| Features::of(text(name));
        let fetch = [
            "x-pw-sec-fetch-dest",
            "x-pw-sec-fetch-mode",
            "x-pw-sec-fetch-site",
        ];
        Self {
            is_version_2: text("x-pw-v").is_some_and(|version| version.trim() == "2"),
            has_fetch_metadata: fetch.iter().any(|name| headers.contains_key(*name)),
            encoding: features("x-pw-enc"),
            language: features("x-pw-lang"),
            network: features("x-pw-net"),
            hints: features("x-pw-ch"),
            user_agent: features("x-pw-ua"),
        }
    }

    /// Returns whether the visitor comes from a data center.
    pub(super) fn is_from_cloud(&self) -> bool {
        self.network.value("asn") == Some("cloud")
    }

    /// Returns the family of the user agent's name, the third part of `dpf`.
    pub(super) fn family(&self) -> Option<&'a str> {
        self.user_agent.value("dpf")?.split('/').nth(2)
    }
}

impl<'a> Features<'a> {
    /// The length of the longest list that is read, in bytes.
    const MAX_BYTES: usize = 1_024;

    fn of(text: Option<&'a str>) -> Self {
        let text = text.map(str::trim);
        Self(text.filter(|text| (1..=Self::MAX_BYTES).contains(&text.len())))
    }

    /// Returns whether the list came.
    pub(super) const fn is_there(self) -> bool {
        self.0.is_some()
    }

    /// Returns whether a feature without a value is in the list.
    pub(super) fn has(self, name: &str) -> bool {
        self.members().any(|member| member == (name, None))
    }

    /// Returns the value of a feature.
    pub(super) fn value(self, name: &str) -> Option<&'a str> {
        let mut members = self.members();
        members.find_map(|(found, value)| value.filter(|_| found == name))
    }

    fn members(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let members = self.0.into_iter().flat_map(|text| text.split(','));
        members.map(|member| match member.trim().split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (member.trim(), None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read_by_name_and_what_is_absent_is_nothing() {
        let list = Features::of(Some("dpf=desktop/mac/chrome, ver=120-139, browser"));
        assert!(list.has("browser") && !list.has("ver") && !list.has("headless"));
        assert_eq!(list.value("ver"), Some("120-139"));
        assert_eq!(list.value("browser"), None);
        assert!(!Features::of(None).is_there() && !Features::of(Some(" ")).is_there());
        let long = format!("browser, {}", "x".repeat(Features::MAX_BYTES));
        assert!(!Features::of(Some(&long)).has("browser"));
    }

    #[test]
    fn headers_become_signals() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-pw-v", "2"),
            ("x-pw-sec-fetch-mode", "cors"),
            ("x-pw-net", "asn=cloud"),
            ("x-pw-ua", "dpf=server/other/bot, ver=0-79, entropy=low"),
        ] {
            headers.insert(name, value.parse().expect("a value"));
        }
        let signals = Signals::of(&headers);
        assert!(signals.is_version_2 && signals.has_fetch_metadata && signals.is_from_cloud());
        assert_eq!(signals.family(), Some("bot"));
        assert!(!signals.language.is_there());
    }
}
