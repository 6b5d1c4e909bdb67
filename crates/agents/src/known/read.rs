//! Reading of a file of known agents.

use std::collections::HashSet;
use std::ops::Range;
use std::str::FromStr;

use model::agent::Purpose;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Act, KnownAgent, KnownAgents, Vat, Verifiable};
use crate::directory_url::{DirectoryUrl, DirectoryUrlError};
use crate::recognize::stands_in;

/// The reason why a file of known agents is not taken. Shown as `FILE:LINE: message`. Blame: who
/// wrote the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct KnownAgentsError {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// A sentence that names the field and what would work.
    pub message: String,
}

/// A problem and where it stands.
struct Problem {
    at: Range<usize>,
    message: String,
}

/// A table `[[agent]]` that is being read.
struct Entry<'t> {
    table: &'t DeTable<'t>,
    at: Range<usize>,
}

type Value<'t> = Spanned<DeValue<'t>>;

const KEYS: [&str; 9] = [
    "operator",
    "agent",
    "purpose",
    "page",
    "verify",
    "directory",
    "patterns",
    "vat",
    "act",
];
const MAX_PAGE_BYTES: usize = 1_024;
/// User agents of people: a pattern that stands in one of them would take people for an agent.
const PEOPLE: [&str; 6] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 26_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 16; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 OPR/124.0.0.0",
    "Mozilla/5.0 (iPad; CPU OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0 FxiOS/145.0 Mobile/15E148",
];

/// Reads all agents of a file.
pub(super) fn agents(file: &str, text: &str) -> Result<Vec<KnownAgent>, KnownAgentsError> {
    read(text).map_err(|problem| KnownAgentsError {
        file: file.to_owned(),
        line: 1 + text[..problem.at.start.min(text.len())]
            .matches('\n')
            .count(),
        message: problem.message,
    })
}

fn problem(at: Range<usize>, message: impl Into<String>) -> Problem {
    Problem {
        at,
        message: message.into(),
    }
}

fn read(text: &str) -> Result<Vec<KnownAgent>, Problem> {
    if text.len() > KnownAgents::MAX_FILE_BYTES {
        let max = KnownAgents::MAX_FILE_BYTES;
        let message = format!("the file has {} bytes, at most {max} are read", text.len());
        return Err(problem(0..0, message));
    }
    let root = DeTable::parse(text).map_err(|error| {
        let reason = error.message().trim().replace('\n', ", ");
        let message = format!(
            "this is no TOML ({reason}): write keys as `key = \"value\"` below a line `[[agent]]`"
        );
        problem(error.span().unwrap_or(0..0), message)
    })?;
    let list = tables(root.get_ref())?;
    let mut taken = HashSet::new();
    let items = list.get_ref().as_array().into_iter().flatten();
    let entries = items.map(|value| {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(problem(
                value.span(),
                "`agent` must be tables: write `[[agent]]`",
            ));
        };
        let at = value.span();
        Entry { table, at }.agent(&mut taken)
    });
    let agents: Vec<KnownAgent> = entries.collect::<Result<_, _>>()?;
    let patterns: usize = agents.iter().map(|agent| agent.patterns.len()).sum();
    if patterns > KnownAgents::MAX_ALL_PATTERNS {
        let max = KnownAgents::MAX_ALL_PATTERNS;
        let message =
            format!("the agents have {patterns} `patterns` together, at most {max} are allowed");
        return Err(problem(list.span(), message));
    }
    Ok(agents)
}

/// Returns the tables of a file that has nothing else.
fn tables<'t>(root: &'t DeTable<'t>) -> Result<&'t Value<'t>, Problem> {
    if let Some((key, _)) = root.iter().find(|(key, _)| key.get_ref() != "agent") {
        let message = format!(
            "`{}` is not known here: a file of agents has tables `[[agent]]` alone",
            model::quoted(key.get_ref(), 40)
        );
        return Err(problem(key.span(), message));
    }
    let list = root.get("agent").ok_or_else(|| {
        problem(
            0..0,
            "there is no agent: write at least one table `[[agent]]`",
        )
    })?;
    let DeValue::Array(list_of) = list.get_ref() else {
        return Err(problem(
            list.span(),
            "`agent` must be tables: write `[[agent]]`",
        ));
    };
    if list_of.len() > KnownAgents::MAX_AGENTS {
        let max = KnownAgents::MAX_AGENTS;
        let message = format!(
            "there are {} agents, at most {max} are allowed",
            list_of.len()
        );
        return Err(problem(list.span(), message));
    }
    Ok(list)
}

impl<'t> Entry<'t> {
    fn agent(&self, taken: &mut HashSet<String>) -> Result<KnownAgent, Problem> {
        if let Some((key, _)) = self
            .table
            .iter()
            .find(|(key, _)| !KEYS.contains(&key.get_ref().as_ref()))
        {
            let message = format!(
                "`{}` is not known here: an agent has {}",
                model::quoted(key.get_ref(), 40),
                KEYS.join(", ")
            );
            return Err(problem(key.span(), message));
        }
        let verifiable = self.word(
            "verify",
            Verifiable::parse,
            &Verifiable::ALL.map(Verifiable::as_str),
        )?;
        let agent = KnownAgent {
            operator: self.parsed("operator")?,
            agent: self.parsed("agent")?,
            purpose: self.word(
                "purpose",
                Purpose::parse,
                &Purpose::ALL.map(Purpose::as_str),
            )?,
            page: self.page()?,
            verifiable,
            directory: self.directory()?,
            patterns: self.patterns(taken)?,
            vat: self.vat()?,
            act: self.act(verifiable)?,
        };
        if (agent.verifiable == Verifiable::Signature) != agent.directory.is_some() {
            let message =
                "`directory` and `verify = \"signature\"` need each other: write both, or neither";
            return Err(problem(self.at.clone(), message));
        }
        if !taken.insert(format!(
            "{}\n{}",
            agent.operator.folded(),
            agent.agent.folded()
        )) {
            let message = format!(
                "`agent`: {} of {} stands here a second time, and case does not count: write it once",
                agent.agent, agent.operator
            );
            return Err(problem(self.at.clone(), message));
        }
        Ok(agent)
    }

