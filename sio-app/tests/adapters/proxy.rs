//! The client of this crate behind proxies, good ones and hostile ones, over the sockets of the
//! adapter (client C23).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use sio_app::client::{BuildError, ClientBuilder, ConnectionState, ErrorClass, StopReason, Transport};
use sio_app::{Ack, Config, Hosts, Io, Options, Socket};

use super::client::{pass, run};
use super::{PATIENCE, heard, serve, serve_with};

/// What a proxy does with a connection, after it has said what it wants.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// CONNECT, for this value of `Proxy-Authorization`.
    Http(Option<&'static str>),
    /// SOCKS 5, for this user and password.
    Socks(Option<(&'static str, &'static str)>),
    /// It reads something, says this, and closes the connection.
    Says(&'static [u8]),
    /// It reads, and says nothing.
    Silent,
}

/// A proxy on its own port. It leads to servers of the test, whatever they are called.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    /// The servers that were asked for.
    pub(super) asked: mpsc::Receiver<String>,
}

impl Proxy {
    /// Wherever this one is asked to lead to, it leads to one server.
    pub(super) fn start(kind: Kind, server: SocketAddr) -> Self {
        Self::leading(kind, move |_| server)
    }

    /// `servers` says which address has the server that was asked for.
    pub(super) fn leading(kind: Kind, servers: impl Fn(&str) -> SocketAddr + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::channel();
        let servers = Arc::new(servers);
        // The thread ends with the process of the tests.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (tell, servers) = (tell.clone(), Arc::clone(&servers));
                client.set_read_timeout(Some(PATIENCE)).unwrap();
                std::thread::spawn(move || lead(kind, client, &*servers, &tell));
            }
        });
        Self { address, asked }
    }
}

/// Serves one connection. A client that goes away ends it.
fn lead(
    kind: Kind,
    mut client: TcpStream,
    servers: &dyn Fn(&str) -> SocketAddr,
    tell: &mpsc::Sender<String>,
) -> Option<()> {
    let target = match kind {
        Kind::Http(login) => accept_connect(&mut client, login)?,
        Kind::Socks(login) => accept_socks(&mut client, login)?,
        Kind::Says(bytes) => {
            let _ = client.read(&mut [0; 1024]).ok()?;
            return client.write_all(bytes).ok();
        }
        Kind::Silent => {
            while client.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
            let _ = tell.send("gone".into());
            return None;
        }
    };
    let server = servers(&target);
    let _ = tell.send(target);
    client.set_read_timeout(None).ok()?;
    let server = TcpStream::connect(server).ok()?;
    let (from_client, from_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || pass(from_client, server));
    pass(from_server, client);
    Some(())
}

fn accept_connect(client: &mut TcpStream, login: Option<&str>) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    assert!(head.contains(&format!("\r\nHost: {target}\r\n")), "{head}");
    let given = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
    if given != login {
        let _ = client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 4\r\n\r\nno\r\n");
        return None;
    }
    client
        .write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
        .ok()?;
    Some(target)
}

fn accept_socks(client: &mut TcpStream, login: Option<(&str, &str)>) -> Option<String> {
    let take = |client: &mut TcpStream, len: usize| {
        let mut bytes = vec![0; len];
        client.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let short = |client: &mut TcpStream| {
        let len = take(client, 1)?[0];
        String::from_utf8(take(client, len.into())?).ok()
    };
    let offer = take(client, 2)?;
    let methods = take(client, offer[1].into())?;
    let wanted = if login.is_some() { 2 } else { 0 };
    if offer[0] != 5 || !methods.contains(&wanted) {
        let _ = client.write_all(&[5, 0xff]);
        return None;
    }
    client.write_all(&[5, wanted]).ok()?;
    if let Some((user, password)) = login {
        assert_eq!(take(client, 1)?, [1]);
        let given = (short(client)?, short(client)?);
        let is_wrong = (&*given.0, &*given.1) != (user, password);
        client.write_all(&[1, is_wrong.into()]).ok()?;
        if is_wrong {
            return None;
        }
    }
    let request = take(client, 4)?;
    let host = match request[3] {
        1 => std::net::Ipv4Addr::from(<[u8; 4]>::try_from(take(client, 4)?).ok()?).to_string(),
        4 => std::net::Ipv6Addr::from(<[u8; 16]>::try_from(take(client, 16)?).ok()?).to_string(),
        _ => short(client)?,
    };
    let port = take(client, 2)?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
    Some(format!("{host}:{}", u16::from_be_bytes([port[0], port[1]])))
}

fn adding(io: &Io) {
    io.of("/")
        .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b));
}

/// Connects, and lets the server add two numbers.
pub(super) fn works(builder: ClientBuilder) {
    run(async move {
        let client = builder.build().unwrap();
        let root = client.of("/").unwrap();
        root.connect().unwrap();
        let sum: f64 = root.emit_with_ack("sum", (1, 2)).await.unwrap();
        assert_eq!(sum, 3.0);
    });
}

