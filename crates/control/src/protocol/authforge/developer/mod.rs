//! The Developer API of AuthForge, `/v1/licenses…` and `/v1/apps/…`, by which sellers manage
//! licenses from their own servers.

mod answer;
mod apps;
mod body;
mod context;
mod idempotent;
mod licenses;
mod list;
mod offline_files;
mod pace;
mod record;
mod security;
mod variables;
mod webhooks;

use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};

use self::answer::Failure;
use self::context::Context;
use crate::http::fault::Fault;
use crate::http::services::Services;
use crate::protocol::{About, HeadCredential, Paths, Protocol};

/// The Developer API of AuthForge.
pub(crate) struct Developer;

impl Protocol for Developer {
    fn name(&self) -> &'static str {
        "authforge"
    }

    fn operations(&'static self, services: &Services) -> Paths {
        let paths = of_webhooks(of_apps(of_licenses(Paths::new())));
        paths.with_state(Context::new(services.clone()))
    }

    fn refuse(&self, fault: &Fault) -> Response {
        Failure::of_fault(fault).into_response()
    }
}

fn about(id: &'static str, summary: &'static str) -> About {
    About::new(id, summary).takes(HeadCredential::Bearer)
}

fn of_licenses(paths: Paths<Context>) -> Paths<Context> {
    use axum::http::Method;
    paths
        .serve(
            [Method::POST],
            "/v1/licenses",
            post(licenses::create).get(list::list),
            about("createLicenses", "Make licenses, all or none").body::<body::Create>(),
        )
        .describe(
            [Method::GET],
            "/v1/licenses",
            about("listLicenses", "List the licenses of an app")
                .query(&["appId", "limit", "cursor"]),
        )
        .serve(
            [Method::GET],
            "/v1/licenses/{key}",
            get(licenses::show)
                .put(licenses::change)
                .delete(licenses::delete),
            about("showLicense", "Show a license"),
        )
        .describe(
            [Method::PUT],
            "/v1/licenses/{key}",
            about("changeLicense", "Carry out an action on a license").body::<body::Change>(),
        )
        .describe(
            [Method::DELETE],
            "/v1/licenses/{key}",
            about("deleteLicense", "End a license for ever"),
        )
        .serve(
            [Method::GET],
            "/v1/licenses/{key}/variables",
            get(variables::of_license).put(variables::put_license),
            about("showLicenseVariables", "Show the variables of a license"),
        )
        .describe(
            [Method::PUT],
            "/v1/licenses/{key}/variables",
            about("putLicenseVariables", "Replace the variables of a license")
                .body::<model::Variables>(),
        )
        .serve(
            [Method::POST],
            "/v1/licenses/{key}/offline-files",
            post(offline_files::mint).get(offline_files::list),
            about(
                "mintOfflineFile",
                "Make a file by which software runs without a connection",
            )
            .body::<body::Mint>(),
        )
        .describe(
            [Method::GET],
            "/v1/licenses/{key}/offline-files",
            about("listOfflineFiles", "List the files that were made").query(&["limit", "cursor"]),
        )
        // A key that stands in a path of nothing is not repeated to whoever asked.
        .hidden("/v1/licenses/", any(context::nothing))
        .hidden("/v1/licenses/{key}/", any(context::nothing))
        .hidden("/v1/licenses/{key}/{*rest}", any(context::nothing))
}

fn of_apps(paths: Paths<Context>) -> Paths<Context> {
    use axum::http::Method;
    paths
        .serve(
            [Method::GET],
            "/v1/apps/{app}",
            get(apps::show).put(apps::change),
            about(
                "showSoftwareApp",
                "Show an app, with the public keys of its signatures",
            ),
        )
        .describe(
            [Method::PUT],
            "/v1/apps/{app}",
            about(
                "changeSoftwareApp",
                "Switch the software of an app off or on",
            )
            .body::<body::ChangeApp>(),
        )
        .serve(
            [Method::GET],
            "/v1/apps/{app}/variables",
            get(variables::of_app).put(variables::put_app),
            about("showAppVariables", "Show the variables of an app"),
        )
        .describe(
            [Method::PUT],
            "/v1/apps/{app}/variables",
            about("putAppVariables", "Replace the variables of an app").body::<model::Variables>(),
        )
        .serve(
            [Method::GET],
            "/v1/apps/{app}/security",
            get(security::show).put(security::put),
            about(
                "showSecurityLists",
                "Show the lists of devices and addresses of an app",
            ),
        )
        .describe(
            [Method::PUT],
            "/v1/apps/{app}/security",
            about(
                "putSecurityLists",
                "Replace lists of devices and addresses of an app",
            )
            .body::<body::PutLists>(),
        )
        .post(
            "/v1/apps/{app}/security/blacklist",
            post(security::block),
            about("blockOne", "Block a device or an address").body::<body::Block>(),
        )
        .post(
            "/v1/apps/{app}/reset-hwid",
            post(apps::reset),
            about("resetDevices", "Free the devices of all licenses of an app"),
        )
}

fn of_webhooks(paths: Paths<Context>) -> Paths<Context> {
    use axum::http::Method;
    paths
        .serve(
            [Method::POST],
            "/v1/apps/{app}/webhooks",
            post(webhooks::create).get(webhooks::list),
            about(
                "createAppWebhook",
                "Register a receiver of the events of an app",
            )
            .body::<body::CreateWebhook>(),
        )
        .describe(
            [Method::GET],
            "/v1/apps/{app}/webhooks",
            about(
                "listAppWebhooks",
                "List the receivers of the events of an app",
            ),
        )
        .serve(
            [Method::PUT],
            "/v1/apps/{app}/webhooks/{webhook}",
            axum::routing::put(webhooks::change).delete(webhooks::delete),
            about("changeAppWebhook", "Change a receiver").body::<body::ChangeWebhook>(),
        )
        .describe(
            [Method::DELETE],
            "/v1/apps/{app}/webhooks/{webhook}",
            about("deleteAppWebhook", "Remove a receiver"),
        )
        .post(
            "/v1/apps/{app}/webhooks/{webhook}/test",
            post(webhooks::test),
            about("testAppWebhook", "Send a test event to a receiver"),
        )
}
