//! A packet parser of your own: it writes the whole packet as one JSON text, as
//! `socket.io-json-parser` does. It cannot carry binary data.
//!
//! ```text
//! cargo run --bin custom-parser
//! node -e 'require("socket.io-client")("http://localhost:3000", { parser: require("socket.io-json-parser") }).emit("say", "hi")'
//! ```
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it tells where to connect")]

use serde_json::{Value, from_str, json};
use sio_examples::Arguments;
use sio_proto::server::EngineMessage;
use sio_proto::socket::text::{Decoded, Limits, decode};
use sio_proto::socket::{Packet, Revision, Role};
use sio_tokio::codec::{Messages, PacketError, PacketParser, Parsed};
use sio_tokio::{Ack, Config, RawArgs, Server, Socket};

#[derive(Debug)]
struct JsonParser;

const MALFORMED: PacketError = PacketError::Malformed("no packet in JSON");

impl PacketParser for JsonParser {
    fn encode(&self, packet: &Packet, messages: &mut Messages<'_>) -> Result<(), PacketError> {
        let mut said = json!({ "nsp": &**packet.namespace() });
        let (kind, data) = match packet {
            Packet::Event { args, .. } | Packet::Ack { args, .. } if !args.attachments.is_empty() => {
                return Err(PacketError::Malformed("JSON has no bytes"));
            }
            Packet::Connect { payload, .. } => (0, payload.as_deref().unwrap_or("{}").to_owned()),
            Packet::Disconnect { .. } => (1, String::new()),
            Packet::Event { name, args, .. } if args.is_empty() => (2, json!([&**name]).to_string()),
            Packet::Event { name, args, .. } => (2, format!("[{},{}]", json!(&**name), args.json)),
            Packet::Ack { args, .. } => (3, format!("[{}]", args.json)),
            Packet::ConnectError { payload, .. } => (4, payload.to_string()),
        };
        said["type"] = json!(kind);
        if let Packet::Event { id: Some(id), .. } | Packet::Ack { id, .. } = packet {
            said["id"] = json!(id);
        }
        if kind != 1 {
            said["data"] = from_str(&data).map_err(|_| MALFORMED)?;
        }
        messages.text(&said.to_string())
    }

    /// Rewrites the packet in the standard form and reads this, so that the standard rules are
    /// checked.
    fn decode(&self, message: EngineMessage, limits: &Limits) -> Result<Parsed, PacketError> {
        let EngineMessage::Text(text) = message else {
            return Err(PacketError::WrongKind);
        };
        let said: Value = from_str(&text).map_err(|_| MALFORMED)?;
        let namespace = said["nsp"].as_str().filter(|name| !name.contains(','));
        let (kind, namespace) = said["type"].as_u64().zip(namespace).ok_or(MALFORMED)?;
        let part = |key: &str| said.get(key).map_or_else(String::new, Value::to_string);
        let standard = format!("{kind}{namespace},{}{}", part("id"), part("data"));
        match decode(&standard.into(), Revision::Five, Role::Server, limits)? {
            Decoded::Packet(packet) => Ok(Parsed::Packet(packet)),
            Decoded::Nothing => Ok(Parsed::Nothing),
            Decoded::Partial(_) => Err(MALFORMED),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = Arguments::read("usage: custom-parser [--port N]", &["--port"]).port(3000);
    let server = Server::new(Config::default().parser(JsonParser))?;
    let everybody = server.io().clone();
    server
        .of("/")
        .on("say", move |_: Socket, words: RawArgs| everybody.emit("said", words))
        .on("echo", |_: Socket, args: RawArgs, ack: Ack| ack.send(args));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening {}", listener.local_addr()?.port());
    Ok(server.serve(listener).await?)
}
