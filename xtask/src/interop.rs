//! `cargo xtask interop`: genuine clients against the conformance server and the chat example.
//!
//! Everything happens on the loopback interface. The suites are `interop/*.test.mjs`, run by node's
//! own test runner. With `--server`, `--chat` and `--probe` they run against other programs that
//! implement the same contract. Some suites run our client, also against genuine servers.

use crate::arguments::Arguments;
use crate::clients;
use crate::failure::{Failure, Outcome, While};
use crate::programs::{line, missing, output, run as execute};
use crate::python;
use crate::runtimes::{self, Runtime};
use crate::server::{self, Server, free_ports};
use crate::workspace::Workspace;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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
/// Suites with a Redis.
const REDIS_SUITES: &[&str] = &["cluster"];
/// The clients that the suites with old clients in a browser need.
const OLD_CLIENTS: &[&str] = &["0.6.18", "0.7.11", "0.8.7", "0.9.17"];
/// The most time for all suites together, and for each suite.
const LIMIT: Duration = Duration::from_secs(20 * 60);
const SUITE_LIMIT: Duration = Duration::from_secs(5 * 60);
/// The suites that have a full form, and the most time for each of them in this form.
const FULL_SUITES: &[&str] = &["confirms", "cuts", "crowd", "crowd-restart", "cluster"];
const FULL_LIMIT: Duration = Duration::from_secs(20 * 60);

struct Options {
    only: Vec<String>,
    clients: Option<String>,
    runtimes: Vec<&'static Runtime>,
    screenshot: bool,
    /// Whether the suites of [`FULL_SUITES`] have the sizes of their full form.
    is_full: bool,
    server: Option<PathBuf>,
    chat: Option<PathBuf>,
    probe: Option<PathBuf>,
}

pub(crate) fn run(tree: &Workspace, arguments: Arguments) -> Outcome {
    let options = Options::read(arguments)?;
    let suites = select(&suites(&home(tree))?, &options.only)?;
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

/// Tests one runtime: starts a server, and the chat if the runtime has one, and runs the suites
/// against them.
fn test_runtime(tree: &Workspace, options: &Options, suites: &[String], runtime: &Runtime) -> Outcome {
    println!("\n== {}", runtime.name);
    let start = Instant::now();
    let has_chat_suite = |list: &[String]| list.iter().any(|suite| CHAT_SUITES.contains(&suite.as_str()));
    let mut suites = suites.to_vec();
    for (suite, why) in runtime.without {
        println!("interop: {suite} is not run on {}: {why}", runtime.name);
        suites.retain(|other| other != suite);
    }
    let chat = match &options.chat {
        _ if !has_chat_suite(&suites) => None,
        Some(program) => Some(program.clone()),
        None => runtime.build_chat(tree)?,
    };
    if chat.is_none() && has_chat_suite(&suites) {
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
    let program = match &options.server {
        Some(program) => program.clone(),
        None => runtime.build_server(tree)?,
    };

    let mut node = Command::new("node");
    if suites.iter().any(|suite| BROWSER_SUITES.contains(&suite.as_str())) {
        node.env("SIO_CHROMIUM", browser()?);
        // The chat serves the clients that it finds, and its suite needs every generation.
        let wanted = if chat.is_some() { &[] } else { OLD_CLIENTS };
        clients::fetch(tree, wanted)?;
    }
    let logs = tree.target.join("interop").join(runtime.name);
    let port = free_ports(3)?;
    let words = ["--runtime", runtime.word, "--port", &port.to_string()];
    let mut server = Server::start(
        "conformance-server",
        Command::new(&program).current_dir(&tree.root).args(words),
        &logs,
    )?;
    server.wait_for_line(&format!("listening {port}"))?;
    node.env("SIO_PORT", port.to_string())
        .env("SIO_PROGRAM", &program)
        .env("SIO_RUNTIME", runtime.word);
    let chat = chat.map(|program| start_chat(tree, &program, &logs)).transpose()?;
    if let Some((port, _)) = &chat {
        node.env("SIO_CHAT_PORT", port.to_string());
    }
    let mut secure = None;
    if suites.iter().any(|suite| TLS_SUITES.contains(&suite.as_str())) {
        let program = runtimes::build(tree, "tls-echo", &[])?;
        let (port, certificate) = (free_ports(2)?, logs.join("tls-echo.pem"));
        let mut command = Command::new(program);
        command.args(["--port", &port.to_string(), "--ca"]).arg(&certificate);
        let mut started = Server::start("tls-echo", &mut command, &logs)?;
        started.wait_for_line(&format!("listening {port}"))?;
        node.env("SIO_TLS_PORT", port.to_string())
            .env("SIO_TLS_CA", certificate);
        secure = Some(started);
    }
    if suites.iter().any(|suite| PROBE_SUITES.contains(&suite.as_str())) {
        let probe = match &options.probe {
            Some(program) => program.clone(),
            None => runtime.build_probe(tree)?,
        };
        node.env("SIO_PROBE", probe).env("SIO_PROBE_RUNTIME", runtime.client);
    }
    if suites.iter().any(|suite| PYTHON_SUITES.contains(&suite.as_str())) {
        node.env("SIO_PYTHON", python::install(tree)?);
    }
    if suites.iter().any(|suite| REDIS_SUITES.contains(&suite.as_str())) {
        redis()?;
    }
    let mut stream = None;
    if suites.iter().any(|suite| STREAM_SUITES.contains(&suite.as_str())) {
        let program = runtimes::build(tree, "stream", &[])?;
        let port = free_ports(1)?;
        let mut command = Command::new(program);
        command.args(["--port", &port.to_string(), "--pace", "10"]);
        let mut started = Server::start("stream", &mut command, &logs)?;
        started.wait_for_line(&format!("stream: http://localhost:{port}"))?;
        node.env("SIO_STREAM_PORT", port.to_string());
        stream = Some(started);
    }
    if let Some(list) = &options.clients {
        node.env("SIO_CLIENTS", list);
    }
    if options.screenshot {
        fs::create_dir_all(tree.root.join("docs/images")).when("docs/images")?;
        node.env("SIO_SCREENSHOT", "1");
    }

    if options.is_full {
        node.env("SIO_FULL", "1");
    }

    let tested = test(
        node.current_dir(home(tree)),
        &suites,
        &logs.join("report.tap"),
        options.is_full,
    );
    println!("== {}: {:.0} s", runtime.name, start.elapsed().as_secs_f64());
    // The servers are asked to end even if a suite failed: how they end is a test as well.
    let stopped = [Some(server), chat.map(|(_, chat)| chat), secure, stream];
    let failures: Vec<String> = std::iter::once(tested)
        .chain(stopped.into_iter().flatten().map(Server::stop))
        .filter_map(Result::err)
        .map(|failure| format!("{}: {failure}", runtime.name))
        .collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(failures.join("\n")))
    }
}

