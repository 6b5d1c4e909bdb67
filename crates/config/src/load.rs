//! The loading of a file into a configuration, or into all of its problems.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use model::system::in_words;
use model::{AppName, AppTable, Plan, PlanName};
use toml::Spanned;
use toml::de::DeTable;

use crate::app::{App, AppOffsets};
use crate::error::{Errors, Finding};
use crate::reader::{Reader, Section};
use crate::webhooks::Webhooks;
use crate::{
    Apimw, BetterAuth, Cache, Config, Control, Journal, Ledger, Log, Redis, Server, Store, plan,
    syntax,
};

/// The greatest length of a file in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

impl Config {
    /// Reads a file. `env` gives the values of environment variables.
    ///
    /// # Errors
    /// Every problem of the file with its place; one problem at 1:1 if it cannot be read.
    pub fn load(path: &Path, env: impl Fn(&str) -> Option<String>) -> Result<Self, Errors> {
        let file = path.display().to_string();
        let text = read_file(path).map_err(|message| Errors::whole_file(&file, message))?;
        Self::parse(&text, &file, env)
    }

    /// Reads a file as [`Config::load`] does, and calls `judge` for a configuration that reads
    /// well. Its findings get their places in the file.
    ///
    /// # Errors
    /// Every problem of the file with its place, or else every finding with its place.
    pub fn load_judged(
        path: &Path,
        env: impl Fn(&str) -> Option<String>,
        judge: impl FnOnce(&Self) -> Vec<Finding>,
    ) -> Result<Self, Errors> {
        let file = path.display().to_string();
        let text = read_file(path).map_err(|message| Errors::whole_file(&file, message))?;
        read_text(&text, &file, &env, Self::read, judge)
    }

