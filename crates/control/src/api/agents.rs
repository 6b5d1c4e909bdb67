//! `/agents`: the policies on AI agents, what they decide, and the agents that are known.

use std::sync::Arc;

use agents::KnownAgents;
use api_types::{
    AgentDecision, AgentRuleQuery, AgentVerdict, KnownAgent, List, Scope, SetAgentRule, TestAgent,
};
use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use licensing::{AgentAsked, AgentDecided, AgentRuleRequest};
use model::agent::{
    AgentCall, AgentMatch, AgentName, AgentRule, Operator, Purpose, TokenShown, Verdict,
};
use model::path::NormalPath;
use model::{AgentRuleId, AppName};

use super::query::{account_of, page_limit, within_app};
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::{Audited, Caller};
use crate::http::extract::{Json, Name, Query};
use crate::http::problem::Problem;
use crate::http::state::{Api, Shared};

const READ: Needs = Needs::Scope(Scope::ReadAgents);
const WRITE: Needs = Needs::Scope(Scope::WriteAgents);

/// The length of the longest user agent that is asked about, in bytes.
const LONGEST_USER_AGENT: usize = 65_536;
/// The length of the longest body with a rule, in bytes: its answer has two bodies.
const RULE_BODY_LIMIT: usize = 512 << 10;

/// The names of an agent, as far as they are known.
#[derive(Default)]
struct Names {
    operator: Option<Operator>,
    agent: Option<AgentName>,
    purpose: Option<Purpose>,
}

/// Adds the requests about agents.
pub(super) fn routes(routes: Routes) -> Routes {
    let set = Operation::new(
        "setAgentRule",
        "Set a rule on agents, in place of the one that concerns the same calls",
        WRITE,
    );
    let list = Operation::new(
        "listAgentRules",
        "List rules on agents, those that decide before others first",
        READ,
    );
    let test = Operation::new(
        "testAgent",
        "Say what is decided on a call of an agent, without making it",
        READ,
    );
    routes
        .post(
            "/agents/rules",
            self::set,
            set.body::<SetAgentRule>().answers::<AgentRule>(200),
        )
        .get(
            "/agents/rules",
            self::list,
            list.query::<AgentRuleQuery>()
                .answers::<List<AgentRule>>(200),
        )
        .delete(
            "/agents/rules/{id}",
            remove,
            Operation::new("removeAgentRule", "Remove a rule on agents", WRITE).of::<AgentRuleId>(),
        )
        .post(
            "/agents/test",
            self::test,
            test.body::<TestAgent>().answers::<AgentDecision>(200),
        )
        .get(
            "/agents/known",
            known,
            Operation::new(
                "listKnownAgents",
                "List the agents that are known",
                Needs::AnyKey,
            )
            .answers::<List<KnownAgent>>(200),
        )
}

/// Sets a rule.
async fn set(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Json(request): Json<SetAgentRule, RULE_BODY_LIMIT>,
) -> Result<Answer<AgentRule>, Problem> {
    let named = request.app.filter(|app| !app.is_every());
    let app = within_app(&caller, named)?;
    let account = account_of(&state, &caller, request.account, app.as_ref())?;
    let access = AgentRule::access(request.access, request.price);
    let request = AgentRuleRequest {
        matches: AgentMatch {
            account,
            app,
            path: request.path,
            operator: request.operator,
            agent: request.agent,
            purpose: request.purpose,
            verification: request.verification,
        },
        access: access.map_err(|error| Problem::field(error.field(), error))?,
        answer: request.answer,
        instead_of_license: request.instead_of_license,
    };
    let rule = acting.set_agent_rule(request).await?;
    Ok(Answer(Arc::unwrap_or_clone(rule)))
}

/// Lists the rules that the caller may see.
async fn list(
    State(state): Shared,
    caller: Caller,
    Query(query): Query<AgentRuleQuery>,
) -> Result<Answer<List<AgentRule>>, Problem> {
    let limit = page_limit(query.limit)?;
    let app = within_app(&caller, query.app)?;
    let begin = query.cursor.map_or(0, |cursor| cursor as usize);
    let policies = state.licensing.newest_agent_policies().await?;
    let rules = policies.accounts().into_iter();
    let rules = rules.flat_map(|account| policies.rules(account));
    let asked_for = |rule: &&Arc<AgentRule>| {
        let of_app = app.is_none() || rule.matches.app == app;
        of_app && sees(&caller, rule)
    };
    let found = rules.filter(asked_for).skip(begin).take(limit + 1);
    let mut items: Vec<_> = found.map(|rule| AgentRule::clone(rule)).collect();
    let next = (items.len() > limit).then(|| (begin + limit).to_string());
    items.truncate(limit);
    Ok(Answer(List { items, next }))
}

/// Removes a rule.
async fn remove(
    State(state): Shared,
    caller: Caller,
    Audited(acting): Audited,
    Name(id): Name,
) -> Result<StatusCode, Problem> {
    let not_found = || Problem::id_unknown("rule", &id);
    let parsed: AgentRuleId = id.parse().map_err(|_| not_found())?;
    let policies = state.licensing.newest_agent_policies().await?;
    let mut rules = policies.accounts().into_iter();
    let rule = rules.find_map(|account| policies.rules(account).find(|rule| rule.id == parsed));
    let rule = rule
        .filter(|rule| sees(&caller, rule))
        .ok_or_else(not_found)?;
    match acting
        .remove_agent_rule(&rule.matches.account, parsed)
        .await?
    {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(not_found()),
    }
}

