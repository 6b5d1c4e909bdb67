//! Armor: base64 between two marked lines, perhaps after headers, as files travel in mails.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The width of a line of base64.
const WIDTH: usize = 64;

/// A block of armor that was read.
#[derive(PartialEq, Eq)]
pub(super) struct Block<'a> {
    /// The headers, in their order.
    headers: Vec<(&'a str, &'a str)>,
    /// The base64 between headers and end, without blanks.
    pub(super) base64: String,
}

/// Writes a block: marked lines around headers and a blank line, if there are any, and base64 in
/// lines of 64 characters.
pub(super) fn write(kind: &str, headers: &[(&str, &str)], base64: &str) -> String {
    let mut text = begin(kind);
    text.push('\n');
    for (name, value) in headers {
        text.extend([name, ": ", value, "\n"]);
    }
    if !headers.is_empty() {
        text.push('\n');
    }
    let mut rest = base64;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(WIDTH.min(rest.len()));
        text.extend([line, "\n"]);
        rest = after;
    }
    text.push_str(&end(kind));
    text.push('\n');
    text
}

/// Returns whether a text holds the beginning of a block of this kind.
pub(super) fn is_there(kind: &str, text: &str) -> bool {
    let begin = begin(kind);
    lines(text).any(|line| line == begin)
}

/// Reads the first block of this kind with headers in a text. Ends of lines of any system, blanks
/// around lines, a byte order mark, other widths, and text before and after are all the same.
pub(super) fn read<'a>(kind: &str, text: &'a str) -> Option<Block<'a>> {
    let (begin, end) = (begin(kind), end(kind));
    let mut lines = lines(text).skip_while(|line| *line != begin).skip(1);
    let mut headers = Vec::new();
    loop {
        match lines.next()? {
            "" => break,
            line => {
                let (name, value) = line.split_once(':')?;
                headers.push((name.trim(), value.trim()));
            }
        }
    }
    let mut base64 = String::new();
    loop {
        let line = lines.next()?;
        if line == end {
            return Some(Block { headers, base64 });
        }
        base64.extend(line.split_ascii_whitespace());
    }
}

/// Returns the lines of a text, whichever system ended them, without blanks around them.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim_start_matches('\u{feff}');
    let lines = text.split('\n');
    // A line that ends in `\r\n` is one, and so is one that ends in `\r` alone.
    lines
        .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
        .map(str::trim)
}

fn begin(kind: &str) -> String {
    format!("-----BEGIN AUTHFORGE {kind}-----")
}

fn end(kind: &str) -> String {
    format!("-----END AUTHFORGE {kind}-----")
}

impl Block<'_> {
    /// Returns the value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| *value)
    }

    /// Returns what the base64 holds.
    pub(super) fn content(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.base64).ok()
    }
}