    /// Reads the text of a file. `file` names it in messages, and relative paths count from its
    /// folder; `env` gives the values of environment variables.
    ///
    /// # Errors
    /// Every problem of the text with its place.
    pub fn parse(
        text: &str,
        file: &str,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Errors> {
        read_text(text, file, &env, Self::read, |_| Vec::new())
    }

    fn read(root: Section<'_>) -> Self {
        let journal = Journal::read(root.section("journal", "[journal]"));
        let plans = plan::read_all(root.sections("plan", "[[plan]]"));
        let config = Self {
            server: Server::read(root.section("server", "[server]")),
            log: Log::read(root.section("log", "[log]")),
            store: Store::read(root.section("store", "[store]")),
            redis: Redis::read(root.section("redis", "[redis]")),
            journal,
            ledger: Ledger::read(root.section("ledger", "[ledger]")),
            control: Control::read(root.section("control", "[control]")),
            webhooks: Webhooks::read(root.section("webhooks", "[webhooks]")),
            apimw: Apimw::read(root.section("apimw", "[apimw]")),
            better_auth: BetterAuth::read(root.section("better_auth", "[better_auth]")),
            cache: Cache::read(root.section("cache", "[cache]")),
            apps: read_apps(&root, &journal, &plans),
            plans,
        };
        root.finish();
        config
    }
}

/// Reads the folder where the gate of a file keeps its data, and no other key, so that a command
/// can find a running gate without the secrets that the gate itself needs.
///
/// # Errors
/// A file that cannot be read or is not TOML, or a wrong `data_dir`.
pub fn data_dir(path: &Path, env: impl Fn(&str) -> Option<String>) -> Result<PathBuf, Errors> {
    let file = path.display().to_string();
    let text = read_file(path).map_err(|message| Errors::whole_file(&file, message))?;
    let read = |root: Section<'_>| Server::read_data_dir(&root.section("server", "[server]"));
    read_text(&text, &file, &env, read, |_| Vec::new())
}

/// Takes any bytes as a file, for fuzzers.
///
/// # Panics
/// If a file is refused without a problem, or with one that has no place.
pub fn exercise(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Err(errors) = Config::parse(&text, "fuzz.toml", |name| Some(name.to_owned())) {
        assert!(errors.iter().count() > 0, "refused without a problem");
        assert!(
            errors
                .iter()
                .all(|error| error.line > 0 && error.column > 0)
        );
    }
}

fn read_text<T>(
    text: &str,
    file: &str,
    env: &dyn Fn(&str) -> Option<String>,
    read: impl FnOnce(Section<'_>) -> T,
    judge: impl FnOnce(&T) -> Vec<Finding>,
) -> Result<T, Errors> {
    let (table, syntax): (Spanned<DeTable<'_>>, _) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        // What is recovered of a broken file would only lead to more, misleading messages.
        let problem = |error: toml::de::Error| syntax::problem(text, &error);
        return Err(Errors::of(
            file,
            text,
            syntax.into_iter().map(problem).collect(),
        ));
    }
    let directory = Path::new(file).parent().unwrap_or(Path::new(""));
    let reader = Reader::new(text, directory, env);
    let value = read(reader.root(table.get_ref()));
    if reader.has_no_problems() {
        for finding in judge(&value) {
            let Finding {
                section,
                key,
                message,
            } = finding;
            let at = reader.root(table.get_ref()).at_within(section, key);
            reader.report(at, format!("{key}: {message}"));
        }
    }
    let problems = reader.into_problems();
    if problems.is_empty() {
        Ok(value)
    } else {
        Err(Errors::of(file, text, problems))
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let unreadable = |error: io::Error| format!("the file cannot be read: {}", in_words(&error));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err("the file is larger than 16 MiB: split it over several gates".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("the file is not UTF-8 at byte {at}: save it as UTF-8")
    })
}

fn read_apps(root: &Section<'_>, journal: &Journal, plans: &[Plan]) -> Vec<App> {
    if !root.has("app") {
        root.missing("app", "at least one `[[app]]` with `name` and `upstreams`");
    }
    let sections = root.sections("app", "[[app]]");
    let read = |section| App::read(section, journal.durability);
    let (apps, places): (Vec<App>, Vec<AppOffsets>) = sections.into_iter().filter_map(read).unzip();
    check_names(root, &apps, &places);
    check_plans(root, &apps, &places, plans);
    check_hosts(root, &apps, &places);
    apps
}

fn check_names(root: &Section<'_>, apps: &[App], places: &[AppOffsets]) {
    let mut first: HashMap<&AppName, usize> = HashMap::new();
    for (app, place) in apps.iter().zip(places) {
        if let Some(at) = first.get(&app.name) {
            let line = root.reader().line(*at);
            let message = format!(
                "name: another app on line {line} is named `{}`: give each app its own name",
                app.name
            );
            root.report(place.name, message);
        }
        first.entry(&app.name).or_insert(place.name);
    }
}

fn check_plans(root: &Section<'_>, apps: &[App], places: &[AppOffsets], plans: &[Plan]) {
    const SHOWN: usize = 10;
    let names: HashSet<&PlanName> = plans.iter().map(|plan| &plan.name).collect();
    for (app, place) in apps.iter().zip(places) {
        let Some(plan) = app.plan.as_ref().filter(|plan| !names.contains(plan)) else {
            continue;
        };
        let known: Vec<&str> = plans
            .iter()
            .take(SHOWN)
            .map(|plan| plan.name.as_str())
            .collect();
        let known = match known.as_slice() {
            [] => "none is declared, write a `[[plan]]`".to_owned(),
            known if plans.len() > SHOWN => format!("write one of {}, …", known.join(", ")),
            known => format!("write {}", known.join(" or ")),
        };
        root.report(
            place.plan,
            format!("plan: there is no plan `{plan}`: {known}"),
        );
    }
}

/// Reports apps that serve the same host and path.
fn check_hosts(root: &Section<'_>, apps: &[App], places: &[AppOffsets]) {
    let mut table = AppTable::new();
    for (number, (app, place)) in apps.iter().zip(places).enumerate() {
        let Err(conflicts) = table.insert(&app.hosts, &app.paths, ()) else {
            continue;
        };
        for conflict in conflicts {
            let host = conflict.host.as_ref();
            let (host, at) =
                match host.and_then(|host| app.hosts.iter().position(|own| own == host)) {
                    Some(index) => (format!("host `{}`", app.hosts[index]), place.hosts[index]),
                    None => ("every host".to_owned(), place.name),
                };
            let path = &conflict.path;
            let message = if conflict.first == number {
                format!("hosts: {host} below `{path}` is named twice: name it once")
            } else {
                let first = &apps[conflict.first].name;
                format!(
                    "hosts: {host} below `{path}` is served by app `{first}` already: give one of them other `hosts` or `paths`"
                )
            };
            root.report(at, message);
        }
    }
}
