//! A small client of HTTP/1.1, written by hand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{dial, is_timeout};

pub(super) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

pub(super) fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(super) struct Connection<S = TcpStream> {
    pub(super) stream: S,
    read: Vec<u8>,
}

impl Connection {
    pub(super) fn open(address: SocketAddr) -> Self {
        Self::over(dial(address))
    }
}

impl<S: Read + Write> Connection<S> {
    pub(super) const fn over(stream: S) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(super) fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    pub(super) fn get(&mut self, path: &str) -> String {
        self.write(&get(path));
        self.response()
    }

    pub(super) fn post(&mut self, path: &str, body: &str) -> String {
        self.write(&post(path, body));
        self.response()
    }

    /// Reads the next response and returns its body.
    pub(super) fn response(&mut self) -> String {
        self.response_with_head().1
    }

    pub(super) fn response_with_head(&mut self) -> (String, String) {
        loop {
            if let Some(end) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8(self.read[..end].to_vec()).unwrap();
                let length = head.lines().find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")?
                        .trim()
                        .parse()
                        .ok()
                });
                let body = end + 4..end + 4 + length.unwrap_or(0);
                if self.read.len() >= body.end {
                    let text = String::from_utf8(self.read[body.clone()].to_vec()).unwrap();
                    self.read.drain(..body.end);
                    return (head, text);
                }
            }
            assert!(self.fill() > 0, "closed inside a response");
        }
    }

    /// Waits until the server closes the connection, and ignores what it sends before.
    pub(super) fn closed(&mut self) {
        while self.fill() > 0 {}
    }

    fn fill(&mut self) -> usize {
        let mut piece = [0; 4096];
        let read = self.stream.read(&mut piece);
        assert!(!read.as_ref().is_err_and(is_timeout), "it happens in time");
        let read = read.unwrap_or(0);
        self.read.extend_from_slice(&piece[..read]);
        read
    }
}
