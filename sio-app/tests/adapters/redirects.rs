//! The client of this crate and servers that redirect it: from `http` to `https` of the same host,
//! with its credentials, and nowhere else. A proxy leads to the ports 80 and 443 of the test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;

use sio_app::client::{ClientBuilder, ClientError, ClientTls, ErrorClass, Transport};
use sio_app::{Ack, Io, Options, Socket};

use super::client::run;
use super::proxy::{Kind, Proxy};
use super::{PATIENCE, heard, tls};

const TOKEN: &str = "Bearer secret";

/// A server that redirects every request, and sets two cookies. Returns the heads of its requests.
/// The thread ends with the process of the tests.
fn redirecting(to: &'static str) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, heads) = mpsc::channel();
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let _ = tell.send(String::from_utf8(head).unwrap());
            let answer = format!(
                "HTTP/1.1 308 Permanent Redirect\r\nLocation: {to}\r\nSet-Cookie: lb=1; Path=/\r\nSet-Cookie: safe=2; \
                 Path=/; Secure\r\nContent-Length: 0\r\n\r\n"
            );
            let _ = client.write_all(answer.as_bytes());
        }
    });
    (address, heads)
}

/// A client whose ways lead through a proxy, with something that nobody else may see.
fn client(url: &str, proxy: &Proxy, trust: &ClientTls) -> ClientBuilder {
    crate::client(url)
        .proxy(&proxy.address.to_string())
        .header("Authorization", TOKEN)
        .header("Cookie", "own=3")
        .tls(trust.clone())
}

fn telling(io: &Io) {
    io.of("/").on("sum", |socket: Socket, (a, b): (f64, f64), ack: Ack| {
        let handshake = socket.handshake();
        let shown = (handshake.header("authorization"), handshake.header("cookie"));
        assert_eq!(shown, (Some(TOKEN), Some("lb=1; safe=2; own=3")));
        assert!(handshake.peer().secure);
        ack.send(a + b);
    });
}

/// From port 80 to `https` of the same host, the client goes with its credentials, over every
/// transport that follows redirects.
#[test]
fn a_client_follows_to_https() {
    let secure = tls::serve(Options::default(), telling);
    let trust = ClientTls::new(secure.trust.clone());
    let to = secure.served.address;
    for transports in [vec![Transport::Polling], vec![Transport::Polling, Transport::WebSocket]] {
        let (plain, heads) = redirecting("https://localhost/socket.io/?EIO=4&transport=polling");
        let proxy = Proxy::leading(Kind::Http(None), move |asked| match asked {
            "localhost:80" => plain,
            "localhost:443" => to,
            other => panic!("nobody knows {other}"),
        });
        super::proxy::works(client("http://localhost", &proxy, &trust).transports(transports));
        let first = heard(&heads);
        assert!(
            first.contains(TOKEN) && first.contains("\r\nCookie: own=3\r\n"),
            "{first}"
        );
        assert_eq!(heard(&proxy.asked), "localhost:80");
        assert_eq!(heard(&proxy.asked), "localhost:443");
        assert!(heads.try_recv().is_err(), "the client stays at https");
    }
}

/// Another host, another port, and the way back to `http` may be somebody else's: nobody is asked
/// there, so neither headers nor cookies go there, and the user is told why.
#[test]
fn a_client_follows_nowhere_else() {
    let secure = tls::serve(Options::default(), telling);
    let trust = ClientTls::new(secure.trust);
    for to in [
        "http://other.example/socket.io/",
        "https://other.example/socket.io/",
        "//other.example/socket.io/",
        "http://localhost:81/socket.io/",
        "https://localhost:444/socket.io/",
        "http://localhost.other.example/socket.io/",
        "http://me:pw@localhost/socket.io/",
    ] {
        let (plain, heads) = redirecting(to);
        let proxy = Proxy::start(Kind::Http(None), plain);
        let builder = client("http://localhost", &proxy, &trust).transports([Transport::Polling]);
        let builder = builder.config(|config| config.reconnection(false));
        let (tell, told) = mpsc::channel();
        let error = run(async move {
            let client = builder.build().unwrap();
            let root = client.of("/").unwrap();
            root.on_connect_error(move |error: ClientError| tell.send(error).unwrap_or_default());
            root.connect().unwrap();
            heard(&told)
        });
        assert_eq!((error.class, error.status), (ErrorClass::Protocol, Some(308)), "{to}");
        assert!(
            error.message.contains("redirects that leave its origin"),
            "{to}: {error}"
        );
        assert_eq!(proxy.asked.try_iter().collect::<Vec<_>>(), ["localhost:80"], "{to}");
        assert_eq!(heads.try_iter().count(), 1, "{to}");
    }
}

/// A server that redirects in a circle is left after `max_redirects`.
#[test]
fn a_circle_of_redirects_ends() {
    let (plain, heads) = redirecting("/socket.io/again/");
    let proxy = Proxy::start(Kind::Http(None), plain);
    let builder = crate::client("http://localhost").proxy(&proxy.address.to_string());
    let builder = builder.transports([Transport::Polling]);
    let builder = builder.config(|config| config.reconnection(false).max_redirects(2u32));
    let (tell, told) = mpsc::channel();
    run(async move {
        let client = builder.build().unwrap();
        let root = client.of("/").unwrap();
        root.on_connect_error(move |error: ClientError| tell.send(error).unwrap_or_default());
        root.connect().unwrap();
        let error = heard(&told);
        assert_eq!(error.status, Some(308));
        assert!(
            error.message.contains("in a circle, and at most 2 redirects"),
            "{error}"
        );
    });
    assert_eq!(heads.try_iter().count(), 3);
}
