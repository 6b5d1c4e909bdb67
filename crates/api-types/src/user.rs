//! Users of apps, on the wire.

use model::{AccountName, Alias, AppName, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use model::update::nullable;

/// A request to create a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// The app.
    pub app: AppName,
    /// The seller's own name for the user, such as an e-mail address; licenses name it as `user`.
    pub login: String,
    /// The first name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// The last name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
}

/// A change of a user; absent fields stay, `null` takes a name away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeUser {
    /// The first name.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Option::is_none"
    )]
    pub first_name: Option<Option<String>>,
    /// The last name.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_name: Option<Option<String>>,
}

/// A user as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// The identity.
    pub id: UserId,
    /// The account that sells the app.
    pub account: AccountName,
    /// The app.
    pub app: AppName,
    /// The seller's own name for the user.
    pub login: String,
    /// The alias by which the app may call the user without knowing who they are.
    pub alias: Alias,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The time at which it was made.
    pub created_at: Timestamp,
    /// The time of its last change.
    pub updated_at: Timestamp,
}

impl From<model::User> for User {
    fn from(user: model::User) -> Self {
        Self {
            id: user.id,
            account: user.account,
            app: user.app,
            login: user.login,
            alias: user.alias,
            first_name: user.first_name,
            last_name: user.last_name,
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}
