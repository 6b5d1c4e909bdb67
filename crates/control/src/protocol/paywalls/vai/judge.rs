//! The judgement of a visitor by its signals: a table of rules of which the first that holds
//! decides. `docs/protocols/paywalls.md` shows the same table.

use agents::{Act, Vat};

use super::signals::Signals;

/// Who visits, and how sure that is.
pub(super) type Judgement = (Vat, Act);

/// A rule of the table.
struct Rule {
    /// When it holds, as it stands in the documentation.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "a test compares it with the documentation")
    )]
    when: &'static str,
    holds: fn(&Signals<'_>) -> bool,
    judgement: Judgement,
}

/// The rules, in their order. The last one always holds.
const TABLE: [Rule; 15] = [
    Rule {
        when: "no `X-PW-V: 2`, or no `X-PW-UA`: nothing is known",
        holds: |signals| !signals.is_version_2 || !signals.user_agent.is_there(),
        judgement: (Vat::Other, Act::Low),
    },
    Rule {
        when: "`X-PW-UA` has `automation`",
        holds: |signals| signals.user_agent.has("automation"),
        judgement: (Vat::Other, Act::High),
    },
    Rule {
        when: "`X-PW-UA` has `headless`",
        holds: |signals| signals.user_agent.has("headless"),
        judgement: (Vat::Other, Act::High),
    },
    Rule {
        when: "the family in `dpf` is `bot`",
        holds: |signals| signals.family() == Some("bot"),
        judgement: (Vat::Other, Act::High),
    },
    Rule {
        when: "`X-PW-UA` has `fabricated`",
        holds: |signals| signals.user_agent.has("fabricated"),
        judgement: (Vat::Other, Act::Medium),
    },
    Rule {
        when: "`X-PW-UA` has `sec-fetch-mismatch`",
        holds: |signals| signals.user_agent.has("sec-fetch-mismatch"),
        judgement: (Vat::Other, Act::Medium),
    },
    Rule {
        when: "`X-PW-UA` lacks `browser`",
        holds: |signals| !signals.user_agent.has("browser"),
        judgement: (Vat::Other, Act::Medium),
    },
    Rule {
        when: "`X-PW-Net` is `asn=cloud`, and `X-PW-Sec-Fetch-*` or `X-PW-Lang` is absent",
        holds: |signals| {
            signals.is_from_cloud() && !(signals.has_fetch_metadata && signals.language.is_there())
        },
        judgement: (Vat::Other, Act::Medium),
    },
    Rule {
        when: "`X-PW-Net` is `asn=cloud`",
        holds: |signals| signals.is_from_cloud(),
        judgement: (Vat::Other, Act::Low),
    },
    Rule {
        when: "`X-PW-Sec-Fetch-*` and `X-PW-Lang` are absent",
        holds: |signals| !signals.has_fetch_metadata && !signals.language.is_there(),
        judgement: (Vat::Other, Act::Low),
    },
    Rule {
        when: "`X-PW-UA` has `stale`, or `entropy` is `high`",
        holds: |signals| {
            signals.user_agent.has("stale") || signals.user_agent.value("entropy") == Some("high")
        },
        judgement: (Vat::Human, Act::Low),
    },
    Rule {
        when: "`X-PW-Sec-Fetch-*` and `X-PW-Lang` are there, `X-PW-Enc` has `modern`, `X-PW-CH` has `consistent`",
        holds: |signals| is_whole(signals) && signals.hints.has("consistent"),
        judgement: (Vat::Human, Act::High),
    },
    Rule {
        when: "`X-PW-Sec-Fetch-*` and `X-PW-Lang` are there, `X-PW-Enc` has `modern`, and the family is `firefox` or `safari`, which send no client hints",
        holds: |signals| {
            is_whole(signals)
                && !signals.hints.is_there()
                && matches!(signals.family(), Some("firefox" | "safari"))
        },
        judgement: (Vat::Human, Act::High),
    },
    Rule {
        when: "`X-PW-Sec-Fetch-*` and `X-PW-Lang` are there",
        holds: |signals| signals.has_fetch_metadata && signals.language.is_there(),
        judgement: (Vat::Human, Act::Medium),
    },
    Rule {
        when: "always",
        holds: |_| true,
        judgement: (Vat::Human, Act::Low),
    },
];

/// Returns whether a browser of today sent everything that it sends.
fn is_whole(signals: &Signals<'_>) -> bool {
    signals.has_fetch_metadata && signals.language.is_there() && signals.encoding.has("modern")
}