fn start_chat(tree: &Workspace, program: &Path, logs: &Path) -> Outcome<(u16, Server)> {
    let port = free_ports(1)?;
    let mut command = Command::new(program);
    command
        .current_dir(&tree.root)
        .args(["--port", &port.to_string()])
        .env("PORT", port.to_string());
    let mut started = Server::start("chat", &mut command, logs)?;
    started.wait_for_port(port)?;
    Ok((port, started))
}

impl Options {
    fn read(mut arguments: Arguments) -> Outcome<Self> {
        let options = Self {
            only: arguments.take_list("--only"),
            clients: arguments.take("--clients"),
            runtimes: runtimes::chosen(&arguments.take_list("--runtime"))?,
            screenshot: arguments.take("--screenshot").is_some(),
            is_full: arguments.take("--full").is_some(),
            server: arguments.take("--server").map(absolute).transpose()?,
            chat: arguments.take("--chat").map(absolute).transpose()?,
            probe: arguments.take("--probe").map(absolute).transpose()?,
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

/// Runs the suites one after the other, because they share one server, and reads the counts from
/// the report.
fn test(node: &mut Command, suites: &[String], report: &Path, is_full: bool) -> Outcome {
    let files = suites.iter().map(|suite| format!("{suite}.test.mjs"));
    let full = suites
        .iter()
        .filter(|suite| is_full && FULL_SUITES.contains(&suite.as_str()));
    let limit = LIMIT + FULL_LIMIT * full.count() as u32;
    let suite_limit = if is_full { FULL_LIMIT } else { SUITE_LIMIT };
    node.args(["--no-deprecation", "--test", "--test-concurrency=1"])
        .arg(format!("--test-timeout={}", suite_limit.as_millis()))
        .args(["--test-reporter=spec", "--test-reporter-destination=stdout"])
        .args(["--test-reporter=tap", "--test-reporter-destination"])
        .arg(report)
        .args(files);
    println!("$ {}", line(node));
    let mut child = node
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| missing(node, &error))?;
    let Some(status) = server::wait(&mut child, limit).when("node")? else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(Failure::new(format!(
            "the suites did not end within {} minutes",
            limit.as_secs() / 60
        )));
    };
    let counts = Counts::read(&fs::read_to_string(report).when(report.display())?);
    println!("interop: {counts:?}");
    if status.success() && counts.all_passed() {
        return Ok(());
    }
    Err(Failure::new(format!("the suites ended with {status}: {counts:?}")))
}

/// The summary at the end of node's report.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    tests: u32,
    pass: u32,
    fail: u32,
    cancelled: u32,
    skipped: u32,
    todo: u32,
}

impl Counts {
    fn read(report: &str) -> Self {
        let count = |name: &str| {
            let last = report
                .lines()
                .rev()
                .find_map(|line| line.strip_prefix(&format!("# {name} ")));
            last.and_then(|digits| digits.trim().parse().ok()).unwrap_or(0)
        };
        Self {
            tests: count("tests"),
            pass: count("pass"),
            fail: count("fail"),
            cancelled: count("cancelled"),
            skipped: count("skipped"),
            todo: count("todo"),
        }
    }

    /// Whether all tests passed. A test that was not run has not passed, and a run without tests
    /// proves nothing.
    fn all_passed(&self) -> bool {
        self.tests > 0 && self.pass == self.tests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_a_report() {
        let report = "TAP version 13\n# Subtest: x\nok 1 - x\n1..1\n# tests 3\n# suites 1\n# pass 2\n# fail 0\n# cancelled 0\n# skipped 1\n# todo 0\n";
        let counts = Counts::read(report);
        assert_eq!(
            counts,
            Counts {
                tests: 3,
                pass: 2,
                skipped: 1,
                ..Counts::default()
            }
        );
        assert!(!counts.all_passed());
        assert!(
            Counts {
                tests: 2,
                pass: 2,
                ..Counts::default()
            }
            .all_passed()
        );
        assert!(!Counts::read("").all_passed());
    }

    #[test]
    fn patterns_select_suites() {
        let all = ["cors", "misuse-http", "misuse-packets"].map(str::to_owned);
        let pick = |only: &[&str]| select(&all, &only.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(pick(&[]).ok().unwrap().len(), 3);
        assert_eq!(pick(&["misuse"]).ok().unwrap(), ["misuse-http", "misuse-packets"]);
        assert!(pick(&["nothing"]).is_err());
    }
}
