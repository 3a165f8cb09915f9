//! Clients of 2010 and 2011 over real sockets: a stream, a websocket from before RFC 6455, the
//! Flash policy.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use sio_app::{Config, Options, Raw, Socket};

use super::http::{Connection, get, post};
use super::{Served, dial, serve};

/// Starts a server that echoes messages.
fn echo() -> Served {
    serve(|io| {
        io.of("/")
            .on("message", |socket: Socket, text: Raw| socket.emit("message", text));
    })
}

/// Reads until these bytes have come. Returns everything that was read.
fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(end) {
        stream.read_exact(&mut byte).unwrap();
        read.push(byte[0]);
    }
    read
}

#[test]
fn an_htmlfile_and_posts_beside_it() {
    let served = echo();
    let mut stream = dial(served.address);
    stream
        .write_all(
            get("/socket.io/htmlfile//1795447994871")
                .replacen("\r\n", "\r\nReferer: http://localhost/\r\n", 1)
                .as_bytes(),
        )
        .unwrap();
    let opened = String::from_utf8(read_until(&mut stream, b"</script>\r\n")).unwrap();
    let (_, id) = opened.split_once("~m~39~m~").unwrap();
    let target = format!("/socket.io/htmlfile/{}/send", &id[..39]);
    let mut beside = Connection::open(served.address);
    for text in ["one", "two"] {
        beside.write(&post(&target, &format!("data=~m~3~m~{text}")));
        assert_eq!(beside.response(), "ok");
        let said = read_until(&mut stream, b"</script>\r\n");
        let script = format!("<script>parent.s._(\"~m~3~m~{text}\", document);</script>");
        let chunk = format!("{:x}\r\n{script}\r\n", script.len());
        assert_eq!(String::from_utf8(said).unwrap(), chunk);
    }
    served.io.close();
    assert_eq!(read_until(&mut stream, b"0\r\n\r\n"), b"0\r\n\r\n");
}

#[test]
fn a_hixie_websocket_whose_last_bytes_come_late() {
    let served = echo();
    let mut stream = dial(served.address);
    let head = "GET /socket.io/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let answer = String::from_utf8(read_until(&mut stream, b"\r\n\r\n")).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 101 WebSocket Protocol Handshake\r\n"),
        "{answer}"
    );
    stream.write_all(b"^n:ds[4U").unwrap();
    let opened = read_until(&mut stream, b"\xff");
    assert!(opened.starts_with(b"8jKS'y:G*Co,Wxa-\0~m~39~m~"), "{opened:?}");
    stream.write_all(b"\0~m~2~m~hi\xff").unwrap();
    assert_eq!(read_until(&mut stream, b"\xff"), b"\0~m~2~m~hi\xff");
    stream.write_all(b"\xff\0").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"\xff\0");
}

/// The policy is served on the port of the server and on a port of its own, to clients that ask and
/// to clients that only listen.
#[test]
fn the_flash_policy() {
    let main = serve(|_| {});
    let own = Served::started(|signal, ends| {
        crate::start_flash_policy(Config::default(), Options::default(), |_| {}, signal, ends)
    });
    for (address, asks) in [(main.address, true), (own.address, true), (own.address, false)] {
        let mut stream = dial(address);
        if asks {
            stream.write_all(b"<policy-file-request/>\0").unwrap();
        }
        let mut policy = String::new();
        stream.read_to_string(&mut policy).unwrap();
        assert!(
            policy.contains("<allow-access-from domain=\"*\" to-ports=\"*\"/>"),
            "{policy}"
        );
        assert!(policy.ends_with("</cross-domain-policy>\n"));
        let _ = stream.shutdown(Shutdown::Both);
    }
    own.signal.give();
    assert!(super::heard(&own.ended).is_ok());
}
