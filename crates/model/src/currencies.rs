//! The currencies that can be paid in (ISO 4217, as of 2026), with the digits of their smallest
//! payable unit.
//!
//! A [`Currency`] read from a store may be one that is no longer in this list: its books stay
//! readable. A currency that a file or a request names must be in it.

use crate::money::Currency;

/// The payable currencies by their digits after the point. The codes of ISO 4217 that nobody pays
/// with are not among them: precious metals, units of account between banks, `XTS` for tests and
/// `XXX` for no currency.
const PAYABLE: [(u32, &str); 4] = [
    (
        0,
        "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    ),
    (
        2,
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP COU \
         CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES \
         KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR \
         NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP \
         TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG",
    ),
    (3, "BHD IQD JOD KWD LYD OMR TND"),
    (4, "CLF UYW"),
];

impl Currency {
    /// Returns the digits after the point of the smallest payable unit; `None` if nobody pays with
    /// the currency, or not any more.
    #[must_use]
    pub fn minor_digits(&self) -> Option<u32> {
        let has = |codes: &str| codes.split(' ').any(|code| code == self.as_str());
        let found = PAYABLE.iter().find(|(_, codes)| has(codes));
        found.map(|(digits, _)| *digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_digits_and_what_nobody_pays_with_has_none() {
        let digits = |code: &str| code.parse::<Currency>().expect("letters").minor_digits();
        for (code, expected) in [("JPY", 0), ("EUR", 2), ("INR", 2), ("KWD", 3), ("CLF", 4)] {
            assert_eq!(digits(code), Some(expected), "{code}");
        }
        for code in ["XXX", "XTS", "XAU", "XDR", "AAA", "EUX"] {
            assert_eq!(digits(code), None, "{code}");
        }
    }

    #[test]
    fn every_code_is_one_and_stands_in_the_list_once() {
        let codes = || PAYABLE.iter().flat_map(|(_, codes)| codes.split(' '));
        let all: std::collections::HashSet<&str> = codes().collect();
        assert_eq!(all.len(), codes().count());
        assert!(codes().all(|code| code.parse::<Currency>().is_ok()));
    }
}
