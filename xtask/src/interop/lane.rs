//! A lane: servers that run, and one suite after the other against them. Suites on different lanes
//! run at the same time and share nothing.

use super::home;
use super::report::{Counts, failing};
use crate::failure::{Failure, Outcome, While};
use crate::programs::{line, missing};
use crate::runtimes::Runtime;
use crate::server::{self, Server, free_ports};
use crate::workspace::Workspace;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How much longer than its tests a suite may run, because node has to start and to end.
const START_AND_END: Duration = Duration::from_secs(30);

/// The programs that the suites talk to.
pub(super) struct Programs {
    pub(super) server: PathBuf,
    pub(super) chat: Option<PathBuf>,
    pub(super) tls: Option<PathBuf>,
    pub(super) stream: Option<PathBuf>,
}

/// The variables that tell a suite where everything is.
#[derive(Clone, Default)]
pub(super) struct Environment(Vec<(&'static str, OsString)>);

impl Environment {
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.0.push((name, value.into()));
    }
}

pub(super) struct Lane {
    home: PathBuf,
    logs: PathBuf,
    environment: Environment,
    servers: Vec<Server>,
}

impl Lane {
    /// Starts a server, and what else there is.
    pub(super) fn start(
        tree: &Workspace,
        runtime: &Runtime,
        programs: &Programs,
        environment: &Environment,
        logs: &Path,
    ) -> Outcome<Self> {
        let mut lane = Self {
            home: home(tree),
            logs: logs.to_path_buf(),
            environment: environment.clone(),
            servers: Vec::new(),
        };
        let port = free_ports(3)?;
        let words = ["--runtime", runtime.word, "--port", &port.to_string()];
        let mut command = Command::new(&programs.server);
        let mut server = Server::start("conformance-server", command.current_dir(&tree.root).args(words), logs)?;
        server.wait_for_line(&format!("listening {port}"))?;
        lane.servers.push(server);
        lane.set("SIO_PORT", port.to_string());
        lane.set("SIO_PROGRAM", &programs.server);
        lane.set("SIO_RUNTIME", runtime.word);
        if let Some(program) = &programs.chat {
            let port = free_ports(1)?;
            let mut command = Command::new(program);
            command
                .current_dir(&tree.root)
                .args(["--port", &port.to_string()])
                .env("PORT", port.to_string());
            let mut chat = Server::start("chat", &mut command, logs)?;
            chat.wait_for_port(port)?;
            lane.servers.push(chat);
            lane.set("SIO_CHAT_PORT", port.to_string());
        }
        if let Some(program) = &programs.tls {
            let (port, certificate) = (free_ports(2)?, logs.join("tls-echo.pem"));
            let mut command = Command::new(program);
            command.args(["--port", &port.to_string(), "--ca"]).arg(&certificate);
            let mut secure = Server::start("tls-echo", &mut command, logs)?;
            secure.wait_for_line(&format!("listening {port}"))?;
            lane.servers.push(secure);
            lane.set("SIO_TLS_PORT", port.to_string());
            lane.set("SIO_TLS_CA", certificate);
        }
        if let Some(program) = &programs.stream {
            let port = free_ports(1)?;
            let mut command = Command::new(program);
            command.args(["--port", &port.to_string(), "--pace", "10"]);
            let mut stream = Server::start("stream", &mut command, logs)?;
            stream.wait_for_line(&format!("stream: http://localhost:{port}"))?;
            lane.servers.push(stream);
            lane.set("SIO_STREAM_PORT", port.to_string());
        }
        Ok(lane)
    }

    fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.environment.set(name, value);
    }

    /// Runs one suite, prints what it says when it has ended, and returns its counts. Each of its
    /// tests may take `limit`, and it has to end before `end`.
    pub(super) fn run(&self, suite: &str, limit: Duration, end: Instant) -> Outcome<Counts> {
        let [report, said] = ["tap", "txt"].map(|ending| self.logs.join(format!("{suite}.{ending}")));
        let output = File::create(&said).when(said.display())?;
        let errors = output.try_clone().when(said.display())?;
        let mut node = Command::new("node");
        node.current_dir(&self.home)
            .envs(self.environment.0.iter().map(|(name, value)| (name, value)))
            .args(["--no-deprecation", "--test", "--test-concurrency=1"])
            .arg(format!("--test-timeout={}", limit.as_millis()))
            .args(["--test-reporter=spec", "--test-reporter-destination=stdout"])
            .args(["--test-reporter=tap", "--test-reporter-destination"])
            .arg(&report)
            .arg(format!("{suite}.test.mjs"))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let start = Instant::now();
        let mut child = node.spawn().map_err(|error| missing(&node, &error))?;
        let left = (limit + START_AND_END).min(end.saturating_duration_since(start));
        let status = server::wait(&mut child, left).when("node")?;
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let said = fs::read(&said).when(said.display())?;
        let said = String::from_utf8_lossy(&said);
        println!(
            "$ {}\n{said}-- {suite}: {:.1} s",
            line(&node),
            start.elapsed().as_secs_f64()
        );
        let Some(status) = status else {
            return Err(Failure::new(format!("did not end within {} s", left.as_secs())));
        };
        let counts = Counts::read(&fs::read_to_string(&report).when(report.display())?);
        if status.success() && counts.all_passed() {
            Ok(counts)
        } else {
            let failing = failing(&said);
            Err(Failure::new(format!("ended with {status}: {counts:?}\n{failing}")))
        }
    }

    /// Asks the servers to end.
    pub(super) fn stop(self) -> Vec<Outcome> {
        self.servers.into_iter().map(Server::stop).collect()
    }
}
