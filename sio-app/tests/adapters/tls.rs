//! TLS: websocket and polling work through it, handshakes are limited, and the end of a connection
//! is announced.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use sio_app::client::{ClientError, ClientTls, ErrorClass, Transport};
use sio_app::rustls::pki_types::{PrivateKeyDer, ServerName};
use sio_app::rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use sio_app::{Ack, Config, HttpResponse, Io, Options, RawArgs, Socket, Tls, TlsError};
use tungstenite::{Message, WebSocket};

use super::{Served, dial, eventually, heard, http};

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A server with its own certificate, and the clients' settings that trust it.
pub(super) struct Secure {
    pub(super) served: Served,
    pub(super) trust: Arc<ClientConfig>,
    certificate: Vec<u8>,
}

pub(super) fn serve(options: Options, setup: impl FnOnce(&Io)) -> Secure {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = Tls::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(sio_app::rustls::crypto::ring::default_provider());
    let mut trust = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    trust.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let served = Served::started(|signal, ends| crate::start_tls(Config::default(), options, setup, signal, ends, tls));
    Secure {
        served,
        trust: Arc::new(trust),
        certificate: made.cert.der().to_vec(),
    }
}

/// Client C22: a client trusts the roots that it is given, or certificates by their hash, and
/// nothing else.
#[test]
fn a_client_of_this_crate_trusts_whom_it_was_told_to() {
    let secure = serve(Options::default(), |io| {
        io.of("/")
            .on("echo", |_: Socket, text: String, ack: Ack| ack.send(text));
    });
    let port = secure.served.address.port();
    let certificate = secure.certificate.clone();
    let hash = ClientTls::hash(&certificate.into());
    let trusted = [
        ClientTls::new(Arc::clone(&secure.trust)),
        ClientTls::pinned([[0; 32], hash]).unwrap(),
    ];
    for tls in trusted {
        for transports in [[Transport::Polling].to_vec(), [Transport::WebSocket].to_vec()] {
            let url = format!("https://localhost:{port}");
            let tls = tls.clone();
            super::client::run(async move {
                let client = crate::client(&url).tls(tls).transports(transports).connect().unwrap();
                let root = client.of("/").unwrap();
                let text = "x".repeat(200_000);
                let echoed: String = root.emit_with_ack("echo", &text).await.unwrap();
                assert_eq!(echoed, text);
            });
        }
    }
    let strangers = [
        ClientTls::pinned([[0; 32]]).unwrap(),
        ClientTls::with_roots(RootCertStore::empty()).unwrap(),
    ];
    for tls in strangers {
        let (tell, told) = std::sync::mpsc::channel();
        let url = format!("wss://localhost:{port}");
        super::client::run(async move {
            let client = crate::client(&url).tls(tls).build().unwrap();
            let root = client.of("/").unwrap();
            root.on_connect_error(move |error: ClientError| tell.send(error.class).unwrap_or_default());
            root.connect().unwrap();
            assert_eq!(heard(&told), ErrorClass::Tls);
        });
    }
}

/// Listens with TLS, and gives what is inside of it to another address. The threads end with the
/// process of the tests.
fn terminate(to: SocketAddr) -> (SocketAddr, RootCertStore) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(sio_app::rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let inside = TcpStream::connect(to).unwrap();
            std::thread::spawn(move || exchange(StreamOwned::new(tls, client), inside));
        }
    });
    (address, roots)
}

/// Carries bytes both ways until one side ends.
fn exchange(mut tls: StreamOwned<ServerConnection, TcpStream>, mut inside: TcpStream) {
    let turn = Some(Duration::from_millis(2));
    tls.sock.set_read_timeout(turn).unwrap();
    inside.set_read_timeout(turn).unwrap();
    let mut buffer = [0; 16 * 1024];
    loop {
        match tls.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) if inside.write_all(&buffer[..read]).is_err() => return,
            Err(error) if !super::is_timeout(&error) => return,
            Ok(_) | Err(_) => {}
        }
        match inside.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) if tls.write_all(&buffer[..read]).is_err() => return,
            Err(error) if !super::is_timeout(&error) => return,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Client C22, C23: the connection to the proxy is TLS, and the connection to the server is TLS
