//! `cargo xtask interop [SUITE ...]`: genuine clients against the conformance server and the chat
//! example. A suite is named by a part of its name, as a word or in the list of `--only`. Some
//! suites have a longer form, which `--full` runs; those of clusters also if only they are named.
//!
//! Everything happens on the loopback interface. The suites are `interop/*.test.mjs`, run by node's
//! own test runner. With `--server`, `--chat` and `--probe` they run against other programs that
//! implement the same contract. Some suites run our client, also against genuine servers.

mod lane;
mod report;

use crate::arguments::Arguments;
use crate::clients;
use crate::failure::{Failure, Outcome, While};
use crate::programs::{output, run as execute};
use crate::python;
use crate::runtimes::{self, Runtime};
use crate::workspace::Workspace;
use lane::{Environment, Lane, Programs};
use report::Counts;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const MIN_NODE: u32 = 20;
const BROWSERS: &[&str] = &[
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
];
/// `BROWSER_SUITES` drive a browser. `CHAT_SUITES` talk to the chat example.
const BROWSER_SUITES: &[&str] = &[
    "chat",
    "legacy-0.6",
    "legacy-0.9",
    "one-room",
    "leftovers",
    "htmlfile",
    "restart",
    "deploys",
    "history",
    "cuts",
    "cluster",
    "cluster-anywhere",
];
const CHAT_SUITES: &[&str] = &["chat"];
/// Suites of the example that speaks TLS, on all runtimes at once.
const TLS_SUITES: &[&str] = &["tls"];
/// Suites of the example that streams text, which runs on tokio.
const STREAM_SUITES: &[&str] = &["history"];
/// Suites of our client.
const PROBE_SUITES: &[&str] = &["client", "client-own", "confirms", "cuts", "pacing"];
/// Suites with a server in Python.
const PYTHON_SUITES: &[&str] = &["client"];
/// Suites with a Redis, and our emitter: this one, and those whose names go on behind it.
const CLUSTER: &str = "cluster";
/// The clients that the suites with old clients in a browser need.
const OLD_CLIENTS: &[&str] = &["0.6.18", "0.7.11", "0.8.7", "0.9.17"];
/// The most time for all suites together, and for each suite.
const LIMIT: Duration = Duration::from_secs(20 * 60);
const SUITE_LIMIT: Duration = Duration::from_secs(5 * 60);
/// The longest suites, the longest first.
const LONG_SUITES: &[&str] = &["client", "client-own"];
/// The suites that have a full form, besides those of clusters, and the most time for each of them
/// in this form.
const FULL_SUITES: &[&str] = &["confirms", "cuts", "crowd", "crowd-restart"];
const FULL_LIMIT: Duration = Duration::from_secs(20 * 60);

struct Options {
    only: Vec<String>,
    clients: Option<String>,
    runtimes: Vec<&'static Runtime>,
    screenshot: bool,
    /// Whether the suites that have a full form are run in it.
    is_full: bool,
    server: Option<PathBuf>,
    chat: Option<PathBuf>,
    probe: Option<PathBuf>,
    /// How many suites run at once. Each lane has servers of its own.
    lanes: usize,
}

pub(crate) fn run(tree: &Workspace, arguments: Arguments) -> Outcome {
    let mut options = Options::read(arguments)?;
    let suites = select(&suites(&home(tree))?, &options.only)?;
    options.is_full |= is_about_clusters(&options.only);
    install(&home(tree))?;
    // All runtimes are tested, even if one of them fails.
    let failures: Vec<String> = options
        .runtimes
        .iter()
        .filter_map(|runtime| test_runtime(tree, &options, &suites, runtime).err())
        .map(|failure| failure.to_string())
        .collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!("interop failed:\n{}", failures.join("\n"))))
    }
}

fn home(tree: &Workspace) -> PathBuf {
    tree.root.join("interop")
}

