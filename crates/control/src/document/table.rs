//! Every request of the native API.

use std::sync::Arc;

use model::usage::UsageRow;
use model::{
    AccountName, AppName, LicenseId, ManagementKeyId, PlanName, RequestTokenId, SessionId,
    SigningKeyId, UserId,
};

use super::{Described, Operation, Routes};
use crate::api::{
    accounts, api_keys, app_credentials, audit, calls, directory, keys, ledger, licenses, sessions,
    signing, tokens, usage, users,
};
use crate::http::schema::inline_schema;
use crate::http::state::Api;
use crate::wire::{
    Account, AddCredential, ApiKey, App, AppCredentials, AuditLine, AuditQuery, BulkCreate, Call,
    CallQuery, ChangeApiKey, ChangeLicense, ChangeManagementKey, ChangeUser, CreateAccount,
    CreateApiKey, CreateLicense, CreateManagementKey, CreateUser, Created, DeletedApiKeys,
    ExportQuery, Extend, FollowQuery, FollowedCalls, License, List, ManagementKey, Nothing, Page,
    Plan, Rebuilt, RenewAppSecret, RevokeCredential, Rotate, RotateSigningKey, Scope, SealKey,
    Session, Ship, Shipped, SigningKey, Status, Token, UsageParameters, User, Verification,
    VerifiedApiKey, VerifyApiKey,
};

/// Where the API begins.
pub(crate) const BASE: &str = "/api/v1";

/// Where its document is, below that.
pub(crate) const DOCUMENT: &str = "/openapi.json";

/// Where the document of the protocols is, below that.
pub(crate) const PROTOCOLS: &str = "/openapi-protocols.json";

/// A document as its readers know it.
struct Document;

inline_schema!(Document: {"type": "object", "description": "A document of OpenAPI 3.1."});

/// The requests that take a credential.
pub(crate) fn table(state: Arc<Api>) -> Routes {
    let routes = Routes::new(state);
    let routes = of_licenses(routes);
    let routes = of_api_keys(routes);
    let routes = of_users(of_tokens(routes));
    let routes = of_keys(routes);
    of_the_gate(of_records(routes))
}

/// The documents themselves.
pub(crate) fn documents() -> [Described; 2] {
    let document = |path, operation: Operation| Described {
        path,
        method: "get",
        operation: operation.open().answers::<Document>(200),
    };
    let own = Operation::new("showDocument", "Show this document");
    let protocols = "Show the document of what is served for clients of other systems";
    let protocols = Operation::new("showProtocolsDocument", protocols);
    [document(DOCUMENT, own), document(PROTOCOLS, protocols)]
}

fn of_licenses(routes: Routes) -> Routes {
    let op = |id, summary| Operation::new(id, summary).scope(Scope::WriteLicenses);
    let on_one = |id, summary| op(id, summary).of::<LicenseId>().answers::<License>(200);
    routes
        .post(
            "/licenses",
            licenses::create,
            op(
                "createLicense",
                "Make a license; its key is shown this once",
            )
            .body::<CreateLicense>()
            .answers::<License>(201)
            .once(),
        )
        .get(
            "/licenses",
            licenses::list,
            Operation::new("listLicenses", "List licenses, oldest first")
                .scope(Scope::ReadLicenses)
                .query::<licenses::ListParameters>()
                .answers::<List<License>>(200)
                .of_one_license(),
        )
        .post(
            "/licenses/bulk",
            licenses::bulk,
            op("createLicenses", "Make many licenses, in order")
                .body::<BulkCreate>()
                .answers::<List<Created>>(201)
                .once(),
        )
        .get(
            "/licenses/{id}",
            licenses::show,
            on_one("showLicense", "Show a license")
                .scope(Scope::ReadLicenses)
                .of_one_license(),
        )
        .patch(
            "/licenses/{id}",
            licenses::change,
            on_one("changeLicense", "Change a license; absent fields stay").body::<ChangeLicense>(),
        )
        .post(
            "/licenses/{id}/revoke",
            licenses::revoke,
            on_one("revokeLicense", "Revoke a license for good").body::<Nothing>(),
        )
        .post(
            "/licenses/{id}/enable",
            licenses::enable,
            on_one("enableLicense", "Switch a disabled license on again").body::<Nothing>(),
        )
        .post(
            "/licenses/{id}/disable",
            licenses::disable,
            on_one("disableLicense", "Switch a license off for now").body::<Nothing>(),
        )
        .post(
            "/licenses/{id}/extend",
            licenses::extend,
            on_one("extendLicense", "Give a license a later end").body::<Extend>(),
        )
        .post(
            "/licenses/{id}/rotate",
            licenses::rotate,
            on_one("rotateLicense", "Make a new key in place of those before")
                .body::<Rotate>()
                .once(),
        )
        .post(
            "/licenses/{id}/credentials",
            licenses::add_credential,
            op(
                "addCredential",
                "Give a license one more key; it is shown this once",
            )
            .of::<LicenseId>()
            .body::<AddCredential>()
            .answers::<License>(201)
            .once(),
        )
        .post(
            "/licenses/{id}/credentials/revoke",
            licenses::revoke_credential,
            on_one("revokeCredential", "End one key of a license for good")
                .body::<RevokeCredential>(),
        )
}