/// Says what is decided on a call of an agent.
async fn test(
    State(state): Shared,
    caller: Caller,
    Json(request): Json<TestAgent>,
) -> Result<Answer<AgentDecision>, Problem> {
    let named = request.app.filter(|app| !app.is_every());
    let app = within_app(&caller, named)?;
    let account = account_of(&state, &caller, request.account, app.as_ref())?;
    let is_sold = |app: &AppName| {
        let plans = state.licensing.plans();
        plans.app(app).is_some_and(|terms| terms.account == account)
    };
    if let Some(unknown) = app.as_ref().filter(|app| !is_sold(app)) {
        return Err(licensing::Error::AppUnknown(unknown.clone()).into());
    }
    let path = request.path.as_deref().unwrap_or("/");
    let path = NormalPath::parse(path).map_err(|error| Problem::field("path", error))?;
    let names = names(&state, request.user_agent, request.operator, request.agent)?;
    let whichever = AppName::every();
    let call = AgentCall {
        account: &account,
        app: app.as_ref().unwrap_or(&whichever),
        path: path.as_str(),
        operator: names.operator.as_ref(),
        agent: names.agent.as_ref(),
        purpose: names.purpose,
        verification: request.verification,
    };
    let token = TokenShown::None;
    let deciding = state.licensing.decide_on_agent(AgentAsked { call, token });
    let mut decided = deciding.await?;
    let instead = decided.rule.as_ref().map(|rule| rule.instead_of_license);
    let instead_of_license = instead.unwrap_or(false) || decided.terms.instead_of_license;
    decided.rule = decided.rule.filter(|rule| sees(&caller, rule));
    Ok(Answer(answered(names, decided, instead_of_license)))
}

/// Lists the agents that are known.
async fn known(State(state): Shared) -> Answer<List<KnownAgent>> {
    let recognizer = state.agents.load();
    let known = |known: &KnownAgents| {
        let agents = known.all().iter().map(|agent| KnownAgent {
            operator: agent.operator.clone(),
            agent: agent.agent.clone(),
            purpose: agent.purpose,
            verifiable: agent.verifiable.to_string(),
            patterns: agent.patterns.clone(),
            page: agent.page.clone(),
        });
        agents.collect()
    };
    Answer(List::whole(known(recognizer.known())))
}

/// Returns the names of the agent that is asked about: those that are given, or those of the known
/// agent that a user agent names.
fn names(
    state: &Api,
    user_agent: Option<String>,
    operator: Option<Operator>,
    agent: Option<AgentName>,
) -> Result<Names, Problem> {
    let recognizer = state.agents.load();
    match user_agent {
        Some(_) if operator.is_some() || agent.is_some() => {
            let detail = "name the agent by its `user_agent`, or by `operator` and `agent`";
            Err(Problem::field("user_agent", detail))
        }
        Some(text) if text.len() > LONGEST_USER_AGENT => {
            let detail = format!(
                "has {} bytes, at most {LONGEST_USER_AGENT} are taken",
                text.len()
            );
            Err(Problem::field("user_agent", detail))
        }
        Some(text) => {
            let found = recognizer.recognize(text.as_bytes());
            Ok(found.map_or_else(Names::default, |known| Names {
                operator: Some(known.operator.clone()),
                agent: Some(known.agent.clone()),
                purpose: Some(known.purpose),
            }))
        }
        None if operator.is_none() && agent.is_none() => {
            let detail = "say which agent calls: by its `user_agent`, or by `operator` and `agent`";
            Err(Problem::field("user_agent", detail))
        }
        None => {
            let both = operator.as_ref().zip(agent.as_ref());
            let known = both.and_then(|(operator, agent)| recognizer.known().find(operator, agent));
            let purpose = known.map(|known| known.purpose);
            Ok(Names {
                operator,
                agent,
                purpose,
            })
        }
    }
}

fn answered(names: Names, decided: AgentDecided, instead_of_license: bool) -> AgentDecision {
    let (access, price) = match decided.verdict {
        Verdict::Allow => (AgentVerdict::Allow, None),
        Verdict::Deny => (AgentVerdict::Deny, None),
        Verdict::Pay(price) => (AgentVerdict::Pay, Some(price)),
    };
    AgentDecision {
        operator: names.operator,
        agent: names.agent,
        purpose: names.purpose,
        access,
        reason: decided.reason,
        price,
        instead_of_license,
        rule: decided.rule,
    }
}

/// Returns whether the caller may see a rule: one of their account, and of their app if their key is
/// for one.
fn sees(caller: &Caller, rule: &AgentRule) -> bool {
    let whom = &rule.matches;
    let of_account = caller.account().is_none_or(|own| *own == whom.account);
    let of_app = caller
        .app()
        .is_none_or(|own| whom.app.as_ref() == Some(own));
    of_account && of_app
}