/// Returns who visits: the known agent that a visitor without an edge says it is, or else what the
/// first rule says that holds.
pub(super) fn judge(signals: &Signals<'_>, known: Option<Judgement>) -> Judgement {
    if let Some(known) = known.filter(|_| !signals.is_version_2) {
        return known;
    }
    let rule = TABLE.iter().find(|rule| (rule.holds)(signals));
    rule.expect("the last rule always holds").judgement
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName};

    use super::*;

    /// Changed signals, and what they come to.
    type Row<'a> = (&'a [(&'static str, &'a str)], (&'a str, &'a str));

    /// A browser of today behind an edge that sends all signals.
    const CHROME: [(&str, &str); 8] = [
        ("x-pw-v", "2"),
        ("x-pw-sec-fetch-dest", "empty"),
        ("x-pw-accept", "html, wildcard"),
        ("x-pw-enc", "br, gzip, modern"),
        ("x-pw-lang", "present, primary=en, count=3"),
        ("x-pw-net", "asn=consumer"),
        ("x-pw-ch", "present, brands=3, grease, consistent"),
        (
            "x-pw-ua",
            "dpf=desktop/mac/chrome, ver=140+, browser, entropy=medium",
        ),
    ];

    /// Judges the browser with changed signals; an empty one is not sent.
    fn changed(changes: &[(&'static str, &str)]) -> (&'static str, &'static str) {
        let mut headers = HeaderMap::new();
        for (name, value) in CHROME.iter().chain(changes) {
            let name = HeaderName::from_static(name);
            headers.remove(&name);
            if !value.is_empty() {
                headers.insert(name, value.parse().expect("a value"));
            }
        }
        let (vat, act) = judge(&Signals::of(&headers), None);
        (vat.as_str(), act.as_str())
    }

    #[test]
    fn each_rule_decides_where_none_before_it_holds() {
        let ua = |more: &str| format!("dpf=desktop/mac/chrome, ver=140+, browser, {more}");
        let rows: [Row<'_>; 16] = [
            (&[], ("HUMAN", "ACT-1")),
            (&[("x-pw-v", "")], ("OTHER", "ACT-3")),
            (&[("x-pw-ua", "")], ("OTHER", "ACT-3")),
            (&[("x-pw-ua", &ua("automation"))], ("OTHER", "ACT-1")),
            (&[("x-pw-ua", &ua("headless"))], ("OTHER", "ACT-1")),
            (
                &[("x-pw-ua", "dpf=server/other/bot, browser")],
                ("OTHER", "ACT-1"),
            ),
            (&[("x-pw-ua", &ua("fabricated"))], ("OTHER", "ACT-2")),
            (
                &[("x-pw-ua", &ua("sec-fetch-mismatch"))],
                ("OTHER", "ACT-2"),
            ),
            (
                &[("x-pw-ua", "dpf=unknown/other/other, ver=0-79")],
                ("OTHER", "ACT-2"),
            ),
            (
                &[("x-pw-net", "asn=cloud"), ("x-pw-lang", "")],
                ("OTHER", "ACT-2"),
            ),
            (&[("x-pw-net", "asn=cloud")], ("OTHER", "ACT-3")),
            (
                &[("x-pw-sec-fetch-dest", ""), ("x-pw-lang", "")],
                ("OTHER", "ACT-3"),
            ),
            (&[("x-pw-ua", &ua("stale"))], ("HUMAN", "ACT-3")),
            (
                &[
                    ("x-pw-ua", "dpf=mobile/ios/safari, browser"),
                    ("x-pw-ch", ""),
                ],
                ("HUMAN", "ACT-1"),
            ),
            (&[("x-pw-ch", "")], ("HUMAN", "ACT-2")),
            (&[("x-pw-lang", "")], ("HUMAN", "ACT-3")),
        ];
        for (changes, judgement) in rows {
            assert_eq!(changed(changes), judgement, "{changes:?}");
        }
    }

    #[test]
    fn a_known_agent_without_an_edge_is_what_it_says_and_behind_one_the_signals_count() {
        let agent = Some((Vat::AiAgent, Act::High));
        let mut headers = HeaderMap::new();
        assert_eq!(
            judge(&Signals::of(&headers), agent),
            (Vat::AiAgent, Act::High)
        );
        // The user agent is that of the edge then.
        headers.insert("x-pw-v", "2".parse().expect("a value"));
        assert_eq!(judge(&Signals::of(&headers), agent), (Vat::Other, Act::Low));
    }

    #[test]
    fn the_documentation_shows_the_table() {
        let document = include_str!("../../../../../../docs/protocols/paywalls.md");
        let rows: Vec<String> = TABLE
            .iter()
            .enumerate()
            .map(|(index, rule)| {
                let (vat, act) = rule.judgement;
                format!("| {} | {} | `{vat}` | `{act}` |\n", index + 1, rule.when)
            })
            .collect();
        let table = rows.concat();
        assert!(document.contains(&table), "the table is\n{table}");
    }
}
