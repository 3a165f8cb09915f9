//! A plain WebSocket echo server on the WebSocket layer alone, without Socket.IO. It sends text
//! back as text, bytes as bytes, in messages up to 64 MiB.
//!
//! `ws-echo --port 9001` is the server for WebSocket test suites. It is also the shortest example
//! of the sans-IO codecs: an HTTP decoder reads the handshake, a WebSocket decoder reads everything
//! after it, and there is nothing between them and the socket.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "the line that says it listens is for whoever started it"
)]

use std::io;

use bytes::BytesMut;
use sio_examples::Arguments;
use sio_proto::http::{self, Request, RequestDecoder};
use sio_proto::websocket::{self, Decoder, Event, Limits, Opcode, Role, UpgradeRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const MAX_MESSAGE_BYTES: usize = 64 << 20;

#[tokio::main]
async fn main() -> io::Result<()> {
    let port = Arguments::read("usage: ws-echo [--port N]", &["--port"]).port(9001);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening {}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // Only the peer is concerned when a connection fails, and the peer knows it.
            let _ = serve(stream).await;
        });
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = BytesMut::new();
    let Some(request) = read_request(&mut stream, &mut bytes).await? else {
        return Ok(());
    };
    let mut out = BytesMut::new();
    if !answer(&request, &mut out) {
        return stream.write_all(&out).await;
    }
    let limits = Limits::default()
        .max_frame_bytes(MAX_MESSAGE_BYTES)
        .max_message_bytes(MAX_MESSAGE_BYTES);
    let mut decoder = Decoder::new(Role::Server, limits);
    loop {
        let open = echo(&mut decoder, &mut bytes, &mut out);
        stream.write_all_buf(&mut out).await?;
        if !open {
            stream.shutdown().await?;
            return drain(&mut stream).await;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
}

/// Reads one request. Returns `None` if the peer sent none, or if it sent an invalid one, which has
/// been answered.
async fn read_request(stream: &mut TcpStream, bytes: &mut BytesMut) -> io::Result<Option<Request>> {
    let mut decoder = RequestDecoder::new();
    loop {
        match decoder.decode(bytes, &http::Limits::DEFAULT) {
            Ok(Some(http::Event::Request(request))) => return Ok(Some(request)),
            Ok(Some(http::Event::Continue)) => stream.write_all(http::CONTINUE).await?,
            Ok(None) => {
                if stream.read_buf(bytes).await? == 0 {
                    return Ok(None);
                }
            }
            Err(error) => {
                let mut out = BytesMut::new();
                put_refusal(&mut out, error.status(), &[]);
                stream.write_all(&out).await?;
                return Ok(None);
            }
        }
    }
}

/// Writes the answer to the handshake. Returns false if the answer is a refusal.
fn answer(request: &Request, out: &mut BytesMut) -> bool {
    let text = |name| {
        request
            .headers
            .get(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    };
    let upgrade = UpgradeRequest {
        method: request.method.name().unwrap_or_default(),
        http_minor: request.version_minor,
        upgrade: text("upgrade"),
        connection: text("connection"),
        key: text("sec-websocket-key"),
        version: text("sec-websocket-version"),
    };
    match upgrade.accept() {
        Ok(accept) => {
            let headers = [
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Accept", accept.as_str()),
            ];
            http::encode_response(out, request.exchange(), 101, None, &headers, b"").is_ok()
        }
        Err(error) => {
            put_refusal(out, error.status(), error.header().as_slice());
            false
        }
    }
}

fn put_refusal(out: &mut BytesMut, status: u16, headers: &[(&str, &str)]) {
    let written = http::encode_response(out, http::Exchange::CLOSING, status, None, headers, b"");
    debug_assert_eq!(written, Ok(false), "the headers are ours");
}

/// Echoes the messages that are complete in `bytes`. Returns false when the connection has to end.
fn echo(decoder: &mut Decoder, bytes: &mut BytesMut, out: &mut BytesMut) -> bool {
    loop {
        match decoder.decode(bytes) {
            Ok(None) => return true,
            Ok(Some(Event::Text(text))) => websocket::encode_message(out, Opcode::Text, text.as_bytes(), None),
            Ok(Some(Event::Binary(data))) => websocket::encode_message(out, Opcode::Binary, &data, None),
            Ok(Some(Event::Ping(data))) => websocket::encode_message(out, Opcode::Pong, &data, None),
            Ok(Some(Event::Pong(_))) => {}
            Ok(Some(Event::Close(frame))) => {
                websocket::encode_close(out, frame.map(|f| (f.code, "")), None);
                return false;
            }
            Err(error) => {
                websocket::encode_close(out, Some((error.close_code(), "")), None);
                return false;
            }
        }
    }
}

/// Reads on until the peer closes, so that the peer can read our Close. If the socket were closed
/// with unread input, the system would send a reset.
async fn drain(stream: &mut TcpStream) -> io::Result<()> {
    let mut sink = [0; 4096];
    for _ in 0..1024 {
        let read = tokio::time::timeout(std::time::Duration::from_secs(1), stream.read(&mut sink)).await;
        if !matches!(read, Ok(Ok(1..))) {
            break;
        }
    }
    Ok(())
}
