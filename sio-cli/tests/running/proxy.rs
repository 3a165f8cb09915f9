//! Proxies that do what proxies do wrong.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "these are tests, with threads of their own"
)]

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The most connections of a test.
const MAX_CONNECTIONS: usize = 500;

/// What a proxy does with the head of a request.
pub(crate) enum Fate {
    /// It goes on, perhaps with another head, to this port.
    Forward(String, u16),
    /// It goes on, and its answer is held back.
    Hold(String, u16, Duration),
    /// The proxy answers by itself.
    Answer(String),
    /// It goes on, and the beginning of its answer is changed.
    Change(String, u16, Change),
    /// The test does what it likes with the client.
    Take(Take),
}

/// What a proxy makes of the head of an answer.
pub(crate) type Change = Box<dyn FnOnce(String) -> String + Send>;

/// What a hostile server does with a client.
pub(crate) type Take = Box<dyn FnOnce(TcpStream) -> io::Result<()> + Send>;

/// Starts a proxy. `decide` is called with the number of the connection and the head of its first
/// request.
pub(crate) fn proxy(decide: impl Fn(usize, &str) -> Fate + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let decide = Arc::new(decide);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().take(MAX_CONNECTIONS).enumerate() {
            let decide = Arc::clone(&decide);
            thread::spawn(move || stream.and_then(|stream| serve(stream, |head| decide(number, head))));
        }
    });
    port
}

/// An answer with a page.
pub(crate) fn page(status: &str) -> Fate {
    let body = "<!doctype html><title>hello</title>";
    Fate::Answer(format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    ))
}

fn serve(mut client: TcpStream, decide: impl Fn(&str) -> Fate) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let mut piece = [0; 4096];
        match client.read(&mut piece)? {
            0 => return Ok(()),
            read => bytes.extend_from_slice(&piece[..read]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let (head, port, held, change) = match decide(&head) {
        Fate::Answer(answer) => return client.write_all(answer.as_bytes()),
        Fate::Take(take) => return take(client),
        Fate::Forward(head, port) => (head, port, Duration::ZERO, None),
        Fate::Hold(head, port, held) => (head, port, held, None),
        Fate::Change(head, port, change) => (head, port, Duration::ZERO, Some(change)),
    };
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    server.write_all(head.as_bytes())?;
    server.write_all(&bytes[end..])?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let copied = io::copy(&mut from, &mut to);
        copied.and_then(|_| to.shutdown(Shutdown::Write))
    });
    let mut first = [0; 4096];
    let read = server.read(&mut first)?;
    thread::sleep(held);
    match change {
        None => client.write_all(&first[..read])?,
        Some(change) => {
            let text = String::from_utf8(first[..read].to_vec()).map_err(io::Error::other)?;
            client.write_all(change(text).as_bytes())?;
        }
    }
    io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Both)
}
