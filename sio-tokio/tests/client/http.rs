//! A small client of HTTP/1.1, written by hand.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::patiently;

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

pub(crate) fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            read: Vec::new(),
        }
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    pub(crate) async fn get(&mut self, path: &str) -> String {
        self.write(&get(path)).await;
        self.response().await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &str) -> String {
        self.write(&post(path, body)).await;
        self.response().await
    }

    /// Reads the next response and returns its body.
    pub(crate) async fn response(&mut self) -> String {
        self.response_with_head().await.1
    }

    pub(crate) async fn response_with_head(&mut self) -> (String, String) {
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
            assert!(self.fill().await > 0, "closed inside a response");
        }
    }

    /// Reads up to the end of this text, and returns everything that was read.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        loop {
            let found = self.read.windows(text.len()).position(|w| w == text.as_bytes());
            if let Some(start) = found {
                let read: Vec<u8> = self.read.drain(..start + text.len()).collect();
                return String::from_utf8(read).unwrap();
            }
            assert!(self.fill().await > 0, "closed before {text:?}");
        }
    }

    /// Waits until the server closes the connection, and ignores what it sends before.
    pub(crate) async fn closed(&mut self) {
        while self.fill().await > 0 {}
    }

    async fn fill(&mut self) -> usize {
        patiently(self.stream.read_buf(&mut self.read)).await.unwrap_or(0)
    }
}
