//! `POST /api/filter/agents/auth`: what a site does with an agent, by the policy of its account.

use std::collections::BTreeMap;
use std::time::Duration;

use agents::Recognizer;
use api_types::Scope;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use licensing::{AgentAsked, AgentDecided, AgentTokenFound};
use model::agent::{
    AgentAnswer, AgentCall, AgentName, AgentReason, CallingAgent, Operator, Purpose, Verdict,
    Verification,
};
use model::{AccountName, Timestamp};
use serde::Serialize;

use super::answer::{Failure, json};
use super::body::{Auth, Token};
use super::context::{caller_with, own_account};
use super::target::{Reported, Target};
use crate::http::body::{BODY_LIMIT, Input, read_json};
use crate::http::client::Client;
use crate::http::services::Services;

/// The time within which a decision is made: a client waits for it without end, and a visitor for
/// the client.
const DECIDED_WITHIN: Duration = Duration::from_secs(1);
/// The time within which a request is answered, the look at its management key included.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// A decision on an agent in the words of the protocol.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Decided<'a> {
    account_id: &'a AccountName,
    agent_id: Option<String>,
    token: Option<&'a str>,
    access: &'static str,
    reason: AgentReason,
    /// The rest of the token's life, in seconds.
    #[serde(rename = "time_remaining", skip_serializing_if = "Option::is_none")]
    time_remaining: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Custom>,
}

/// What an agent that is sent away is answered. A client fills in what is absent: 402, and
/// `Payment required.` as HTML.
#[derive(Default, Serialize)]
struct Custom {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<String>,
}

/// An agent by its names; without them nobody knows it.
#[derive(Clone, Default)]
struct Named {
    operator: Option<Operator>,
    agent: Option<AgentName>,
    purpose: Option<Purpose>,
    /// Whether the list has it.
    is_known: bool,
}

/// What a client says of an agent.
enum Asked {
    Agent(Named),
    /// The request has no user agent.
    Nameless,
}

/// Answers what a site does with an agent.
pub(super) async fn auth(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let answering = answer(&services, &client, &headers, body);
    let answered = tokio::time::timeout(ANSWERED_WITHIN, answering).await;
    answered.unwrap_or_else(|_| Err(Failure::unavailable()))
}

async fn answer(
    services: &Services,
    client: &Client,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let caller = caller_with(services, client, headers, Scope::ReadAgents).await?;
    let request: Auth = read_json(body, BODY_LIMIT).await?;
    let account = own_account(&caller, request.account_id.as_deref())?;
    let host = request
        .headers
        .as_ref()
        .and_then(|headers| headers.host.as_deref());
    let reported = Reported {
        host: request.hostname.as_deref().or(host),
        method: None,
        resource: request.resource.as_deref(),
    };
    let target = Target::of(services, &caller, account, reported)?;
    let asked = Asked::of(&services.api().agents.load(), &request)?;
    let shown = Token::shown(request.token.as_ref());
    let named = match asked {
        Asked::Agent(named) => named,
        Asked::Nameless => {
            let custom = Custom {
                code: Some(401),
                ..Custom::default()
            };
            let denied = Decided {
                account_id: account,
                agent_id: None,
                token: shown,
                access: "deny",
                reason: AgentReason::MissingUserAgent,
                time_remaining: None,
                response: Some(custom),
            };
            return Ok(json(StatusCode::OK, &denied));
        }
    };
    let question = Question {
        account,
        target: &target,
        shown,
    };
    let deciding = question.decide(services, named.clone());
    let decided = tokio::time::timeout(DECIDED_WITHIN, deciding).await;
    let Ok(Some((named, token, decided))) = decided else {
        return undecided(services, &question, &named);
    };
    let is_let_in = decided.verdict == Verdict::Allow;
    let answer = Decided {
        account_id: account,
        agent_id: named.id(),
        token: shown,
        access: if is_let_in { "allow" } else { "deny" },
        reason: decided.reason,
        time_remaining: token
            .ends_at()
            .map(|end| seconds_until(end, services.now())),
        response: Custom::of(&decided),
    };
    Ok(json(StatusCode::OK, &answer))
}

/// A question about an agent.
struct Question<'a> {
    account: &'a AccountName,
    target: &'a Target,
    /// The token that it showed.
    shown: Option<&'a str>,
}

impl Question<'_> {
    /// Decides, by the same function as the gate. An agent of a name that neither the list nor a
    /// rule has is nobody. Returns `None` if nobody can decide now.
    async fn decide(
        &self,
        services: &Services,
        named: Named,
    ) -> Option<(Named, AgentTokenFound, AgentDecided)> {
        let (token, decided) = self.decide_on(services, &named).await?;
        let rule = decided.rule.as_ref().map(|rule| &rule.matches);
        let is_named = rule.is_some_and(|rule| rule.operator.is_some() || rule.agent.is_some());
        if named.is_known || named.operator.is_none() || is_named {
            return Some((named, token, decided));
        }
        let nobody = Named::default();
        let (token, decided) = self.decide_on(services, &nobody).await?;
        Some((nobody, token, decided))
    }

    async fn decide_on(
        &self,
        services: &Services,
        named: &Named,
    ) -> Option<(AgentTokenFound, AgentDecided)> {
        let licensing = services.licensing();
        let calling = named.operator.as_ref().map(|operator| CallingAgent {
            operator,
            agent: named.agent.as_ref(),
        });
        let for_app = (self.account, &self.target.app);
        let token = licensing.agent_token(self.shown, for_app, calling).await;
        let token = token.inspect_err(|refusal| {
            tracing::warn!(
                code = refusal.code(),
                "the token of an agent cannot be looked up"
            );
        });
        let token = token.ok()?;
        let call = AgentCall {
            account: self.account,
            app: &self.target.app,
            path: self.target.path(),
            operator: named.operator.as_ref(),
            agent: named.agent.as_ref(),
            purpose: named.purpose,
            verification: Verification::Unverified,
        };
        let asked = AgentAsked {
            call,
            token: token.shown,
        };
        let decided = licensing.decide_on_agent(asked).await;
        let decided = decided.inspect_err(|error| {
            tracing::warn!(%error, "the policy on agents cannot be read");
        });
        Some((token, decided.ok()?))
    }
}

