//! Proxies between the program and a server: CONNECT, and SOCKS 5.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "these are tests, with threads of their own"
)]

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The most connections of a proxy.
const MAX_CONNECTIONS: usize = 500;

/// `me:secret`, as `Proxy-Authorization` has it.
const LOGIN: &str = "\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n";

/// What a proxy speaks.
#[derive(Clone, Copy)]
pub(crate) enum Speaks {
    Connect,
    Socks,
}

/// A proxy that leads to one server, whatever it is asked for.
pub(crate) struct Tunnels {
    pub(crate) port: u16,
    told: mpsc::Receiver<String>,
}

impl Tunnels {
    /// Starts a proxy, which may want the user `me` and the password `secret`.
    pub(crate) fn start(speaks: Speaks, wants_login: bool, server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, told) = mpsc::channel();
        // The threads end with the process of the tests.
        thread::spawn(move || {
            for stream in listener.incoming().take(MAX_CONNECTIONS) {
                let tell = tell.clone();
                thread::spawn(move || stream.and_then(|stream| lead(stream, speaks, wants_login, server, &tell)));
            }
        });
        Self { port, told }
    }

    /// The servers that it was asked for since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.told.try_iter().collect()
    }
}

fn lead(
    mut client: TcpStream,
    speaks: Speaks,
    wants_login: bool,
    server: u16,
    tell: &mpsc::Sender<String>,
) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(60)))?;
    let asked = match speaks {
        Speaks::Connect => connect(&mut client, wants_login)?,
        Speaks::Socks => socks(&mut client, wants_login)?,
    };
    let Some(asked) = asked else { return Ok(()) };
    let _ = tell.send(asked);
    let mut server = TcpStream::connect(("127.0.0.1", server))?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let copied = io::copy(&mut from, &mut to);
        copied.and_then(|_| to.shutdown(Shutdown::Write))
    });
    io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Both)
}

fn connect(client: &mut TcpStream, wants_login: bool) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(taken::<1>(client)?[0]);
    }
    let head = String::from_utf8_lossy(&head);
    if wants_login && !head.contains(LOGIN) {
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")?;
        return Ok(None);
    }
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    Ok(head.split(' ').nth(1).map(str::to_owned))
}

fn socks(client: &mut TcpStream, wants_login: bool) -> io::Result<Option<String>> {
    let [_, methods] = taken(client)?;
    let offered = some(client, methods)?;
    let method = if wants_login { 2 } else { 0 };
    if !offered.contains(&method) {
        client.write_all(&[5, 0xff])?;
        return Ok(None);
    }
    client.write_all(&[5, method])?;
    if wants_login {
        let [_, len] = taken(client)?;
        let user = some(client, len)?;
        let [len] = taken(client)?;
        let is_right = user == b"me" && some(client, len)? == b"secret";
        client.write_all(&[1, u8::from(!is_right)])?;
        if !is_right {
            return Ok(None);
        }
    }
    let [_, _, _, kind] = taken(client)?;
    let host = match kind {
        1 => std::net::Ipv4Addr::from(taken(client)?).to_string(),
        4 => std::net::Ipv6Addr::from(taken(client)?).to_string(),
        _ => {
            let [len] = taken(client)?;
            String::from_utf8_lossy(&some(client, len)?).into_owned()
        }
    };
    let port = u16::from_be_bytes(taken(client)?);
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    Ok(Some(format!("{host}:{port}")))
}

fn taken<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).map(|()| bytes)
}

fn some(client: &mut TcpStream, len: u8) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len.into()];
    client.read_exact(&mut bytes).map(|()| bytes)
}