/// inside of it. Who may be the proxy and who may be the server are two questions.
#[test]
fn a_proxy_is_reached_with_tls() {
    use super::proxy::{Kind, Proxy};

    let adding = |io: &Io| {
        io.of("/")
            .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b));
    };
    let (plain, secure) = (super::serve(adding), serve(Options::default(), adding));
    let trust = ClientTls::new(Arc::clone(&secure.trust));
    for (url, asked, server) in [
        ("http://localhost:3000", "localhost:3000", plain.address),
        ("https://localhost", "localhost:443", secure.served.address),
    ] {
        for transport in [Transport::Polling, Transport::WebSocket] {
            let proxy = Proxy::start(Kind::Http(Some("Basic bWU6cEB3")), server);
            let (address, roots) = terminate(proxy.address);
            let builder = crate::client(url).tls(trust.clone()).transports([transport]);
            let builder = builder.proxy(&format!("https://me:p%40w@localhost:{}", address.port()));
            super::proxy::works(builder.proxy_tls(ClientTls::with_roots(roots).unwrap()));
            assert_eq!(heard(&proxy.asked), asked);
        }
    }
    // Whom the client trusts as its server is not trusted as a proxy.
    let proxy = Proxy::start(Kind::Http(None), plain.address);
    let (address, _) = terminate(proxy.address);
    let (tell, told) = std::sync::mpsc::channel();
    super::client::run(async move {
        let builder = crate::client("http://localhost:3000").proxy_tls(trust);
        let builder = builder.proxy(&format!("https://localhost:{}", address.port()));
        let client = builder.build().unwrap();
        let root = client.of("/").unwrap();
        root.on_connect_error(move |error: ClientError| tell.send(error.class).unwrap_or_default());
        root.connect().unwrap();
        assert_eq!(heard(&told), ErrorClass::Tls);
    });
    assert!(proxy.asked.try_recv().is_err(), "the proxy was told nothing");
}

/// Client C22, C23: TLS goes through a proxy to the server, whose certificate is checked. The proxy
/// is asked for the name.
#[test]
fn tls_goes_through_a_proxy() {
    use super::proxy::{Kind, Proxy};

    let adding = |io: &Io| {
        io.of("/")
            .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b));
    };
    let secure = serve(Options::default(), adding);
    for (kind, scheme) in [
        (Kind::Http(Some("Basic bWU6cEB3")), "http://me:p%40w@"),
        (Kind::Socks(None), "socks5h://"),
    ] {
        for transport in [Transport::Polling, Transport::WebSocket] {
            let proxy = Proxy::start(kind, secure.served.address);
            let builder = crate::client("https://localhost").tls(ClientTls::new(Arc::clone(&secure.trust)));
            let url = format!("{scheme}{}", proxy.address);
            super::proxy::works(builder.transports([transport]).proxy(&url));
            assert_eq!(heard(&proxy.asked), "localhost:443");
        }
    }
    let proxy = Proxy::start(Kind::Http(None), secure.served.address);
    let (tell, told) = std::sync::mpsc::channel();
    super::client::run(async move {
        let builder = crate::client("https://other.example").tls(ClientTls::new(Arc::clone(&secure.trust)));
        let client = builder.proxy(&proxy.address.to_string()).build().unwrap();
        let root = client.of("/").unwrap();
        root.on_connect_error(move |error: ClientError| tell.send(error.class).unwrap_or_default());
        root.connect().unwrap();
        assert_eq!(heard(&told), ErrorClass::Tls);
    });
}

