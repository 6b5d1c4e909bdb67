//! The agents that are known, by which clients tell agents from people: version 2.

use agents::{Act, KnownAgent, KnownAgents, Vat};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use model::agent::Purpose;
use serde::Serialize;

use super::answer::{Failure, json};
use super::context::caller;
use crate::http::client::Client;
use crate::http::services::Services;

#[derive(Serialize)]
struct Metadata<'k> {
    version: u32,
    patterns: Vec<Item<'k>>,
}

/// An agent as a client knows it.
#[derive(Serialize)]
struct Item<'k> {
    operator: &'k str,
    agent: &'k str,
    usage: &'static str,
    user_initiated: bool,
    purpose: &'static str,
    purpose_mode: &'static str,
    vat: &'static str,
    act: &'static str,
    /// Regular expressions as `/source/flags`.
    patterns: Vec<String>,
}

/// Answers `POST /api/filter/agents/metadata`. The body is not read.
pub(super) async fn metadata(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    caller(&services, &client, &headers).await?;
    let recognizer = services.api().agents.load();
    Ok(json(StatusCode::OK, &Metadata::of(recognizer.known())))
}

impl<'k> Metadata<'k> {
    /// Returns the list. A client takes the first item that fits, so that those with the longest
    /// patterns come first, as they do here.
    fn of(known: &'k KnownAgents) -> Self {
        let mut agents: Vec<&KnownAgent> = known.all().iter().collect();
        agents.sort_by_key(|agent| {
            let longest = agent.patterns.iter().map(String::len).max();
            std::cmp::Reverse(longest)
        });
        Self {
            version: 2,
            patterns: agents.into_iter().map(Item::of).collect(),
        }
    }
}

impl<'k> Item<'k> {
    fn of(known: &'k KnownAgent) -> Self {
        let is_asked_for = known.purpose.is_user_initiated();
        Self {
            operator: known.operator.as_str(),
            agent: known.agent.as_str(),
            usage: usage(known.purpose),
            user_initiated: is_asked_for,
            purpose: known.purpose.as_str(),
            purpose_mode: if is_asked_for {
                "on_demand"
            } else {
                "background"
            },
            vat: Vat::as_str(known.vat),
            act: Act::as_str(known.act),
            patterns: known.patterns.iter().map(|text| expression(text)).collect(),
        }
    }
}

/// Returns what becomes of what is fetched.
const fn usage(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Training => "training",
        Purpose::Search => "search",
        Purpose::UserFetch | Purpose::UserAction => "user",
        Purpose::Data | Purpose::Other => "other",
    }
}

/// Returns a pattern as an expression that finds it where the gate does: whatever its case, and not
/// within a longer word.
fn expression(pattern: &str) -> String {
    const OF_WORD: &str = r"[A-Za-z0-9_\u0080-\uffff]";
    let of_word =
        |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let mut text = String::from("/");
    if of_word(pattern.bytes().next()) {
        text.push_str(&format!("(?<!{OF_WORD})"));
    }
    for sign in pattern.chars() {
        if r"\^$.*+?()[]{}|/".contains(sign) {
            text.push('\\');
        }
        text.push(sign);
    }
    if of_word(pattern.bytes().next_back()) {
        text.push_str(&format!("(?!{OF_WORD})"));
    }
    text.push_str("/i");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_an_expression_of_its_own_signs() {
        assert_eq!(
            expression("Bot/1.0"),
            r"/(?<![A-Za-z0-9_\u0080-\uffff])Bot\/1\.0(?![A-Za-z0-9_\u0080-\uffff])/i"
        );
        assert_eq!(expression("(+x)"), r"/\(\+x\)/i");
    }

    #[test]
    fn the_longest_patterns_come_first() {
        let known = KnownAgents::shipped();
        let list = Metadata::of(&known);
        assert_eq!(list.patterns.len(), known.all().len());
        let longest = |item: &Item<'_>| item.patterns.iter().map(String::len).max();
        let lengths: Vec<_> = list.patterns.iter().map(longest).collect();
        assert!(lengths.first() > lengths.last());
    }
}
