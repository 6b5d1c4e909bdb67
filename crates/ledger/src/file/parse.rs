//! The parser that makes rows of unpacked columns.

use std::net::IpAddr;

use model::{
    CallHead, CallId, CallRecord, CallTail, CallerPlace, CredentialId, Currency, LicenseId, Method,
    Mode, Outcome, Refusal, Symbol, Timestamp, UnreadableUnits,
};
use parquet::data_type::ByteArray;

use super::amount;
use super::read::Chunk;
use super::text::Parsed;
use crate::names::Names;
use crate::row::Row;

/// A parser that turns values of columns into rows; texts are parsed once.
pub(super) struct Parser<'a> {
    names: &'a Names,
    licenses: Parsed<LicenseId>,
    apps: Parsed<u32>,
    routes: Parsed<u32>,
    plans: Parsed<u32>,
    methods: Parsed<Method>,
    outcomes: Parsed<Outcome>,
    modes: Parsed<Mode>,
    currencies: Parsed<Currency>,
    credentials: Parsed<CredentialId>,
    units: Parsed<u32>,
    /// A buffer for two texts that name one thing together.
    pair: Vec<u8>,
}

/// The byte between the parts of a pair; no name holds it.
const SEPARATOR: u8 = b'\t';

impl<'a> Parser<'a> {
    pub(super) fn new(names: &'a Names) -> Self {
        Self {
            names,
            licenses: Parsed::new(),
            apps: Parsed::new(),
            routes: Parsed::new(),
            plans: Parsed::new(),
            methods: Parsed::new(),
            outcomes: Parsed::new(),
            modes: Parsed::new(),
            currencies: Parsed::new(),
            credentials: Parsed::new(),
            units: Parsed::new(),
            pair: Vec::new(),
        }
    }

    /// Returns row `index` of a chunk.
    ///
    /// # Errors
    /// Names the column whose value means nothing.
    pub(super) fn row(&mut self, chunk: &Chunk, index: usize) -> Result<Row, String> {
        let text = |column: usize| chunk.required[column][index].data();
        let optional = |column: usize| chunk.optional.get(column)?[index].as_ref();
        let long = |column: usize| chunk.long[column][index];
        let count =
            |column: usize| u64::try_from(long(column)).map_err(|_| bad("a count below zero"));
        let small = |column: usize| chunk.small[column][index];
        let flag = |column: usize| chunk.flags[column][index];
        let call_id: [u8; 16] = chunk.call_ids[index]
            .data()
            .try_into()
            .map_err(|_| bad("call_id"))?;
        let status = u16::try_from(small(0)).map_err(|_| bad("status"))?;
        let head = CallHead {
            call_id: CallId::from_u128(u128::from_be_bytes(call_id)),
            license_id: self.license(optional(0))?,
            app: self.app(text(0), text(1))?,
            route: self.route(text(2))?,
            plan: self.plan(optional(2), optional(3))?,
            method: known(&mut self.methods, text(3), Method::parse, "method")?,
            mode: known(&mut self.modes, text(5), Mode::parse, "mode")?,
            status,
            started_at: Timestamp::from_micros(long(0)),
            reserved: 0,
            epoch: small(2).cast_unsigned(),
            test: flag(0),
            billable_status: flag(1),
            bills_interrupted: false,
            limited: flag(2),
            windowed: flag(3),
            idempotency: long(8).cast_unsigned(),
            keeps_units: false,
            credential_id: self.credential(optional(5))?,
            caller: caller(optional(6), optional(7))?,
            correction_of: correction(chunk, index)?,
            unit: self.unit(optional(8))?,
        };
        let tail = CallTail {
            outcome: known(&mut self.outcomes, text(4), Outcome::parse, "outcome")?,
            billable: flag(1),
            attempts: u8::try_from(small(1)).map_err(|_| bad("attempts"))?,
            refusal: optional(4).and_then(|code| refusal(code.data(), status)),
            calls: u32::try_from(long(3)).map_err(|_| bad("calls"))?,
            units: count(1)?,
            spent: count(2)?,
            request_bytes: count(4)?,
            response_bytes: count(5)?,
            duration_us: count(6)?,
            upstream_us: count(7)?,
            payer: bits(optional(9), "payer")?,
            settlement_id: bits(optional(10), "settlement_id")?,
            grpc_status: grpc_status(chunk, index)?,
            units_unreadable: unreadable(optional(11))?,
        };
        Ok(Row {
            number: count(9)?,
            record: CallRecord { head, tail },
            amount: amount::money_of(chunk.amounts[index]).ok_or_else(|| bad("amount"))?,
            currency: self.currency(optional(1))?,
            source: 0,
        })
    }

    fn license(&mut self, text: Option<&ByteArray>) -> Result<Option<LicenseId>, String> {
        let Some(text) = text else { return Ok(None) };
        let parse = |text: &str| text.parse().ok();
        known(&mut self.licenses, text.data(), parse, "license_id").map(Some)
    }

    fn currency(&mut self, text: Option<&ByteArray>) -> Result<Option<Currency>, String> {
        let Some(text) = text else { return Ok(None) };
        let parse = |text: &str| text.parse().ok();
        known(&mut self.currencies, text.data(), parse, "currency").map(Some)
    }