/// Client C23: a client gets to its server through proxies of each kind, over every transport. What
/// the proxy is asked for says who resolves the name.
#[test]
fn a_client_goes_through_a_proxy() {
    let hosts = Hosts::list(["chat.example", "localhost", "127.0.0.1"]).unwrap();
    let server = serve_with(Config::default().hosts(hosts), Options::default(), adding);
    let basic = "Basic bWU6cEB3"; // me:p@w
    for (kind, scheme, named) in [
        (Kind::Http(None), "http://", "chat.example:81"),
        (Kind::Http(Some(basic)), "http://me:p%40w@", "chat.example:81"),
        (Kind::Socks(None), "socks5h://", "chat.example:81"),
        (Kind::Socks(None), "socks5h://me:p%40w@", "chat.example:81"),
        (
            Kind::Socks(Some(("me", "p@w"))),
            "socks5h://me:p%40w@",
            "chat.example:81",
        ),
        (Kind::Socks(Some(("me", "p@w"))), "socks5://me:p%40w@", "127.0.0.1:81"),
    ] {
        for transports in super::client::ways() {
            let proxy = Proxy::start(kind, server.address);
            let host = if scheme.starts_with("socks5:") {
                "127.0.0.1"
            } else {
                "chat.example"
            };
            let url = format!("http://{host}:81");
            let builder = crate::client(&url).transports(transports);
            works(builder.proxy(&format!("{scheme}{}", proxy.address)));
            for asked in proxy.asked.try_iter() {
                assert_eq!(asked, named);
            }
        }
    }
    // A name that the client resolves.
    let proxy = Proxy::start(Kind::Socks(None), server.address);
    works(crate::client("http://localhost:81").proxy(&format!("socks5://{}", proxy.address)));
    let asked = heard(&proxy.asked);
    assert!(asked.ends_with(":81") && !asked.contains("localhost"), "{asked}");
}

/// Client C23: what a proxy does wrong is told, with its address and without its password. A
/// refusal stops the client; after everything else it tries again.
#[test]
fn proxies_that_lead_nowhere_are_told() {
    let server = serve(adding);
    const LONG: &[u8] = &[b'x'; 20_000];
    for (scheme, kind, told, is_refused) in [
        (
            "http",
            Kind::Http(Some("Basic xyz")),
            "the proxy has answered 407",
            true,
        ),
        (
            "http",
            Kind::Says(b"HTTP/1.1 403 Forbidden\r\n\r\n"),
            "the proxy has answered 403",
            true,
        ),
        (
            "http",
            Kind::Says(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"),
            "the proxy has answered 502",
            false,
        ),
        (
            "http",
            Kind::Says(b"HTTP/1.1 200 OK\r\n"),
            "the connection ended inside the answer of the proxy",
            false,
        ),
        (
            "http",
            Kind::Says(b"SSH-2.0-server\r\n"),
            "the proxy does not speak HTTP",
            false,
        ),
        ("http", Kind::Says(LONG), "", false),
        (
            "socks5h",
            Kind::Says(b"\x05\xff"),
            "the proxy accepts none of the ways to log in",
            true,
        ),
        (
            "socks5h",
            Kind::Socks(Some(("me", "other"))),
            "the proxy does not accept the name and the password",
            true,
        ),
        (
            "socks5h",
            Kind::Says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            "the proxy does not speak SOCKS 5",
            false,
        ),
    ] {
        let proxy = Proxy::start(kind, server.address);
        let url = format!("{scheme}://me:secret@{}", proxy.address);
        let shown = format!("{scheme}://{}: {told}", proxy.address);
        let error = run(async move {
            let client = crate::client("http://chat.example").proxy(&url).build().unwrap();
            let mut states = client.states();
            client.of("/").unwrap().connect().unwrap();
            loop {
                if let ConnectionState::Failed(error) = states.next_state().await.unwrap() {
                    let next = states.next_state().await.unwrap();
                    match is_refused {
                        true => assert_eq!(next, ConnectionState::Stopped(StopReason::Refused(error.clone()))),
                        false => assert!(matches!(next, ConnectionState::Waiting(_)), "{next:?}"),
                    }
                    break error;
                }
            }
        });
        assert!(error.message.starts_with(&shown), "{error}");
        assert!(!error.message.contains("secret"), "{error}");
        let class = if is_refused {
            ErrorClass::Refused
        } else {
            ErrorClass::Unreachable
        };
        assert_eq!(error.class, class, "{error}");
    }
}

/// Client C23: a proxy that says nothing costs the time of an attempt, and its connection is
/// closed.
#[test]
fn a_silent_proxy_has_a_deadline() {
    let proxy = Proxy::start(Kind::Silent, "127.0.0.1:1".parse().unwrap());
    for scheme in ["http", "socks5h"] {
        let url = format!("{scheme}://{}", proxy.address);
        run(async move {
            let builder = crate::client("http://chat.example").proxy(&url);
            let client = builder
                .config(|config| config.connect_timeout(Duration::from_millis(200)))
                .build()
                .unwrap();
            let mut states = client.states();
            client.of("/").unwrap().connect().unwrap();
            loop {
                if let ConnectionState::Failed(error) = states.next_state().await.unwrap() {
                    break assert_eq!(error.class, ErrorClass::Unreachable, "{error}");
                }
            }
        });
        assert_eq!(heard(&proxy.asked), "gone");
    }
}

/// Client C23: no proxy is asked for a server of this machine, or if the client says so; a URL that
/// is not that of a proxy is an error before anything is opened.
#[test]
fn mistakes_of_proxies_are_told() {
    let server = serve(adding);
    works(crate::client(&format!("http://{}", server.address)).no_proxy());
    run(async {
        for url in ["ftp://p", "http://u:secret@p/path", "p:0", ""] {
            let error = crate::client("http://a").proxy(url).build().unwrap_err();
            assert!(matches!(error, BuildError::Proxy(_)), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let builder = crate::client("http://a")
            .proxy("p:0")
            .no_proxy()
            .transports([Transport::Polling]);
        assert!(builder.build().is_ok());
    });
}