    fn value(&self, key: &str) -> Result<&'t Value<'t>, Problem> {
        let lacking = || {
            problem(
                self.at.clone(),
                format!("`{key}` is missing in this [[agent]]"),
            )
        };
        self.table.get(key).ok_or_else(lacking)
    }

    fn text(&self, key: &str) -> Result<(&'t str, Range<usize>), Problem> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) => Ok((text, value.span())),
            _ => Err(problem(
                value.span(),
                format!("`{key}` must be a text in quotes"),
            )),
        }
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, key: &str) -> Result<T, Problem> {
        let (text, at) = self.text(key)?;
        text.parse()
            .map_err(|error| problem(at, format!("`{key}`: {error}")))
    }

    fn word<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Option<T>,
        words: &[&str],
    ) -> Result<T, Problem> {
        let (text, at) = self.text(key)?;
        let wrong = || {
            let text = model::quoted(text, 40);
            problem(
                at,
                format!(
                    "`{key}` cannot be `{text}`: write one of {}",
                    words.join(", ")
                ),
            )
        };
        parse(text).ok_or_else(wrong)
    }

    /// Returns who it is. A person is none of the kinds: who is let through as one is no agent.
    fn vat(&self) -> Result<Vat, Problem> {
        if self.table.get("vat").is_none() {
            return Ok(Vat::default());
        }
        let of_agents = |text: &str| Vat::parse(text).filter(|vat| *vat != Vat::Human);
        let words = Vat::ALL.into_iter().filter(|vat| *vat != Vat::Human);
        let words: Vec<&str> = words.map(Vat::as_str).collect();
        self.word("vat", of_agents, &words)
    }

    fn act(&self, verifiable: Verifiable) -> Result<Act, Problem> {
        match self.table.get("act") {
            Some(_) => self.word("act", Act::parse, &Act::ALL.map(Act::as_str)),
            None => Ok(Act::by_default(verifiable)),
        }
    }

    fn page(&self) -> Result<String, Problem> {
        let (text, at) = self.text("page")?;
        let is_page = text.len() <= MAX_PAGE_BYTES
            && url::Url::parse(text).is_ok_and(|url| url.scheme() == "https");
        if !is_page {
            let message = "`page` must be an https URL of at most 1024 bytes";
            return Err(problem(at, message));
        }
        Ok(text.to_owned())
    }

    fn directory(&self) -> Result<Option<DirectoryUrl>, Problem> {
        if self.table.get("directory").is_none() {
            return Ok(None);
        }
        let (text, at) = self.text("directory")?;
        let wrong = |error| problem(at, format!("`directory`: {error}"));
        // A path is that of a set of keys at a URL of its own.
        let read = match DirectoryUrl::of_origin(text) {
            Err(DirectoryUrlError::NotOrigin) => DirectoryUrl::of_key_set(text),
            read => read,
        };
        read.map(Some).map_err(wrong)
    }

    fn patterns(&self, taken: &mut HashSet<String>) -> Result<Vec<String>, Problem> {
        let value = self.value("patterns")?;
        let DeValue::Array(list) = value.get_ref() else {
            return Err(problem(value.span(), "`patterns` must be a list of texts"));
        };
        if !(1..=KnownAgents::MAX_PATTERNS).contains(&list.len()) {
            let message = format!(
                "`patterns` has {} texts: write 1 to {}",
                list.len(),
                KnownAgents::MAX_PATTERNS
            );
            return Err(problem(value.span(), message));
        }
        list.iter().map(|item| pattern(item, taken)).collect()
    }
}

fn pattern(item: &Value<'_>, taken: &mut HashSet<String>) -> Result<String, Problem> {
    let wrong = |message: String| problem(item.span(), format!("`patterns`: {message}"));
    let DeValue::String(text) = item.get_ref() else {
        return Err(wrong("each must be a text in quotes".to_owned()));
    };
    let shown = model::quoted(text, 80);
    let fits = KnownAgents::PATTERN_BYTES.contains(&text.len())
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && text.trim() == text;
    if !fits {
        return Err(wrong(format!(
            "`{shown}` must be 3 to 64 visible ASCII characters with a letter among them, and blanks only between words"
        )));
    }
    if PEOPLE.iter().any(|person| stands_in(text, person)) {
        return Err(wrong(format!(
            "`{shown}` stands in the user agents of people: write what only the agent has"
        )));
    }
    if !taken.insert(text.to_ascii_lowercase()) {
        return Err(wrong(format!(
            "`{shown}` stands here a second time, and case does not count: write it for one agent"
        )));
    }
    Ok(text.to_string())
}
