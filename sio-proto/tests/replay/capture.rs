//! A recorded conversation, read from `tests/captures/NAME.json` (docs/captures.md describes the
//! format).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sio_proto::codec::{Codec, Envelope, MessagePack, Streaming};
use sio_proto::websocket::{self, CloseCode, Opcode};
use sio_proto::{BytesMut, Config, Cookie, Cors, Generations, Origins};
use std::time::Duration;

/// The mask of the client's frames. A recorded mask is only a random number, so it is replaced.
const MASK: [u8; 4] = [1, 2, 3, 4];

/// A recorded conversation of genuine peers.
pub struct Capture {
    pub name: String,
    /// The name of the scripted application.
    pub application: String,
    pub config: Config,
    /// Whether the recording includes the ends of connections.
    pub ends: bool,
    pub entries: Vec<Entry>,
    /// The events that the recorded application saw, by section, or as section `*`. `None` if the
    /// recording does not say.
    pub seen: Option<BTreeMap<String, Vec<String>>>,
}

pub struct Entry {
    pub ms: u64,
    pub what: What,
}

pub enum What {
    /// A new section begins, with connections of its own.
    Section(String),
    /// The client sent these bytes on a link.
    Client(u32, Chunk),
    /// The server sent these bytes on a link.
    Server(u32, Chunk),
    ClientEnd(u32),
    ServerEnd(u32),
    /// The recorded application destroyed a connection, below the protocol.
    Cut(u32),
    /// The recorded application acted without a cue.
    Act(Vec<Value>),
}

/// Bytes as they were sent, or the frames that they consist of.
pub enum Chunk {
    Bytes(Vec<u8>),
    Frames(Vec<Frame>),
}

pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Close(Option<u16>),
}

impl Capture {
    pub fn load(name: &str) -> Self {
        let path = format!("{}/tests/captures/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self {
            name: name.to_owned(),
            application: value["application"].as_str().unwrap().to_owned(),
            config: config(value["server"].as_str().unwrap(), value["options"].as_object().unwrap()),
            ends: value["ends"].as_bool().unwrap(),
            entries: value["entries"].as_array().unwrap().iter().map(entry).collect(),
            seen: value
                .get("seen")
                .map(|seen| serde_json::from_value(seen.clone()).unwrap()),
        }
    }
}

/// The options of a genuine server as a config. Genuine servers do not check where a page comes
/// from.
fn config(server: &str, options: &serde_json::Map<String, Value>) -> Config {
    // Genuine servers of 3.x and 4.x let every page in, and send no CORS headers unless they are
    // configured to.
    let mut config = Config::default()
        .origins(Origins::Any)
        .cors(Cors::list(<[&str; 0]>::default()));
    // These servers refuse older generations, unless they are configured not to.
    if ["socket.io@3", "socket.io@4"].iter().any(|new| server.starts_with(new)) {
        config = config.generations(Generations::modern());
    }
    for (key, value) in options {
        let millis = || Duration::from_millis(value.as_u64().unwrap());
        let seconds = || Duration::from_secs(value.as_u64().unwrap());
        config = match key.as_str() {
            "pingInterval" => config.ping_interval(millis()),
            "pingTimeout" => config.ping_timeout(millis()),
            "connectTimeout" => config.connect_timeout(millis()),
            "upgradeTimeout" => config.upgrade_timeout(millis()),
            "maxHttpBufferSize" => config.max_payload(usize::try_from(value.as_u64().unwrap()).unwrap()),
            "parser" => config.parser(MessagePack::default()),
            "cors" => {
                assert_eq!(value["credentials"], true);
                config.cors(Cors::list([value["origin"].as_str().unwrap()]).with_credentials())
            }
            "cookie" if *value == Value::Bool(false) => config,
            "cookie" => config.cookie(Cookie::default()),
            "allowEIO3" if *value == Value::Bool(true) => config.generations(Generations::default()),
            "allowEIO3" => config,
            "codec" => {
                config.legacy06.codec = match value.as_str().unwrap() {
                    "streaming" => Codec::new(Streaming),
                    "envelope" => Codec::new(Envelope),
                    other => panic!("no codec is called {other}"),
                };
                config
            }
            "polling duration" => {
                config.legacy09.poll_duration = seconds();
                config
            }
            "heartbeat interval" => {
                config.legacy09.heartbeat_interval = seconds();
                config
            }
            "heartbeat timeout" => {
                config.legacy09.heartbeat_timeout = seconds();
                config
            }
            "close timeout" => {
                config.legacy09.close_timeout = seconds();
                config
            }
            "heartbeatInterval" => {
                config.legacy06.heartbeat_interval = millis();
                config
            }
            "duration" => {
                config.legacy06.poll_duration = millis();
                config
            }
            other => panic!("an option without a counterpart: {other}"),
        };
    }
    config
}

fn entry(value: &Value) -> Entry {
    let text = |key: &str| value[key].as_str().unwrap().to_owned();
    let number = |key: &str| u32::try_from(value[key].as_u64().unwrap()).unwrap();
    let link = || number("link");
    let what = if value.get("section").is_some() {
        What::Section(text("section"))
    } else if let Some(act) = value.get("act") {
        What::Act(act.as_array().unwrap().clone())
    } else if value.get("cut").is_some() {
        What::Cut(number("cut"))
    } else if let Some(said) = value.get("client") {
        What::Client(link(), chunk(said))
    } else if let Some(said) = value.get("server") {
        What::Server(link(), chunk(said))
    } else if text("end") == "client" {
        What::ClientEnd(link())
    } else {
        What::ServerEnd(link())
    };
    let ms = value["ms"].as_u64().unwrap();
    Entry { ms, what }
}

fn chunk(value: &Value) -> Chunk {
    match value {
        Value::String(text) => Chunk::Bytes(text.clone().into_bytes()),
        Value::Array(frames) => Chunk::Frames(frames.iter().map(frame).collect()),
        other => Chunk::Bytes(bytes(&other["base64"])),
    }
}

fn frame(value: &Value) -> Frame {
    match value {
        Value::String(text) => Frame::Text(text.clone()),
        other if other.get("binary").is_some() => Frame::Binary(bytes(&other["binary"])),
        other => Frame::Close(other["close"].as_u64().map(|code| u16::try_from(code).unwrap())),
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

impl Chunk {
    /// The bytes as a client sends them.
    pub fn client_bytes(&self) -> Vec<u8> {
        self.encode(Some(MASK))
    }

    /// The bytes as a server sends them.
    pub fn server_bytes(&self) -> Vec<u8> {
        self.encode(None)
    }

    fn encode(&self, mask: Option<[u8; 4]>) -> Vec<u8> {
        let frames = match self {
            Self::Bytes(bytes) => return bytes.clone(),
            Self::Frames(frames) => frames,
        };
        let mut out = BytesMut::new();
        for frame in frames {
            match frame {
                Frame::Text(text) => websocket::encode_message(&mut out, Opcode::Text, text.as_bytes(), mask),
                Frame::Binary(data) => websocket::encode_message(&mut out, Opcode::Binary, data, mask),
                Frame::Close(code) => {
                    let code = code.map(|code| (CloseCode::new(code).unwrap(), ""));
                    websocket::encode_close(&mut out, code, mask);
                }
            }
        }
        out.to_vec()
    }
}