fn of_users(routes: Routes) -> Routes {
    let op = |id, summary| Operation::new(id, summary).scope(Scope::WriteLicenses);
    let on_one = |id, summary| op(id, summary).of::<UserId>().answers::<User>(200);
    routes
        .post(
            "/users",
            users::create,
            op("createUser", "Make a user of an app")
                .body::<CreateUser>()
                .answers::<User>(201)
                .once(),
        )
        .get(
            "/users",
            users::list,
            op("listUsers", "List the users of an app, oldest first")
                .scope(Scope::ReadLicenses)
                .query::<users::ListParameters>()
                .answers::<List<User>>(200),
        )
        .get(
            "/users/{id}",
            users::show,
            on_one("showUser", "Show a user").scope(Scope::ReadLicenses),
        )
        .patch(
            "/users/{id}",
            users::change,
            on_one("changeUser", "Change a user; absent fields stay").body::<ChangeUser>(),
        )
        .delete(
            "/users/{id}",
            users::forget,
            op(
                "forgetUser",
                "Forget a user; licenses stay in force and name them no more",
            )
            .of::<UserId>(),
        )
}

fn of_tokens(routes: Routes) -> Routes {
    let of_licenses = |id, summary| {
        let operation = Operation::new(id, summary).scope(Scope::WriteLicenses);
        operation.of::<RequestTokenId>().answers::<Token>(200)
    };
    let of_keys = |id, summary| {
        let operation = Operation::new(id, summary).scope(Scope::WriteKeys);
        operation.of::<SessionId>().answers::<Session>(200)
    };
    routes
        .get(
            "/tokens",
            tokens::list,
            Operation::new(
                "listTokens",
                "List the request tokens of a license, oldest first",
            )
            .scope(Scope::ReadLicenses)
            .query::<tokens::ListParameters>()
            .answers::<List<Token>>(200)
            .of_one_license(),
        )
        .get(
            "/tokens/{id}",
            tokens::show,
            of_licenses("showToken", "Show a request token")
                .scope(Scope::ReadLicenses)
                .of_one_license(),
        )
        .post(
            "/tokens/{id}/end",
            tokens::end,
            of_licenses(
                "endToken",
                "End a request token that nobody used, and free its units",
            )
            .body::<Nothing>(),
        )
        .get(
            "/sessions",
            sessions::list,
            Operation::new(
                "listSessions",
                "List the sessions of a management key, oldest first",
            )
            .scope(Scope::ReadKeys)
            .query::<sessions::ListParameters>()
            .answers::<List<Session>>(200)
            .of_one_license(),
        )
        .get(
            "/sessions/{id}",
            sessions::show,
            of_keys("showSession", "Show a session")
                .scope(Scope::ReadKeys)
                .of_one_license(),
        )
        .post(
            "/sessions/{id}/end",
            sessions::end,
            of_keys("endSession", "End a session with all its tokens").body::<Nothing>(),
        )
}

