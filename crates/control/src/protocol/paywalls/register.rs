//! `POST /api/agents/register` (RFC 7591): an agent gets a token of its own, and one to renew it.

use api_types::Scope;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use licensing::AgentTokens;
use model::agent::{AgentIdentity, AgentName, Operator};
use model::{AppName, LicenseId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{Failure, json};
use super::context::caller_with;
use crate::http::body::{BODY_LIMIT, Input, read_json};
use crate::http::client::Client;
use crate::http::fault::Fault;
use crate::http::field::Text;
use crate::http::services::Services;

/// The metadata of an agent. Further members are ignored.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PaywallsRegister")]
pub(super) struct Register {
    /// The name of who operates the agent, as rules of the policy name them.
    client_name: Text<1, 64>,
    /// The https page of the agent.
    client_uri: Text<1, 1024>,
    /// How people reach the operator; repeated in the answer and not kept.
    contacts: Vec<Text<1, 254>>,
    /// The name of the agent, as rules of the policy name it.
    software_id: Text<1, 64>,
    /// The version of the agent.
    software_version: Text<1, 64>,
}

/// The registration of an agent, with its first tokens.
#[derive(Serialize)]
struct Registered<'a> {
    client_id: LicenseId,
    client_id_issued_at: i64,
    client_name: &'a str,
    client_uri: &'a str,
    contacts: Vec<&'a str>,
    software_id: &'a str,
    software_version: &'a str,
    token_endpoint_auth_method: &'static str,
    grant_types: [&'static str; 1],
    #[serde(flatten)]
    tokens: Granted<'a>,
}

/// The tokens of an agent (RFC 6749, section 5.1).
#[derive(Serialize)]
pub(super) struct Granted<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    refresh_token: &'a str,
}

/// The largest number of contacts.
const MAX_CONTACTS: usize = 10;

/// Answers a registration.
pub(super) async fn register(
    State(services): State<Services>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let caller = caller_with(&services, &client, &headers, Scope::WriteLicenses).await?;
    let request: Register = match read_json(body, BODY_LIMIT).await {
        Ok(request) => request,
        Err(input) => return Err(of_metadata(Failure::from(input))),
    };
    let identity = request.identity().map_err(of_metadata)?;
    let account = caller
        .account()
        .ok_or_else(|| Fault::internal(&"a caller without an account"))?;
    let app = caller.app().cloned().unwrap_or_else(AppName::every);
    let acting = services.acting(&caller, &client);
    let tokens = acting
        .register_agent(account, app, identity, request.label())
        .await?;
    let answer = Registered {
        client_id: tokens.license.license.id,
        client_id_issued_at: tokens.license.license.created_at.seconds(),
        client_name: &request.client_name,
        client_uri: &request.client_uri,
        contacts: request.contacts.iter().map(|contact| &**contact).collect(),
        software_id: &request.software_id,
        software_version: &request.software_version,
        token_endpoint_auth_method: "none",
        grant_types: ["refresh_token"],
        tokens: Granted::of(&tokens),
    };
    Ok(json(StatusCode::CREATED, &answer))
}

fn of_metadata(failure: Failure) -> Failure {
    failure.with_code("invalid_client_metadata")
}

impl Register {
    fn identity(&self) -> Result<AgentIdentity, Failure> {
        let is_page = self.client_uri.strip_prefix("https://");
        if !is_page.is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic())
        }) {
            return Err(Failure::invalid("client_uri", "write an https URL"));
        }
        match self.contacts.len() {
            0 => return Err(Input::invalid("contacts", "name at least one").into()),
            1..=MAX_CONTACTS => {}
            _ => {
                let detail = format!("name at most {MAX_CONTACTS}");
                return Err(Input::invalid("contacts", detail).into());
            }
        }
        let operator: Result<Operator, _> = self.client_name.parse();
        let agent: Result<AgentName, _> = self.software_id.parse();
        Ok(AgentIdentity {
            operator: operator.map_err(|error| Failure::invalid("client_name", error))?,
            agent: Some(agent.map_err(|error| Failure::invalid("software_id", error))?),
            payer: None,
        })
    }

    /// Returns the label of the license, for people.
    fn label(&self) -> String {
        let text = format!(
            "{} {}, {}",
            &*self.software_id, &*self.software_version, &*self.client_uri
        );
        let end = text.floor_char_boundary(200);
        text[..end].to_owned()
    }
}

impl<'a> Granted<'a> {
    pub(super) fn of(tokens: &'a AgentTokens) -> Self {
        Self {
            access_token: tokens.token.expose(),
            token_type: "Bearer",
            expires_in: tokens.expires_in.as_secs(),
            refresh_token: tokens.refresh.expose(),
        }
    }
}
