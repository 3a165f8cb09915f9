//! One of our servers as a child process: this module starts it, waits for it, asks it to end, and
//! never leaves it behind.

use crate::failure::{Failure, Outcome, While};
use crate::programs::{line, missing};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(50);

/// A running child process. Dropping it without [`stop`](Self::stop) kills it; this happens only
/// after an error.
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
    lines: mpsc::Receiver<String>,
}

impl Server {
    /// Starts the program; what it writes to its standard error goes into a log file beside the
    /// other build products.
    pub(crate) fn start(name: &'static str, command: &mut Command, logs: &Path) -> Outcome<Self> {
        fs::create_dir_all(logs).when(logs.display())?;
        let log = logs.join(format!("{name}.log"));
        let errors = File::create(&log).when(log.display())?;
        println!("$ {}", line(command));
        let spawned = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn();
        let mut child = spawned.map_err(|error| missing(command, &error))?;
        let (send, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            // The thread reads to the end, so that the server never waits for a reader of its
            // output.
            thread::spawn(move || {
                BufReader::new(stdout)
                    .lines()
                    .map_while(Result::ok)
                    .for_each(|line| drop(send.send(line)))
            });
        }
        Ok(Self {
            name,
            child,
            log,
            lines,
        })
    }

    /// Waits for this line on the standard output.
    pub(crate) fn wait_for_line(&mut self, expected: &str) -> Outcome {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) if line.trim_end() == expected => return Ok(()),
                Ok(line) => println!("{}: {line}", self.name),
                Err(_) => return Err(self.complaint(format_args!("never printed `{expected}`"))),
            }
        }
    }

    /// Waits until something accepts connections on the port.
    pub(crate) fn wait_for_port(&mut self, port: u16) -> Outcome {
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            self.assert_alive()?;
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
        Err(self.complaint(format_args!("does not accept connections on port {port}")))
    }

    pub(crate) fn assert_alive(&mut self) -> Outcome {
        match self.child.try_wait().when(self.name)? {
            None => Ok(()),
            Some(status) => Err(self.complaint(format_args!("ended by itself with {status}"))),
        }
    }

    /// Asks the server to end. It must end in time, and with exit code 0.
    pub(crate) fn stop(mut self) -> Outcome {
        self.ask_to_go()?;
        self.wait_for_end()
    }

    /// Returns the id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    pub(crate) fn ask_to_go(&mut self) -> Outcome {
        self.assert_alive()?;
        let id = self.child.id().to_string();
        let asked = Command::new("sh")
            .args(["-c", "kill -TERM \"$1\"", "sh", &id])
            .status()
            .when("sh")?;
        if !asked.success() {
            return Err(self.complaint(format_args!("could not be sent SIGTERM")));
        }
        Ok(())
    }

    /// Waits for the end of the process after SIGTERM.
    pub(crate) fn wait_for_end(&mut self) -> Outcome {
        match self.wait(STOP_LIMIT)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.complaint(format_args!("answered SIGTERM with {status} instead of exit code 0"))),
            None => Err(self.complaint(format_args!("did not end within {} s of SIGTERM", STOP_LIMIT.as_secs()))),
        }
    }

    fn wait(&mut self, limit: Duration) -> Outcome<Option<ExitStatus>> {
        wait(&mut self.child, limit).when(self.name)
    }

    /// Makes a failure that includes the end of the server's log.
    fn complaint(&self, what: std::fmt::Arguments<'_>) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n");
        Failure::new(format!("{} {what}\n{tail}", self.name))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits for the child, but not longer than this.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() >= deadline {
            return Ok(status);
        }
        thread::sleep(PAUSE);
    }
}

/// Finds `count` ports in a row that are free now, and returns the first.
pub(crate) fn free_ports(count: u16) -> Outcome<u16> {
    for _ in 0..100 {
        let first = bind(0).when("binding a port")?;
        let port = first.local_addr().when("binding a port")?.port();
        let rest = (1..count).map(|offset| port.checked_add(offset).and_then(|next| bind(next).ok()));
        // The ports are collected, so that all of them are held at the same time.
        if rest.collect::<Option<Vec<TcpListener>>>().is_some() {
            return Ok(port);
        }
    }
    Err(Failure::new(format!("found no {count} free ports in a row")))
}

fn bind(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> Server {
        let name: &'static str = Box::leak(format!("xtask-test-{:?}", thread::current().id()).into_boxed_str());
        Server::start(name, Command::new("sh").args(["-c", script]), &std::env::temp_dir()).unwrap()
    }

    #[test]
    fn a_server_that_does_as_it_should() {
        let mut server = start("trap 'exit 0' TERM; echo hello; echo listening 1; while :; do sleep 0.1; done");
        server.wait_for_line("listening 1").unwrap();
        server.stop().unwrap();
    }

    #[test]
    fn a_server_that_dies_or_goes_with_an_error() {
        let mut server = start("echo oh >&2; exit 3");
        let complaint = server.wait_for_line("listening 1").unwrap_err().to_string();
        assert!(
            complaint.contains("never printed") && complaint.contains("oh"),
            "{complaint}"
        );
        let mut server = start("trap 'exit 4' TERM; echo ready; while :; do sleep 0.1; done");
        server.wait_for_line("ready").unwrap();
        assert!(server.stop().unwrap_err().to_string().contains('4'));
    }

    #[test]
    fn ports_in_a_row() {
        let port = free_ports(3).unwrap();
        assert!((0..3).all(|offset| bind(port + offset).is_ok()));
    }
}