fn of_api_keys(routes: Routes) -> Routes {
    let op = |id, summary| Operation::new(id, summary).scope(Scope::WriteLicenses);
    routes
        .post(
            "/keys",
            api_keys::create,
            op("createApiKey", "Make an API key; it is shown this once")
                .body::<CreateApiKey>()
                .answers::<ApiKey>(201)
                .once(),
        )
        .get(
            "/keys",
            api_keys::list,
            op("listApiKeys", "List API keys, oldest first")
                .scope(Scope::ReadLicenses)
                .query::<api_keys::ListParameters>()
                .answers::<List<ApiKey>>(200)
                .of_one_license(),
        )
        .post(
            "/keys/verify",
            api_keys::verify,
            op(
                "verifyApiKey",
                "Use an API key, and say whether it is valid",
            )
            .scope(Scope::ReadLicenses)
            .body::<VerifyApiKey>()
            .answers::<VerifiedApiKey>(200)
            .of_one_license(),
        )
        .post(
            "/keys/delete-expired",
            api_keys::delete_expired,
            op(
                "deleteExpiredApiKeys",
                "Delete the API keys that have ended",
            )
            .body::<Nothing>()
            .answers::<DeletedApiKeys>(200),
        )
        .get(
            "/keys/{id}",
            api_keys::show,
            op("showApiKey", "Show an API key")
                .scope(Scope::ReadLicenses)
                .of::<LicenseId>()
                .answers::<ApiKey>(200)
                .of_one_license(),
        )
        .patch(
            "/keys/{id}",
            api_keys::change,
            op("changeApiKey", "Change an API key, wholly or not at all")
                .of::<LicenseId>()
                .body::<ChangeApiKey>()
                .answers::<ApiKey>(200),
        )
        .delete(
            "/keys/{id}",
            api_keys::delete,
            op("deleteApiKey", "Delete an API key").of::<LicenseId>(),
        )
}

fn of_keys(routes: Routes) -> Routes {
    let op = |id, summary| Operation::new(id, summary).scope(Scope::WriteKeys);
    let on_one = |id, summary| {
        let operation = op(id, summary).of::<ManagementKeyId>();
        operation.answers::<ManagementKey>(200)
    };
    routes
        .post(
            "/management-keys",
            keys::create,
            op(
                "createManagementKey",
                "Make a management key; it is shown this once",
            )
            .body::<CreateManagementKey>()
            .answers::<ManagementKey>(201)
            .once(),
        )
        .get(
            "/management-keys",
            keys::list,
            op("listManagementKeys", "List management keys, oldest first")
                .scope(Scope::ReadKeys)
                .query::<Page<ManagementKeyId>>()
                .answers::<List<ManagementKey>>(200)
                .of_one_license(),
        )
        .get(
            "/management-keys/{id}",
            keys::show,
            on_one("showManagementKey", "Show a management key")
                .scope(Scope::ReadKeys)
                .of_one_license(),
        )
        .patch(
            "/management-keys/{id}",
            keys::change,
            on_one("changeManagementKey", "Say from where a key may be used")
                .body::<ChangeManagementKey>(),
        )
        .post(
            "/management-keys/{id}/revoke",
            keys::revoke,
            on_one("revokeManagementKey", "End a management key").body::<Nothing>(),
        )
        .post(
            "/management-keys/{id}/rotate",
            keys::rotate,
            on_one(
                "rotateManagementKey",
                "Make a new key with the rights of another, which ends",
            )
            .body::<Rotate>()
            .once(),
        )
        .get(
            "/signing-keys",
            signing::list,
            op(
                "listSigningKeys",
                "List the keys that stamps and access tokens are signed with, oldest first",
            )
            .scope(Scope::ReadKeys)
            .query::<Page<SigningKeyId>>()
            .answers::<List<SigningKey>>(200),
        )
        .post(
            "/signing-keys/rotate",
            signing::rotate,
            op("rotateSigningKey", "Make a new signing key that takes over")
                .operator()
                .body::<RotateSigningKey>()
                .answers::<SigningKey>(201)
                .once(),
        )
        .post(
            "/keyring/rotate",
            signing::rotate_seal_key,
            op(
                "rotateSealKey",
                "Make the key that copies of keys are sealed with from now on",
            )
            .operator()
            .body::<Nothing>()
            .answers::<SealKey>(201)
            .once(),
        )
        .get(
            "/apps/{name}/credentials",
            app_credentials::show,
            op(
                "showAppCredentials",
                "Show the id and the public key of an app",
            )
            .scope(Scope::ReadKeys)
            .of::<AppName>()
            .answers::<AppCredentials>(200),
        )
        .post(
            "/apps/{name}/credentials",
            app_credentials::renew,
            op(
                "renewAppSecret",
                "Make a new secret of an app; it is shown this once",
            )
            .of::<AppName>()
            .body::<RenewAppSecret>()
            .answers::<AppCredentials>(201)
            .once(),
        )
        .post(
            "/accounts",
            accounts::create,
            op("createAccount", "Make an account")
                .operator()
                .body::<CreateAccount>()
                .answers::<Account>(201)
                .once(),
        )
}

