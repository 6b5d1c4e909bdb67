//! Masks for credentials in messages. Errors and logs repeat texts of callers, but must not repeat
//! a key.
//!
//! Every message for people passes [`masked`] where it leaves the program. A text of a caller that
//! is cut short for a message passes [`quoted`], since half a key is recognised less well than a
//! whole one, and may be enough for whoever finds it.

use std::borrow::Cow;
use std::ops::Range;

/// The sign in place of a part that is not shown.
const HIDDEN: char = '…';
/// Masks the credentials in a text, of all kinds that are known by their format. The first
/// characters of each stay, as lists show them too. Identifiers are not credentials and stay.
#[must_use]
pub fn masked(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut hide = |from: usize, to: usize| {
        out.push_str(&text[copied..from]);
        out.push(HIDDEN);
        copied = to;
    };
    let mut at = 0;
    while let Some(begins) = text[at..].find(is_of_word) {
        let from = at + begins;
        let length = text[from..].find(|c| !is_of_word(c));
        let to = length.map_or(text.len(), |length| from + length);
        at = to;
        if let Some(password) = password(text, to) {
            at = password.end;
            hide(password.start, password.end);
        } else if let Some(secret) = secret(&text[from..to]) {
            hide(from + secret.start, from + secret.end);
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Returns the beginning of a caller's text for a message: masked, and at most `max` characters.
#[must_use]
pub fn quoted(text: &str, max: usize) -> String {
    masked(text).chars().take(max).collect()
}

/// Returns a text that stands in place of an identifier. Of a text that is not an identifier it
/// returns the beginning, since a key of any format may have been put there.
#[must_use]
pub fn beginning(text: &str) -> String {
    if is_id(text) {
        return text.to_owned();
    }
    let mut rest = text.chars();
    let mut beginning: String = rest.by_ref().take(4).collect();
    if rest.next().is_some() {
        beginning.push(HIDDEN);
    }
    beginning
}

const fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Returns the range of the credential in a word that may not be shown.
fn secret(word: &str) -> Option<Range<usize>> {
    // A full stop may end the sentence rather than the word.
    let word = word.trim_end_matches(['.', '-']);
    let end = word.len();
    let hex = |byte: u8| byte.is_ascii_hexdigit();
    let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    if is_id(word) {
        return None;
    }
    if let Some(at) = word.find("tg_")
        && starts(&word[at + 3..], 5, |byte| byte.is_ascii_alphanumeric())
    {
        return Some(at + 7..end);
    }
    for (prefix, least) in [
        ("rt_", 8),
        ("agt_", 8),
        ("art_", 8),
        ("whsec_", 8),
        ("eyJ", 12),
    ] {
        let rest = word.strip_prefix(prefix);
        let within = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if rest.is_some_and(|rest| starts(rest, least, within)) {
            return Some(prefix.len()..end);
        }
    }
    if begins_grouped(word, &[8, 4, 4], hex) && !is_call_id(word) {
        return Some(4..end);
    }
    // Small letters are taken for capitals where such a key is presented; a name of four words has
    // no digits.
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    let of_key = |byte: u8| upper(byte) || (has_digit && byte.is_ascii_lowercase());
    if end == 19 && begins_grouped(word, &[4, 4, 4, 4], of_key) {
        return Some(4..end);
    }
    random_letters(word)
}

/// Returns whether a text begins with at least `least` bytes of a kind.
fn starts(text: &str, least: usize, within: impl Fn(u8) -> bool) -> bool {
    text.bytes().take_while(|byte| within(*byte)).count() >= least
}

/// Returns whether a word begins with groups of these lengths between hyphens.
fn begins_grouped(word: &str, lengths: &[usize], within: impl Fn(u8) -> bool) -> bool {
    let mut groups = word.split('-');
    lengths.iter().all(|length| {
        let of = |group: &str| group.len() == *length && group.bytes().all(&within);
        groups.next().is_some_and(of)
    })
}

/// Returns whether a word is one of our identifiers: a prefix and 32 hexadecimal digits.
fn is_id(word: &str) -> bool {
    word.split_once('_').is_some_and(|(prefix, digits)| {
        (3..=4).contains(&prefix.len())
            && prefix.bytes().all(|byte| byte.is_ascii_lowercase())
            && digits.len() == 32
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Returns whether a word is the id of a call: a UUID of version 7. The keys that we make are of
/// version 4.
fn is_call_id(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() == 36
        && begins_grouped(word, &[8, 4, 4, 4, 12], |byte| byte.is_ascii_hexdigit())
        && bytes[14] == b'7'
        && matches!(bytes[19], b'8' | b'9' | b'a' | b'b')
}

/// Finds a run of random letters and digits, as in API keys. Random text changes between small
/// letters, capitals and digits at every second character, names of several words seldom.
fn random_letters(word: &str) -> Option<Range<usize>> {
    const MIN_LENGTH: usize = 16;
    const LONG: usize = 32;
    let mut start = 0;
    for run in word.split(['_', '-', '.']) {
        let bytes = run.as_bytes();
        let kind = |byte: u8| (byte.is_ascii_uppercase(), byte.is_ascii_digit());
        let changes = bytes
            .windows(2)
            .filter(|pair| kind(pair[0]) != kind(pair[1]));
        let changes = changes.count();
        let both = run.contains(|c: char| c.is_ascii_uppercase())
            && run.contains(|c: char| c.is_ascii_lowercase());
        let random = match run.len() {
            ..MIN_LENGTH => false,
            MIN_LENGTH..LONG => changes * 5 >= run.len() * 2,
            // Of 64 random letters 32 change; none of millions of keys had fewer than 11 changes.
            _ => changes * 6 >= run.len(),
        };
        if random && both {
            return Some(start + 4..start + run.len());
        }
        start += run.len() + 1;
    }
    None
}

/// Returns the password of a URL whose scheme ends at `at`. It reaches to the last `@`, since a
/// password that is not encoded may hold others.
fn password(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text[at..].strip_prefix("://")?;
    let over = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>');
    let url = rest.split(over).next()?;
    let user = &url[..url.rfind('@')?];
    let colon = user.find(':')?;
    // In `//host:8080/path@x` a port stands there.
    let host = &user[colon + 1..];
    if let Some((port, _)) = host.split_once('/')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let start = at + "://".len();
    (colon + 1 < user.len()).then(|| start + colon + 1..start + user.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Credential, KeyFormat, LicenseId, RefreshToken};

    /// Returns a credential of each kind that can be known by its format.
    fn credentials() -> Vec<String> {
        let made = [
            KeyFormat::Tallygate,
            KeyFormat::Uuid,
            KeyFormat::Apifew,
            KeyFormat::Authforge,
        ];
        let made = made.map(Credential::generate);
        let letters =
            ["", "pk_", "sk_live_"].map(|prefix| Credential::generate_letters(prefix, 64));
        let made = made
            .iter()
            .chain(&letters)
            .map(|key| key.expose().to_owned());
        let token =
            "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl-_abcdefgh";
        let others = [
            RefreshToken::generate().expose().to_owned(),
            token.to_owned(),
        ];
        made.chain(others).collect()
    }

    #[test]
    fn every_kind_of_credential_is_masked_wherever_it_stands() {
        for _ in 0..200 {
            for key in credentials() {
                for text in [
                    key.clone(),
                    format!("there is no license `{key}`."),
                    format!("/licenses/{key}/revoke?key={key}&x=1"),
                    format!("{{\"key\":\"{key}\"}} é{key}é Bearer {key}."),
                ] {
                    let masked = masked(&text);
                    let shown = &key[..key.len().min(14)];
                    assert!(!masked.contains(shown), "{text}: {masked}");
                    assert!(masked.contains(HIDDEN), "{text}: {masked}");
                }
                let cut = quoted(&key, 20);
                assert!(!cut.contains(&key[..14]), "{key}: {cut}");
            }
        }
    }

    #[test]
    fn a_key_of_authforge_in_small_letters_is_masked_and_four_words_are_not() {
        let text = "there is no license `a3k9-bfwx-7np2-qhdt`";
        assert_eq!(masked(text), "there is no license `a3k9…`");
        assert_eq!(masked("some-name-like-this"), "some-name-like-this");
    }

    #[test]
    fn what_is_no_credential_stays() {
        let id = LicenseId::generate();
        for text in [
            "there is no app `sample`: `tallygate app list` shows those of the configuration",
            "`rateLimitTimeWindow`: missing field `refillInterval`, INTERNAL_SERVER_ERROR_OF_THIS",
            "2026-11-29T06:00:00.000001Z, 192.0.2.0/24, http://127.0.0.1:8081/api/v1?x=a@b",
            "0198c0de-0000-7000-8000-000000000001",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "tg_ and rt_ begin keys, `tg_1` is none; é 日本語",
            &format!("there is no license {id}."),
        ] {
            assert_eq!(masked(text), text);
        }
    }

    #[test]
    fn passwords_in_urls_are_masked() {
        for (url, shown) in [
            (
                "postgres://u:p@ss/w#rd@db:5432/x",
                "postgres://u:…@db:5432/x",
            ),
            (
                "`redis://:geheim@[::1]:6379` is down",
                "`redis://:…@[::1]:6379` is down",
            ),
            ("http://user@host/a:b", "http://user@host/a:b"),
        ] {
            assert_eq!(masked(url), shown);
        }
    }

    #[test]
    fn what_stands_in_the_place_of_an_id_shows_its_beginning() {
        assert_eq!(beginning("legacy-key-0001"), "lega…");
        assert_eq!(beginning("ab"), "ab");
        assert_eq!(beginning("日本語です"), "日本語で…");
    }
}