impl Secure {
    fn dial(&self) -> Stream {
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::clone(&self.trust), name).unwrap();
        StreamOwned::new(tls, dial(self.served.address))
    }

    /// Opens a websocket and joins the main namespace.
    fn connect(&self) -> WebSocket<Stream> {
        let url = "wss://localhost/socket.io/?EIO=4&transport=websocket";
        let mut socket = tungstenite::client(url, self.dial()).unwrap().0;
        socket.send(Message::text("40")).unwrap();
        assert!(text(&mut socket).starts_with('0'));
        assert!(text(&mut socket).starts_with("40{"));
        socket
    }
}

fn text(socket: &mut WebSocket<Stream>) -> String {
    socket.read().unwrap().into_text().unwrap().to_string()
}

fn echo(io: &Io) {
    io.of("/")
        .on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", args))
        .on("secure", |socket: Socket, ack: Ack| {
            ack.send(socket.handshake().peer().secure)
        })
        .on("flood", |socket: Socket| {
            let text = "f".repeat(50_000);
            (0..200).try_for_each(|n| socket.emit("flood", (n, &text)))
        });
    io.on_request(|_| HttpResponse::text("hello"));
}

#[test]
fn events_and_requests_go_through() {
    let server = serve(Options::default(), echo);
    let mut socket = server.connect();
    for size in [10, 20_000, 900_000, 10] {
        let packet = format!(r#"42["echo","{}"]"#, "x".repeat(size));
        socket.send(Message::text(packet.clone())).unwrap();
        assert_eq!(text(&mut socket), packet);
    }
    for n in 0..1000 {
        socket.send(Message::text(format!(r#"42["echo",{n}]"#))).unwrap();
    }
    for n in 0..1000 {
        assert_eq!(text(&mut socket), format!(r#"42["echo",{n}]"#));
    }
    socket.send(Message::text(r#"421["secure"]"#)).unwrap();
    assert_eq!(text(&mut socket), "431[true]");
    let mut connection = http::Connection::over(server.dial());
    let open = connection.get("/socket.io/?EIO=4&transport=polling");
    assert!(open.starts_with("0{"), "{open}");
    assert_eq!(connection.get("/"), "hello");
    assert_eq!(connection.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn what_a_slow_reader_missed_comes_in_order() {
    let server = serve(Options::default(), echo);
    let mut socket = server.connect();
    socket.send(Message::text(r#"42["flood"]"#)).unwrap();
    for n in 0..200 {
        assert!(text(&mut socket).starts_with(&format!(r#"42["flood",{n},"#)));
    }
}

#[test]
fn who_does_not_shake_hands_is_counted_and_cut() {
    let options = Options::default()
        .max_connections(1)
        .idle_timeout(Duration::from_millis(50));
    let server = serve(options, echo);
    let mut silent = dial(server.served.address);
    // The server takes one connection, and this place is taken.
    eventually(|| server.served.io.connections() == 1);
    assert_eq!(dial(server.served.address).read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0);
    eventually(|| server.served.io.connections() == 0);
    // A client that does not speak TLS gets an alert, and then the end of the connection.
    let mut plain = dial(server.served.address);
    plain.write_all(http::get("/").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert_eq!(answer.first(), Some(&21), "{answer:?}");
}

#[test]
fn the_end_is_told() {
    let server = serve(Options::default(), echo);
    let mut idle = http::Connection::over(server.dial());
    idle.get("/");
    let mut socket = server.connect();
    server.served.signal.give();
    while socket.read().is_ok_and(|message| !message.is_close()) {}
    for stream in [&mut idle.stream, socket.get_mut()] {
        // Without a close_notify this would fail.
        std::io::copy(stream, &mut std::io::sink()).unwrap();
    }
    drop((idle, socket));
    heard(&server.served.ended).unwrap();
}

#[test]
fn what_is_no_certificate_is_refused() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let refused = |chain: &str, key: &str| Tls::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
    assert!(matches!(refused("", &key), TlsError::NoCertificate));
    assert!(matches!(refused(&chain, ""), TlsError::Pem(_)));
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = other.signing_key.serialize_pem();
    assert!(matches!(refused(&chain, &other), TlsError::Tls(_)));
}