    fn credential(&mut self, text: Option<&ByteArray>) -> Result<Option<CredentialId>, String> {
        let Some(text) = text else { return Ok(None) };
        let parse = |text: &str| text.parse().ok();
        known(&mut self.credentials, text.data(), parse, "credential_id").map(Some)
    }

    fn unit(&mut self, word: Option<&ByteArray>) -> Result<u32, String> {
        let Some(word) = word else {
            return Ok(Symbol::NONE);
        };
        let names = self.names;
        let parse = |word: &str| Some(names.intern(&Symbol::Unit(word.to_owned())));
        known(&mut self.units, word.data(), parse, "unit")
    }

    fn app(&mut self, account: &[u8], app: &[u8]) -> Result<u32, String> {
        self.join(account, app);
        let names = self.names;
        let parse = |pair: &str| {
            let (account, app) = pair.split_once(char::from(SEPARATOR))?;
            Some(names.intern(&Symbol::App {
                account: account.parse().ok()?,
                app: app.parse().ok()?,
            }))
        };
        known(&mut self.apps, &self.pair, parse, "app")
    }

    fn route(&mut self, path: &[u8]) -> Result<u32, String> {
        let names = self.names;
        let parse = |path: &str| Some(names.intern(&Symbol::Route(path.to_owned())));
        known(&mut self.routes, path, parse, "route")
    }

    fn plan(
        &mut self,
        name: Option<&ByteArray>,
        revision: Option<&ByteArray>,
    ) -> Result<u32, String> {
        let (Some(name), Some(revision)) = (name, revision) else {
            return Ok(Symbol::NONE);
        };
        self.join(name.data(), revision.data());
        let names = self.names;
        let parse = |pair: &str| {
            let (name, revision) = pair.split_once(char::from(SEPARATOR))?;
            Some(names.intern(&Symbol::Plan {
                name: name.parse().ok()?,
                revision: revision.parse().ok()?,
            }))
        };
        known(&mut self.plans, &self.pair, parse, "plan")
    }

    fn join(&mut self, first: &[u8], second: &[u8]) {
        self.pair.clear();
        self.pair.extend_from_slice(first);
        self.pair.push(SEPARATOR);
        self.pair.extend_from_slice(second);
    }
}

fn bad(column: &str) -> String {
    format!("a row has no valid {column}")
}

fn known<T: Copy>(
    parsed: &mut Parsed<T>,
    text: &[u8],
    parse: impl FnOnce(&str) -> Option<T>,
    column: &str,
) -> Result<T, String> {
    parsed.get(text, parse).ok_or_else(|| bad(column))
}

/// Parses sixteen bytes in hexadecimal digits.
fn bits(text: Option<&ByteArray>, column: &str) -> Result<Option<u128>, String> {
    let Some(text) = text else { return Ok(None) };
    let digits = std::str::from_utf8(text.data()).ok();
    let digits = digits.filter(|digits| digits.len() == 32);
    let bits = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
    bits.map(Some).ok_or_else(|| bad(column))
}

fn caller(
    network: Option<&ByteArray>,
    hash: Option<&ByteArray>,
) -> Result<Option<CallerPlace>, String> {
    let Some(network) = network else {
        return Ok(bits(hash, "caller_hash")?.map(CallerPlace::Hash));
    };
    let address = std::str::from_utf8(network.data()).ok();
    let address: Option<IpAddr> = address.and_then(|text| text.parse().ok());
    let bits = match address.ok_or_else(|| bad("caller_network"))? {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    };
    Ok(Some(CallerPlace::Network(bits)))
}

fn correction(chunk: &Chunk, index: usize) -> Result<Option<CallId>, String> {
    let Some(Some(id)) = chunk.corrections.get(index) else {
        return Ok(None);
    };
    let id: [u8; 16] = id.data().try_into().map_err(|_| bad("correction_of"))?;
    Ok(Some(CallId::from_u128(u128::from_be_bytes(id))))
}

fn grpc_status(chunk: &Chunk, index: usize) -> Result<Option<u8>, String> {
    let Some(Some(status)) = chunk.grpc_statuses.get(index) else {
        return Ok(None);
    };
    u8::try_from(*status)
        .map(Some)
        .map_err(|_| bad("grpc_status"))
}

fn unreadable(word: Option<&ByteArray>) -> Result<Option<UnreadableUnits>, String> {
    let Some(word) = word else { return Ok(None) };
    let reason = std::str::from_utf8(word.data()).ok();
    let reason = reason.and_then(UnreadableUnits::parse);
    reason.map(Some).ok_or_else(|| bad("units_unreadable"))
}

/// Returns the refusal of a code. Two refusals share one code and differ in their status.
fn refusal(code: &[u8], status: u16) -> Option<Refusal> {
    let same = |refusal: &&Refusal| refusal.code().as_bytes() == code;
    let mut all = Refusal::ALL.iter().filter(same);
    let exact = all.clone().find(|refusal| refusal.status() == status);
    exact.or_else(|| all.next()).copied()
}
