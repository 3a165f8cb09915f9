//! `sio connect` at a terminal: signals end it, and the terminal gets its mode back.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use sio_tokio::Config;

use crate::running::server;

/// A terminal with a program at its other end.
struct Terminal {
    /// What the person sees and types.
    person: File,
    program: File,
}

impl Terminal {
    fn new() -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let program = OpenOptions::new()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        Self {
            person: File::from(person),
            program,
        }
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let end = || Stdio::from(self.program.try_clone().unwrap());
        Command::new(env!("CARGO_BIN_EXE_sio"))
            .args(arguments)
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap()
    }

    /// Whether the terminal collects lines, as it does before and after the prompt.
    fn is_as_always(&self) -> bool {
        let modes = tcgetattr(&self.program).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Reads until the terminal shows this.
    fn wait_for(&mut self, text: &str) {
        let mut shown = Vec::new();
        while !String::from_utf8_lossy(&shown).contains(text) {
            let mut wait = [PollFd::new(&self.person, PollFlags::IN)];
            let limit = Timespec { tv_sec: 60, tv_nsec: 0 };
            assert_eq!(poll(&mut wait, Some(&limit)).unwrap(), 1, "{text:?} does not come");
            let mut some = [0; 1024];
            let read = self.person.read(&mut some).unwrap();
            assert!(read > 0, "the terminal has ended");
            shown.extend_from_slice(&some[..read]);
        }
    }
}

#[test]
fn signals_give_the_mode_of_the_terminal_back() {
    let server = server(Config::default());
    let url = format!("127.0.0.1:{}", server.port);
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut terminal = Terminal::new();
        assert!(terminal.is_as_always());
        let mut child = terminal.start(&["connect", &url, "--no-history"]);
        // The prompt asks for bracketed paste when it has changed the mode.
        terminal.wait_for("\u{1b}[?2004h");
        assert!(!terminal.is_as_always());
        kill_process(Pid::from_child(&child), signal).unwrap();
        terminal.wait_for("\u{1b}[?2004l");
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(130), "{signal:?}");
        assert!(terminal.is_as_always(), "{signal:?}");
    }
}
