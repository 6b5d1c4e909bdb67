//! The words as JSON Schema, for the documents of APIs that speak them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use crate::{
    AccountName, Alias, ApiKeyPrefix, AppId, AppName, CallId, CredentialId, Currency, Digits,
    InstanceId, Interval, LicenseId, ManagementKeyId, Metadata, Method, Mode, Money, Outcome,
    Permission, PlanName, PlanRevisionId, RateLimit, Refill, RequestTokenId, ResourcePermissions,
    Scope, SessionId, SigningKeyId, SigningUse, Timestamp, TokenState, UserId,
};

/// Gives a type the schema that stands beside it.
macro_rules! schema {
    ($($name:ident: $schema:tt;)*) => {$(
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

/// Text of a form.
macro_rules! text {
    ($($name:ident: $description:literal, $pattern:expr, $example:literal;)*) => {
        schema!($($name: {
            "type": "string", "description": $description, "pattern": $pattern, "examples": [$example],
        };)*);
    };
}

/// Identifiers: a prefix and 32 hexadecimal digits.
macro_rules! ids {
    ($($name:ident: $description:literal;)*) => {
        schema!($($name: {
            "type": "string", "description": $description,
            "pattern": format!("^{}[0-9a-f]{{32}}$", $name::PREFIX),
        };)*);
    };
}

/// One of some words.
macro_rules! words {
    ($($name:ident: $description:literal;)*) => {
        schema!($($name: {
            "type": "string", "description": $description,
            "enum": $name::ALL.iter().map(|value| json!(value.as_str())).collect::<Vec<_>>(),
        };)*);
    };
}

ids! {
    CredentialId: "A credential: one of the keys of a license.";
    InstanceId: "One process start of a gate.";
    LicenseId: "A license.";
    ManagementKeyId: "A management key.";
    PlanRevisionId: "A content hash of a plan: the same terms have the same revision.";
    RequestTokenId: "A request token.";
    SessionId: "A session.";
    SigningKeyId: "A signing key.";
    UserId: "A user of an app.";
    AppId: "An app, for the software that is sold with it.";
}

text! {
    AccountName: "The name of an account.", "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", "default";
    Alias: "What an app may call a user without knowing who they are.", "^[0-9A-F]{16}$", "00000000000000AB";
    ApiKeyPrefix: "What an API key begins with; not `tg_`.", "^[A-Za-z0-9_-]{1,32}$", "pk_";
    AppName: "The name of an app; `*`: every app of the account.", r"^(\*|[A-Za-z0-9][A-Za-z0-9._-]{0,63})$", "sample";
    Currency: "A currency (ISO 4217).", "^[A-Z]{3}$", "EUR";
    Digits: "The digits of the number of the same name without `_text`, there only where it is above 9007199254740991.", "^[0-9]{16,20}$", "9007199254740993";
    Interval: "A length of time: whole seconds, minutes, hours or days.", "^[0-9]+[smhd]$", "30d";
    Money: "An amount in the major unit.", r"^-?[0-9]+(\.[0-9]{1,9})?$", "0.01";
    Permission: "A method, or `*`, and a path.", r"^(\*|[A-Z]+) /", "GET /reports";
    PlanName: "The name of a plan.", "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", "main";
    RateLimit: "Calls in each window, as in `100/1h`; `,idle` for a window that ends when no call passes for its length.", "^[0-9]+/[0-9]+[smhd](,idle)?$", "100/1h";
    Refill: "Units that come back, as in `5/1h`, in place of those left or, with `,add`, beside them.", "^[0-9]+/[0-9]+[smhd](,set|,add)?$", "5/1h";
}

words! {
    Method: "A request method; `OTHER` for any that no route is declared for.";
    Mode: "A way of spending.";
    Outcome: "How a call ended.";
    Scope: "What a management key may do.";
    SigningUse: "What a key signs.";
    TokenState: "What has become of a token.";
}

schema! {
    CallId: {"type": "string", "format": "uuid", "description": "A call."};
    Metadata: {"type": "object", "description": "What the owner keeps; at most 4,096 bytes."};
    ResourcePermissions: {
        "type": "object", "description": "Actions by resource.",
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
    };
    Timestamp: {"type": "string", "format": "date-time", "description": "A time (RFC 3339, UTC)."};
}
