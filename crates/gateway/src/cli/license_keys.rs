//! `tallygate license add-key` and `end-key`: the keys of one license.

use api_types::{AddCredential, License, RevokeCredential};
use clap::Args;
use model::{CredentialId, LicenseId};

use super::arguments::{JsonArgument, read_key};
use crate::cli::{Client, Error};

/// Arguments of `license add-key`.
#[derive(Debug, Args)]
pub(crate) struct AddKeyArguments {
    /// The license
    id: LicenseId,
    /// The shape of the new key [default: that of the last one]
    #[arg(long, value_name = "FORMAT", value_parser = ["tallygate", "uuid", "apifew", "authforge"])]
    key_format: Option<String>,
    /// Take over an existing key; `-` reads it from the standard input
    #[arg(long, value_name = "EXISTING")]
    key: Option<String>,
    #[command(flatten)]
    pub(super) json: JsonArgument,
}

/// Arguments of `license end-key`.
#[derive(Debug, Args)]
pub(crate) struct EndKeyArguments {
    /// The license
    id: LicenseId,
    /// The key; `license show` names those that there are
    credential: CredentialId,
    #[command(flatten)]
    pub(super) json: JsonArgument,
}

pub(super) async fn add(arguments: AddKeyArguments, client: &Client) -> Result<License, Error> {
    let request = AddCredential {
        key_format: arguments.key_format,
        key: read_key(arguments.key)?,
    };
    let path = format!("/licenses/{}/credentials", arguments.id);
    client.post(&path, &request).await
}

pub(super) async fn end(arguments: &EndKeyArguments, client: &Client) -> Result<License, Error> {
    let request = RevokeCredential {
        credential: arguments.credential,
    };
    let path = format!("/licenses/{}/credentials/revoke", arguments.id);
    let ended = client.post(&path, &request).await;
    ended.map_err(|error| match error {
        // That there is none such is an answer, not a wrong argument.
        Error::Refused(problem) if problem.field.as_deref() == Some("credential") => {
            Error::No(problem.detail)
        }
        error => error,
    })
}
