//! A message codec of your own on the transports of 2010: one JSON value per line. Every message
//! goes to all clients, including browsers with Socket.IO 4.
//!
//! ```text
//! cargo run --bin custom-codec
//! id=$(curl -s localhost:3000/lines/xhr-polling// | cut -c4-)
//! curl -d 'data="hello"%0A' localhost:3000/lines/xhr-polling/$id/send
//! curl localhost:3000/lines/xhr-polling/$id/
//! ```

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it tells where to connect")]

use bytes::BytesMut;
use sio_examples::Arguments;
use sio_tokio::codec::{MessageCodec, MessageDecoder, MessageLimits, PayloadError, PlainMessage, Received};
use sio_tokio::{ByteString, Config, Data, Server, Socket};

struct Lines;

impl MessageCodec for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }
    fn encode_session_id(&self, sid: &str, out: &mut BytesMut) {
        out.extend_from_slice(format!("id {sid}\n").as_bytes());
    }
    fn encode_heartbeat(&self, number: u32, out: &mut BytesMut) {
        out.extend_from_slice(format!("beat {number}\n").as_bytes());
    }
    fn encode_messages(&self, messages: &[PlainMessage<'_>], out: &mut BytesMut) {
        for message in messages {
            out.extend_from_slice(message.json().as_bytes());
            out.extend_from_slice(b"\n");
        }
    }
    fn is_stream(&self) -> bool {
        true // A line may arrive in pieces.
    }
    fn decoder(&self, _: MessageLimits) -> Box<dyn MessageDecoder> {
        Box::new(Unfinished(String::new()))
    }
}

/// The line that has not ended yet. The server limits its length.
struct Unfinished(String);

impl MessageDecoder for Unfinished {
    fn decode(&mut self, payload: &ByteString, _: bool, out: &mut Vec<Received>) -> Result<(), PayloadError> {
        for piece in payload.split_inclusive('\n') {
            self.0.push_str(piece);
            if piece.ends_with('\n') {
                let line = std::mem::take(&mut self.0);
                out.push(match line.trim_end().strip_prefix("beat ") {
                    Some(number) => Received::Heartbeat(number.into()),
                    None => Received::Json(line.trim_end().into()),
                });
            }
        }
        Ok(())
    }
    fn buffered_bytes(&self) -> usize {
        self.0.len()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = Arguments::read("usage: custom-codec [--port N]", &["--port"]).port(3000);
    let mut config = Config::default();
    config.legacy06 = config.legacy06.mount("/lines", Lines);
    let server = Server::new(config)?;
    let everybody = server.io().clone();
    server
        .of("/")
        .on_message(move |_: Socket, data: Data| everybody.send(data));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening {}", listener.local_addr()?.port());
    Ok(server.serve(listener).await?)
}
