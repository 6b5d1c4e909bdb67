//! Rules on AI agents, decisions and known agents as the command line shows them.

use api_types::{AgentDecision, AgentVerdict, KnownAgent};
use model::agent::{AgentAnswer, AgentRule};

use super::units;
use crate::cli::{Column, Table};

pub(super) fn list_table(rules: &[AgentRule]) -> Table {
    let mut table = Table::new([
        Column::text("ID"),
        Column::text("ACCOUNT"),
        Column::text("OPERATOR"),
        Column::text("AGENT"),
        Column::text("PURPOSE"),
        Column::text("APP"),
        Column::text("PATH"),
        Column::text("KNOWN"),
        Column::text("ACCESS"),
    ]);
    for rule in rules {
        let whom = &rule.matches;
        table.row([
            rule.id.to_string(),
            whom.account.to_string(),
            units::maybe(whom.operator.as_ref()),
            units::maybe(whom.agent.as_ref()),
            units::maybe(whom.purpose),
            units::maybe(whom.app.as_ref()),
            units::maybe(whom.path.as_ref()),
            units::maybe(whom.verification),
            rule.access.to_string(),
        ]);
    }
    table
}

pub(super) fn rule_table(rule: &AgentRule) -> Table {
    let mut table = Table::of_fields("RULE");
    let whom = &rule.matches;
    let mut field = |name: &str, value: String| table.field(name, value);
    field("id", rule.id.to_string());
    field("account", whom.account.to_string());
    field("operator", units::maybe(whom.operator.as_ref()));
    field("agent", units::maybe(whom.agent.as_ref()));
    field("purpose", units::maybe(whom.purpose));
    field("app", units::maybe(whom.app.as_ref()));
    field("path", units::maybe(whom.path.as_ref()));
    field("known", units::maybe(whom.verification));
    field("access", rule.access.to_string());
    field("instead of license", yes(rule.instead_of_license));
    if let Some(answer) = &rule.answer {
        field("answer", said(answer));
    }
    field("set", units::time(rule.set_at));
    table
}

/// Says what an answer consists of.
fn said(answer: &AgentAnswer) -> String {
    let bytes = |size: usize| units::bytes(size as u64);
    let mut parts: Vec<String> = answer.code.iter().map(u16::to_string).collect();
    parts.extend(answer.headers.keys().cloned());
    parts.extend(
        answer
            .html
            .as_ref()
            .map(|html| format!("html, {}", bytes(html.len()))),
    );
    let json = answer.json.as_ref().map(|json| json.to_string().len());
    parts.extend(json.map(|size| format!("json, {}", bytes(size))));
    parts.join("; ")
}

pub(super) fn decision_table(decided: &AgentDecision) -> Table {
    let mut table = Table::of_fields("DECISION");
    let mut field = |name: &str, value: String| table.field(name, value);
    let access = match decided.access {
        AgentVerdict::Allow => "allow",
        AgentVerdict::Deny => "deny",
        AgentVerdict::Pay => "pay",
    };
    let price = decided.price.map(|price| format!(" {price}"));
    field("access", format!("{access}{}", price.unwrap_or_default()));
    field("reason", decided.reason.to_string());
    field("operator", units::maybe(decided.operator.as_ref()));
    field("agent", units::maybe(decided.agent.as_ref()));
    field("purpose", units::maybe(decided.purpose));
    field("instead of license", yes(decided.instead_of_license));
    let rule = decided.rule.as_ref().map(|rule| rule.id);
    field("rule", units::maybe(rule));
    table
}

pub(super) fn known_table(all: &[KnownAgent]) -> Table {
    let mut table = Table::new([
        Column::text("OPERATOR"),
        Column::text("AGENT"),
        Column::text("PURPOSE"),
        Column::text("VERIFIABLE"),
        Column::text("PAGE"),
    ]);
    for one in all {
        table.row([
            one.operator.to_string(),
            one.agent.to_string(),
            one.purpose.to_string(),
            one.verifiable.clone(),
            one.page.clone(),
        ]);
    }
    table
}

fn yes(is: bool) -> String {
    String::from(if is { "yes" } else { "no" })
}