/// Answers what the app says for when nobody can decide: that the agent is let in, or else that
/// there is no answer, which sends it away.
fn undecided(
    services: &Services,
    question: &Question<'_>,
    named: &Named,
) -> Result<Response, Failure> {
    let plans = services.licensing().plans();
    let terms = plans.app(&question.target.app).and_then(|app| app.agents);
    if !terms.is_some_and(|terms| terms.allows_on_failure) {
        return Err(Failure::unavailable());
    }
    let answer = Decided {
        account_id: question.account,
        agent_id: named.id(),
        token: question.shown,
        access: "allow",
        reason: AgentReason::UnknownError,
        time_remaining: None,
        response: None,
    };
    Ok(json(StatusCode::OK, &answer))
}

impl Asked {
    /// Reads who calls: by both names, or else by the user agent.
    fn of(recognizer: &Recognizer, request: &Auth) -> Result<Self, Failure> {
        if request.operator.is_some() || request.agent.is_some() {
            return Named::of_names(recognizer, request).map(Self::Agent);
        }
        let of_headers = request
            .headers
            .as_ref()
            .and_then(|headers| headers.user_agent.as_ref());
        let user_agent = request.user_agent.as_ref().or(of_headers);
        let Some(user_agent) = user_agent else {
            return match request.headers {
                Some(_) => Ok(Self::Nameless),
                None => Err(Input::missing("user_agent").into()),
            };
        };
        if user_agent.is_empty() {
            return Ok(Self::Nameless);
        }
        let known = recognizer.recognize(user_agent.as_bytes());
        Ok(Self::Agent(known.map_or_else(Named::default, |known| {
            Named {
                operator: Some(known.operator.clone()),
                agent: Some(known.agent.clone()),
                purpose: Some(known.purpose),
                is_known: true,
            }
        })))
    }
}

impl Named {
    fn of_names(recognizer: &Recognizer, request: &Auth) -> Result<Self, Failure> {
        fn read<T: std::str::FromStr<Err: std::fmt::Display>>(
            field: &str,
            text: Option<&String>,
        ) -> Result<T, Failure> {
            let text = text.ok_or_else(|| Failure::from(Input::missing(field)))?;
            text.parse().map_err(|error| Failure::invalid(field, error))
        }
        let operator: Operator = read("operator", request.operator.as_ref())?;
        let agent: AgentName = read("agent", request.agent.as_ref())?;
        let known = recognizer.known().find(&operator, &agent);
        Ok(Self {
            purpose: known.map(|known| known.purpose),
            is_known: known.is_some(),
            // As the operator writes them, where that is known.
            operator: Some(known.map_or(operator, |known| known.operator.clone())),
            agent: Some(known.map_or(agent, |known| known.agent.clone())),
        })
    }

    /// Returns the identity of the agent as clients see it.
    fn id(&self) -> Option<String> {
        let (operator, agent) = self.operator.as_ref().zip(self.agent.as_ref())?;
        Some(format!("{operator}/{agent}"))
    }
}

impl Custom {
    /// Returns what an agent that is sent away is answered; `None`: it is let in, or the usual.
    fn of(decided: &AgentDecided) -> Option<Self> {
        let price = match decided.verdict {
            Verdict::Allow => return None,
            Verdict::Deny => None,
            Verdict::Pay(price) => Some(price),
        };
        let answer = decided.rule.as_ref().and_then(|rule| rule.answer.as_ref());
        if answer.is_none() && price.is_none() {
            return None;
        }
        let mut custom = answer.map(Self::as_written).unwrap_or_default();
        if let Some(price) = price {
            let header = agents::payment::crawler::PRICE.to_owned();
            custom
                .headers
                .entry(header)
                .or_insert_with(|| price.to_string());
        }
        Some(custom)
    }

    /// Returns an answer as its rule has it. Clients know one kind of body.
    fn as_written(answer: &AgentAnswer) -> Self {
        let mut custom = Self {
            code: answer.code,
            headers: answer.headers.clone(),
            html: answer.html.clone(),
        };
        if let (None, Some(json)) = (&answer.html, &answer.json) {
            let is_typed = |name: &String| name.eq_ignore_ascii_case("content-type");
            if !custom.headers.keys().any(is_typed) {
                let kind = ("Content-Type".to_owned(), "application/json".to_owned());
                custom.headers.extend([kind]);
            }
            custom.html = Some(json.to_string());
        }
        custom
    }
}

fn seconds_until(end: Timestamp, now: Timestamp) -> u64 {
    end.since(now).as_secs()
}
