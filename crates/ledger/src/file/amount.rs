//! The encoding of amounts in files: decimal(38, 9), sixteen bytes in big-endian two's complement
//! (Parquet, "DECIMAL").

use model::Money;

/// Returns the bytes of an amount.
pub(crate) fn bytes_of(amount: Money) -> [u8; 16] {
    amount.nanos().to_be_bytes()
}

/// Returns the 10⁻⁹ of the major unit that bytes stand for; `None` if they are not sixteen.
pub(crate) fn nanos_of(bytes: &[u8]) -> Option<i128> {
    bytes.try_into().ok().map(i128::from_be_bytes)
}

/// Returns the amount of a number of 10⁻⁹; `None` beyond what [`Money`] holds.
pub(crate) fn money_of(nanos: i128) -> Option<Money> {
    let amount = Money::from_nanos(nanos);
    (amount.nanos() == nanos).then_some(amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_back_and_their_bytes_begin_with_the_sign() {
        for nanos in [
            0,
            1,
            -1,
            12_500_000,
            i128::from(i64::MIN),
            Money::MAX.nanos(),
        ] {
            let amount = Money::from_nanos(nanos);
            let bytes = bytes_of(amount);
            assert_eq!(nanos_of(&bytes).and_then(money_of), Some(amount));
            assert_eq!(bytes[0], if nanos < 0 { 0xff } else { 0 });
        }
        assert_eq!(bytes_of(Money::from_nanos(258))[14..], [1, 2]);
        assert_eq!(nanos_of(&[1, 2, 3]), None);
        assert_eq!(money_of(i128::MAX), None);
    }
}