fn of_records(routes: Routes) -> Routes {
    routes
        .get(
            "/usage",
            usage::usage,
            Operation::new("showUsage", "Sum up calls")
                .scope(Scope::ReadUsage)
                .query::<UsageParameters>()
                .answers::<Vec<UsageRow>>(200)
                .of_one_license(),
        )
        .get(
            "/calls",
            calls::calls,
            Operation::new("listCalls", "List the records of calls, oldest first")
                .scope(Scope::ReadCalls)
                .query::<CallQuery>()
                .answers::<List<Call>>(200)
                .streams(&["application/x-ndjson"])
                .of_one_license(),
        )
        .get(
            "/calls/closed",
            calls::follow,
            Operation::new(
                "followCalls",
                "List the records of calls that were closed since the page before, each exactly once",
            )
            .scope(Scope::ReadCalls)
            .query::<FollowQuery>()
            .answers::<FollowedCalls<Call>>(200)
            .of_one_license(),
        )
        .get(
            "/stamps",
            calls::stamps,
            Operation::new(
                "listStamps",
                "List the records of calls that were stamped, oldest first",
            )
            .scope(Scope::ReadCalls)
            .query::<CallQuery>()
            .answers::<List<Call>>(200)
            .streams(&["application/x-ndjson"])
            .of_one_license(),
        )
        .get(
            "/audit",
            audit::list,
            Operation::new("listAudit", "List who did what, oldest first")
                .scope(Scope::ReadAudit)
                .query::<AuditQuery>()
                .answers::<List<AuditLine>>(200),
        )
        .post(
            "/ledger/verify",
            ledger::verify,
            Operation::new("verifyLedger", "Count everything again")
                .operator()
                .body::<Nothing>()
                .answers::<Verification>(200),
        )
        .post(
            "/ledger/ship",
            ledger::ship,
            Operation::new(
                "shipLedger",
                "Bring in what is pending, or what a dead gate left",
            )
            .operator()
            .body::<Ship>()
            .answers::<Shipped>(200),
        )
        .post(
            "/ledger/rebuild",
            ledger::rebuild,
            Operation::new(
                "rebuildLedger",
                "Make rollups and manifest anew from the sealed files",
            )
            .operator()
            .body::<Nothing>()
            .answers::<Rebuilt>(200),
        )
        .get(
            "/ledger/export",
            ledger::export,
            Operation::new("exportLedger", "Write the records of calls to a stream")
                .operator()
                .query::<ExportQuery>()
                .streams(&[
                    "application/x-ndjson",
                    "text/csv",
                    "application/vnd.apache.parquet",
                ]),
        )
}

fn of_the_gate(routes: Routes) -> Routes {
    routes
        .get(
            "/accounts",
            accounts::list,
            Operation::new("listAccounts", "List accounts, by name")
                .query::<Page<AccountName>>()
                .answers::<List<Account>>(200),
        )
        .get(
            "/accounts/{name}",
            accounts::show,
            Operation::new("showAccount", "Show an account")
                .of::<AccountName>()
                .answers::<Account>(200),
        )
        .post(
            "/accounts/{name}/disable",
            accounts::disable,
            Operation::new(
                "disableAccount",
                "Switch an account off: its management keys open nothing",
            )
            .operator()
            .of::<AccountName>()
            .body::<Nothing>()
            .answers::<Account>(200),
        )
        .post(
            "/accounts/{name}/enable",
            accounts::enable,
            Operation::new("enableAccount", "Switch an account on again")
                .operator()
                .of::<AccountName>()
                .body::<Nothing>()
                .answers::<Account>(200),
        )
        .get(
            "/apps",
            directory::apps,
            Operation::new("listApps", "List the apps of the configuration, by name")
                .query::<Page<AppName>>()
                .answers::<List<App>>(200)
                .of_one_license(),
        )
        .get(
            "/apps/{name}",
            directory::app,
            Operation::new("showApp", "Show an app")
                .of::<AppName>()
                .answers::<App>(200)
                .of_one_license(),
        )
        .get(
            "/plans",
            directory::plans,
            Operation::new("listPlans", "List the plans of the configuration, by name")
                .query::<Page<PlanName>>()
                .answers::<List<Plan>>(200)
                .of_one_license(),
        )
        .get(
            "/status",
            directory::status,
            Operation::new("showStatus", "Show how the gate is").answers::<Status>(200),
        )
}
