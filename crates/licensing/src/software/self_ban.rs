//! The operation by which software that finds itself tampered with bans its device, its address and
//! its license.

use ipnet::IpNet;
use model::{AppName, AppSettings, DeviceId, LicenseId, LicenseStatus};

use crate::error::Error;
use crate::operations::AuditedLicensing;

/// A ban that software asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfBan<'a> {
    /// The app that is sold.
    pub app: &'a AppName,
    /// The license that the software runs by.
    pub license: LicenseId,
    /// Whether the license is disabled.
    pub revokes: bool,
    /// The device that is blocked; `None`: none.
    pub device: Option<&'a DeviceId>,
    /// The address that is blocked; `None`: none.
    pub network: Option<IpNet>,
}

impl AuditedLicensing {
    /// Carries out a ban: disables the license first, then blocks what is to be blocked. What cannot
    /// be done keeps nothing else from being done. A second time does nothing.
    ///
    /// # Errors
    /// The first thing that could not be done: there is no such license or app, a list is full, the
    /// device is too long for one, or the store fails.
    pub async fn self_ban(&self, ban: SelfBan<'_>) -> Result<(), Error> {
        let revoked = match ban.revokes {
            true => self.end(ban.license).await,
            false => Ok(()),
        };
        let blocked = match self.block(ban.app, ban.device, ban.network).await {
            // One of the two may fit.
            Err(Error::Invalid { .. }) if ban.device.is_some() && ban.network.is_some() => {
                let network = self.block(ban.app, None, ban.network).await;
                let device = self.block(ban.app, ban.device, None).await;
                device.and(network)
            }
            done => done,
        };
        revoked.and(blocked)
    }

    async fn end(&self, license: LicenseId) -> Result<(), Error> {
        match self.set_status(license, LicenseStatus::Disabled).await {
            // It was ended for good meanwhile, which is more.
            Ok(_) | Err(Error::LicenseRevoked(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn block(
        &self,
        app: &AppName,
        device: Option<&DeviceId>,
        network: Option<IpNet>,
    ) -> Result<(), Error> {
        let change = |settings: &mut AppSettings| {
            settings.security.block(device, network);
            Ok(())
        };
        self.change_app_settings(app, change).await.map(drop)
    }
}