/// Tests one runtime: builds its programs, and runs the suites on the lanes.
fn test_runtime(tree: &Workspace, options: &Options, suites: &[String], runtime: &Runtime) -> Outcome {
    println!("\n== {}", runtime.name);
    let start = Instant::now();
    let mut suites = suites.to_vec();
    for (suite, why) in runtime.without {
        println!("interop: {suite} is not run on {}: {why}", runtime.name);
        suites.retain(|other| other != suite && !(*suite == CLUSTER && other.starts_with(CLUSTER)));
    }
    let chat = match &options.chat {
        _ if !any_of(&suites, CHAT_SUITES) => None,
        Some(program) => Some(program.clone()),
        None => runtime.build_chat(tree)?,
    };
    if chat.is_none() && any_of(&suites, CHAT_SUITES) {
        println!(
            "interop: {} is not run on {}, which has no chat",
            CHAT_SUITES.join(", "),
            runtime.name
        );
        suites.retain(|suite| !CHAT_SUITES.contains(&suite.as_str()));
    }
    if suites.is_empty() {
        return Err(Failure::new(format!(
            "{}: none of these suites can be run on it",
            runtime.name
        )));
    }
    let server = match &options.server {
        Some(program) => program.clone(),
        None => runtime.build_server(tree)?,
    };
    let mut programs = Programs {
        server,
        chat,
        tls: None,
        stream: None,
    };
    let mut node = Environment::default();
    if any_of(&suites, BROWSER_SUITES) {
        node.set("SIO_CHROMIUM", browser()?);
        // The chat serves the clients that it finds, and its suite needs every generation.
        let wanted = if programs.chat.is_some() { &[] } else { OLD_CLIENTS };
        clients::fetch(tree, wanted)?;
    }
    if any_of(&suites, TLS_SUITES) {
        programs.tls = Some(runtimes::build(tree, "tls-echo", &[])?);
    }
    if any_of(&suites, STREAM_SUITES) {
        programs.stream = Some(runtimes::build(tree, "stream", &[])?);
    }
    if any_of(&suites, PROBE_SUITES) {
        let probe = match &options.probe {
            Some(program) => program.clone(),
            None => runtime.build_probe(tree)?,
        };
        node.set("SIO_PROBE", probe);
        node.set("SIO_PROBE_RUNTIME", runtime.client);
    }
    if any_of(&suites, PYTHON_SUITES) {
        node.set("SIO_PYTHON", python::install(tree)?);
    }
    if suites.iter().any(|suite| suite.starts_with(CLUSTER)) {
        redis()?;
        node.set("SIO_EMITTER", runtimes::build(tree, "emitter", &[])?);
    }
    if let Some(list) = &options.clients {
        node.set("SIO_CLIENTS", list);
    }
    if options.screenshot {
        fs::create_dir_all(tree.root.join("docs/images")).when("docs/images")?;
        node.set("SIO_SCREENSHOT", "1");
    }
    if options.is_full {
        node.set("SIO_FULL", "1");
    }

    let logs = tree.target.join("interop").join(runtime.name);
    let lanes = options.lanes.min(suites.len());
    let mut lanes = (1..=lanes)
        .map(|number| Lane::start(tree, runtime, &programs, &node, &logs.join(format!("lane-{number}"))))
        .collect::<Outcome<Vec<Lane>>>()?;
    let tested = test(&mut lanes, &suites, options.is_full);
    println!("== {}: {:.0} s", runtime.name, start.elapsed().as_secs_f64());
    // The servers are asked to end even if a suite failed: how they end is a test as well.
    let failures: Vec<String> = std::iter::once(tested)
        .chain(lanes.into_iter().flat_map(Lane::stop))
        .filter_map(Result::err)
        .map(|failure| format!("{}: {failure}", runtime.name))
        .collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(failures.join("\n")))
    }
}

fn has_full_form(suite: &str) -> bool {
    FULL_SUITES.contains(&suite) || suite.starts_with(CLUSTER)
}

/// Whether only suites of clusters are asked for. They are run in their full form then, with all
/// adapters, because it takes no more than some minutes.
fn is_about_clusters(only: &[String]) -> bool {
    !only.is_empty() && only.iter().all(|pattern| pattern.starts_with(CLUSTER))
}

fn any_of(suites: &[String], list: &[&str]) -> bool {
    suites.iter().any(|suite| list.contains(&suite.as_str()))
}

/// Runs the suites. Each lane takes the next suite when it has ended one, because the suites of a
/// lane share one server.
fn test(lanes: &mut [Lane], suites: &[String], is_full: bool) -> Outcome {
    let limit = if is_full { FULL_LIMIT } else { SUITE_LIMIT };
    let full = suites.iter().filter(|suite| is_full && has_full_form(suite));
    let end = Instant::now() + LIMIT + FULL_LIMIT * full.count() as u32;
    // Long suites come first, so that no lane is alone with one at the end.
    let mut waiting: Vec<&String> = suites.iter().collect();
    waiting.sort_by_key(|suite| LONG_SUITES.iter().position(|long| long == suite).unwrap_or(usize::MAX));
    let (waiting, results) = (&Mutex::new(waiting.into_iter()), &Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for lane in lanes {
            scope.spawn(move || {
                let next = || lock(waiting).next();
                while let Some(suite) = next() {
                    let result = lane.run(suite, limit, end);
                    lock(results).push(result.map_err(|failure| format!("{suite}: {failure}")));
                }
            });
        }
    });
    let results = lock(results);
    let counts: Counts = results.iter().flatten().sum();
    let failed = results.iter().filter(|result| result.is_err()).count();
    println!(
        "interop: {} suites of {} failed; the others: {counts:?}",
        failed,
        results.len()
    );
    let failures: Vec<&str> = results
        .iter()
        .filter_map(|result| result.as_ref().err().map(String::as_str))
        .collect();
    if failures.is_empty() && counts.all_passed() {
        return Ok(());
    }
    Err(Failure::new(format!("{}\n{counts:?}", failures.join("\n"))))
}

pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Options {
    fn read(mut arguments: Arguments) -> Outcome<Self> {
        let mut only = arguments.take_list("--only");
        only.extend(arguments.take_words());
        let options = Self {
            only,
            clients: arguments.take("--clients"),
            runtimes: runtimes::chosen(&arguments.take_list("--runtime"))?,
            screenshot: arguments.take("--screenshot").is_some(),
            is_full: arguments.take("--full").is_some(),
            server: arguments.take("--server").map(absolute).transpose()?,
            chat: arguments.take("--chat").map(absolute).transpose()?,
            probe: arguments.take("--probe").map(absolute).transpose()?,
            lanes: arguments.take_lanes()?,
        };
        arguments.finish()?;
        Ok(options)
    }
}

/// Makes a path absolute. The servers are started in the root of the repository, but a person may
/// name a path relative to another folder.
fn absolute(path: String) -> Outcome<PathBuf> {
    fs::canonicalize(&path).when(path)
}

/// Returns the names of all suites.
fn suites(home: &Path) -> Outcome<Vec<String>> {
    let entries = fs::read_dir(home).when(home.display())?;
    let names = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut suites: Vec<String> = names
        .filter_map(|name| name.strip_suffix(".test.mjs").map(str::to_owned))
        .collect();
    suites.sort();
    Ok(suites)
}

/// Returns the suites whose name contains one of the patterns.
fn select(suites: &[String], only: &[String]) -> Outcome<Vec<String>> {
    for pattern in only {
        if !suites.iter().any(|suite| suite.contains(pattern)) {
            return Err(Failure::new(format!(
                "no suite matches `{pattern}`; there are {}",
                suites.join(", ")
            )));
        }
    }
    let is_wanted = |suite: &&String| only.is_empty() || only.iter().any(|pattern| suite.contains(pattern));
    Ok(suites.iter().filter(is_wanted).cloned().collect())
}

/// Installs the clients, unless exactly the versions in the lockfile are installed already.
fn install(home: &Path) -> Outcome {
    let version = output(Command::new("node").arg("--version"))?;
    let major = version
        .trim()
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|digits| digits.parse().ok());
    if major.is_none_or(|major: u32| major < MIN_NODE) {
        return Err(Failure::new(format!(
            "node is {}, and this needs {MIN_NODE} or newer",
            version.trim()
        )));
    }
    let lock = fs::read(home.join("package-lock.json")).when("interop/package-lock.json")?;
    let stamp = home.join("node_modules/.installed-lock.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    execute(
        Command::new("npm")
            .current_dir(home)
            .args(["ci", "--no-audit", "--no-fund"]),
    )?;
    fs::write(&stamp, lock).when(stamp.display())
}

/// Returns the path of Chromium. Installs it if it is missing and this is allowed.
fn browser() -> Outcome<PathBuf> {
    if let Some(named) = std::env::var_os("SIO_CHROMIUM") {
        return Ok(named.into());
    }
    let found = || BROWSERS.iter().map(PathBuf::from).find(|path| path.is_file());
    if let Some(path) = found() {
        return Ok(path);
    }
    let user = output(Command::new("id").arg("-u"))?;
    if user.trim() != "0" {
        let places = BROWSERS.join(", ");
        return Err(Failure::new(format!(
            "no Chromium at {places}; install it, or name one in SIO_CHROMIUM"
        )));
    }
    apt_install("chromium")?;
    found().ok_or_else(|| Failure::new("apt-get has installed chromium, but it is in none of the usual places"))
}

/// Checks that there is a Redis. Installs it if it is missing and this is allowed.
fn redis() -> Outcome {
    let is_there = || output(Command::new("redis-server").arg("--version")).is_ok();
    if is_there() {
        return Ok(());
    }
    let user = output(Command::new("id").arg("-u"))?;
    if user.trim() != "0" {
        return Err(Failure::new(
            "redis-server is not installed, and this needs it: apt-get install redis-server",
        ));
    }
    apt_install("redis-server")?;
    match is_there() {
        true => Ok(()),
        false => Err(Failure::new("apt-get has installed redis-server, but it does not run")),
    }
}

fn apt_install(package: &str) -> Outcome {
    execute(Command::new("apt-get").args(["update", "--quiet"]))?;
    let install = ["install", "--yes", "--quiet", "--no-install-recommends", package];
    execute(
        Command::new("apt-get")
            .args(install)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_select_suites() {
        let all = ["cors", "misuse-http", "misuse-packets"].map(str::to_owned);
        let pick = |only: &[&str]| select(&all, &only.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(pick(&[]).ok().unwrap().len(), 3);
        assert_eq!(pick(&["misuse"]).ok().unwrap(), ["misuse-http", "misuse-packets"]);
        assert!(pick(&["nothing"]).is_err());
    }

    #[test]
    fn suites_of_clusters_that_are_named_alone_are_full() {
        let is_full =
            |only: &[&str]| is_about_clusters(&only.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert!(is_full(&["cluster"]) && is_full(&["cluster-recovery", "cluster-anywhere"]));
        assert!(!is_full(&[]) && !is_full(&["cors"]) && !is_full(&["cluster", "cors"]));
    }
}
