//! The handlers of the lists of devices and addresses that software may or may not be used from.

use api_types::Scope;
use axum::Json;
use axum::http::StatusCode;
use ipnet::IpNet;
use model::{AppSettings, DeviceId, SecurityLists};
use serde_json::{Value, json};

use super::answer::Failure;
use super::body::{Block, PutLists};
use super::context::Asked;
use crate::http::field::Text;

/// Shows the lists of an app.
pub(super) async fn show(asked: Asked) -> Result<Json<Value>, Failure> {
    asked.requires(Scope::ReadLicenses)?;
    asked.requires_more_than_one_license()?;
    let app = asked.app().await?;
    Ok(Json(shown(&app.settings.security)))
}

/// Replaces the lists of an app that are given.
pub(super) async fn put(asked: Asked) -> Result<Json<Value>, Failure> {
    asked.requires(Scope::WriteLicenses)?;
    asked.requires_more_than_one_license()?;
    let app = asked.app().await?;
    let lists: PutLists = asked.content()?;
    let networks =
        |field, given: Option<Vec<_>>| given.map(|texts| networks(field, texts)).transpose();
    let blocked = networks("ipBlacklist", lists.ip_blacklist)?;
    let allowed = networks("ipWhitelist", lists.ip_whitelist)?;
    let change = |settings: &mut AppSettings| {
        let own = &mut settings.security;
        put_if_given(&mut own.blocked_devices, lists.hwid_blacklist.as_ref());
        put_if_given(&mut own.allowed_devices, lists.hwid_whitelist.as_ref());
        put_if_given(&mut own.blocked_networks, blocked.as_ref());
        put_if_given(&mut own.allowed_networks, allowed.as_ref());
        Ok(())
    };
    let app = asked.acting().change_app_settings(&app.app, change).await?;
    Ok(Json(shown(&app.settings.security)))
}

/// Adds a device or an address to those that are blocked. A second time does nothing.
pub(super) async fn block(asked: Asked) -> Result<(StatusCode, Json<Value>), Failure> {
    asked.requires(Scope::WriteLicenses)?;
    asked.requires_more_than_one_license()?;
    let app = asked.app().await?;
    let block: Block = asked.content()?;
    let (device, net) = match block.kind.as_str() {
        "hwid" => {
            let device = block.value.parse::<DeviceId>();
            let device = device.map_err(|error| Failure::invalid("value", error))?;
            (Some(device), None)
        }
        "ip" => (None, Some(network("value", &block.value)?)),
        _ => return Err(Failure::invalid("type", "send `hwid` or `ip`")),
    };
    let change = |settings: &mut AppSettings| {
        settings.security.block(device.as_ref(), net);
        Ok(())
    };
    let app = asked.acting().change_app_settings(&app.app, change).await?;
    Ok((StatusCode::CREATED, Json(shown(&app.settings.security))))
}

fn put_if_given<T: Clone>(list: &mut Vec<T>, given: Option<&Vec<T>>) {
    if let Some(given) = given {
        list.clone_from(given);
    }
}

fn networks(field: &str, texts: Vec<Text<1, 45>>) -> Result<Vec<IpNet>, Failure> {
    texts.iter().map(|text| network(field, text)).collect()
}

fn network(field: &str, text: &str) -> Result<IpNet, Failure> {
    let network = model::parse_network(text.trim());
    network.map_err(|error| Failure::invalid(field, error))
}

fn shown(lists: &SecurityLists) -> Value {
    // An address is shown as it was written, not as a network of one.
    let text = |net: &IpNet| match net.prefix_len() == net.max_prefix_len() {
        true => net.addr().to_string(),
        false => net.to_string(),
    };
    let texts = |nets: &[IpNet]| nets.iter().map(text).collect::<Vec<_>>();
    json!({
        "hwidBlacklist": lists.blocked_devices,
        "hwidWhitelist": lists.allowed_devices,
        "ipBlacklist": texts(&lists.blocked_networks),
        "ipWhitelist": texts(&lists.allowed_networks),
    })
}
