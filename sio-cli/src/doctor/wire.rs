//! Single requests and websockets to a server, each on a connection of its own unless it says
//! otherwise.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use sio_proto::client::proxy::ProxyScheme;
use sio_proto::http::{Limits, Method, Response, ResponseDecoder, encode_request};
use sio_proto::websocket::handshake::{UpgradeResponse, challenge};
use sio_proto::websocket::{Decoder, Event, Limits as FrameLimits, Opcode, Role, encode_message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant as Deadline, timeout, timeout_at};

use super::tls::{Secured, Tls};
use super::way::{Duplex, Way};
use crate::arguments::Doctor;
use crate::ending::Failed;
use crate::target::{Target, put_parameter};
use crate::{clock, entropy};

const LIMITS: Limits = Limits::DEFAULT.max_head_bytes(64 * 1024).max_body_bytes(4 << 20);

/// How a server of TLS answers a request without it: an alert, version 3 (RFC 8446 §5.1).
const TLS_ALERT: &[u8] = &[21, 3];

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    Resolve(String),
    Connect(String),
    /// TLS, and what to do.
    Tls {
        words: String,
        advice: &'static str,
    },
    /// The proxy does not lead to the server.
    Proxy(String),
    Timeout,
    /// The connection ended, or the answer is no HTTP.
    Broken(String),
}

impl Trouble {
    pub(super) fn words(&self) -> String {
        match self {
            Self::Resolve(error) => format!("the name of the host is not known: {error}"),
            Self::Connect(error) => format!("cannot connect: {error}"),
            Self::Tls { words, .. } => format!("TLS: {words}"),
            Self::Proxy(error) => format!("proxy {error}"),
            Self::Timeout => "no answer in time".into(),
            Self::Broken(error) => error.clone(),
        }
    }
}

fn broken(error: impl std::fmt::Display) -> Trouble {
    Trouble::Broken(error.to_string())
}

/// The server, and how it is asked.
pub(super) struct Site<'a> {
    pub(super) target: &'a Target,
    pub(super) path: String,
    tls: Option<Tls>,
    pub(super) way: Way,
    pub(super) patience: Duration,
    headers: &'a [(String, String)],
    /// The query of the URL, and more of the user's.
    query: Vec<&'a (String, String)>,
}

/// A request.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// The path and the query.
    pub(super) target: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: Option<&'a str>,
}

impl<'a> Ask<'a> {
    pub(super) const fn get(target: &'a str) -> Self {
        Self {
            method: Method::Get,
            target,
            headers: &[],
            body: None,
        }
    }

    pub(super) const fn post(target: &'a str, body: &'a str) -> Self {
        Self {
            method: Method::Post,
            target,
            headers: &[("Content-Type", "text/plain;charset=UTF-8")],
            body: Some(body),
        }
    }

    pub(super) const fn with(mut self, headers: &'a [(&'a str, &'a str)]) -> Self {
        self.headers = headers;
        self
    }
}

/// What a websocket did with a request to open it.
pub(super) enum Opened {
    Open(Websocket),
    Refused(Response),
    /// The status is 101, but the answer is not that of a websocket.
    Wrong(String),
}

impl<'a> Site<'a> {
    pub(super) fn new(arguments: &'a Doctor) -> Result<Self, Failed> {
        let target = &arguments.target;
        let tls = match target.is_tls {
            false => None,
            true => Some(Tls::new(arguments)?),
        };
        let patience = arguments.patience();
        let proxy = arguments.proxying.proxy(target)?;
        let of_proxy = match &proxy {
            Some(proxy) if proxy.scheme() == ProxyScheme::Https => Some(Tls::new(arguments)?),
            _ => None,
        };
        let way = Way {
            proxy,
            tls: of_proxy,
            patience,
        };
        Ok(Self {
            target,
            path: target.path(arguments.path.as_deref()),
            tls,
            way,
            patience,
            headers: &arguments.header,
            query: target.query.iter().chain(&arguments.query).collect(),
        })
    }

    /// The path of Engine.IO, with this revision and transport.
    pub(super) fn engine(&self, revision: u8, transport: &str, sid: Option<&str>) -> String {
        self.engine_at(&self.path, revision, transport, sid)
    }

    /// The same, at another path.
    pub(super) fn engine_at(&self, path: &str, revision: u8, transport: &str, sid: Option<&str>) -> String {
        let mut target = format!("{path}?EIO={revision}&transport={transport}");
        if let Some(sid) = sid {
            // The server has chosen it.
            put_parameter(&mut target, "sid", sid);
        }
        self.put_query(&mut target);
        target
    }

    /// Appends the query of the user.
    pub(super) fn put_query(&self, target: &mut String) {
        for (name, value) in &self.query {
            put_parameter(target, name, value);
        }
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Line, Trouble> {
        let host = self.target.host.trim_start_matches('[').trim_end_matches(']');
        let (stream, address) = self.way.open(host, self.target.port).await?;
        let Some(tls) = &self.tls else {
            return Ok(Line::new(stream, address, None));
        };
        let secured = timeout(self.patience, tls.secure(host, stream)).await;
        let (stream, secured) = secured.map_err(|_| Trouble::Timeout)??;
        Ok(Line::new(Box::new(stream), address, Some(secured)))
    }

    /// Sends a request on a new connection.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Response, Trouble> {
        self.connect().await?.ask(self, ask).await
    }

    /// Asks for a websocket.
    pub(super) async fn websocket(&self, target: &str, headers: &[(&str, &str)]) -> Result<Opened, Trouble> {
        let mut line = self.connect().await?;
        let key = challenge(entropy::bytes());
        let mut all = vec![
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", key.as_str()),
        ];
        all.extend_from_slice(headers);
        let response = line.exchange(self, &Ask::get(target).with(&all), false).await?;
        if response.status != 101 {
            return Ok(Opened::Refused(response));
        }
        let text = |name| response.headers.text(name).map(std::borrow::Cow::into_owned);
        let (upgrade, connection, accept) = (text("upgrade"), text("connection"), text("sec-websocket-accept"));
        let verdict = UpgradeResponse {
            status: response.status,
            upgrade: upgrade.as_deref(),
            connection: connection.as_deref(),
            accept: accept.as_deref(),
            extensions: None,
            protocol: None,
        }
        .verify(&key, &[]);
        Ok(match verdict {
            Ok(()) => Opened::Open(Websocket {
                line,
                decoder: Decoder::new(Role::Client, FrameLimits::default()),
                patience: self.patience,
            }),
            Err(error) => Opened::Wrong(error.to_string()),
        })
    }
}

/// A connection.
pub(super) struct Line {
    stream: Box<dyn Duplex>,
    buffer: BytesMut,
    pub(super) address: String,
    pub(super) tls: Option<Secured>,
}

impl Line {
    fn new(stream: Box<dyn Duplex>, address: String, tls: Option<Secured>) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            address,
            tls,
        }
    }

    /// Sends a request and reads its answer.
    async fn ask(&mut self, site: &Site<'_>, ask: &Ask<'_>) -> Result<Response, Trouble> {
        self.exchange(site, ask, true).await
    }

    async fn exchange(&mut self, site: &Site<'_>, ask: &Ask<'_>, closes: bool) -> Result<Response, Trouble> {
        let mut headers: Vec<(&str, &str)> = ask.headers.to_vec();
        if closes {
            headers.push(("Connection", "close"));
        }
        headers.push(("User-Agent", concat!("sio-doctor/", env!("CARGO_PKG_VERSION"))));
        headers.extend(site.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut request = BytesMut::new();
        let host = site.target.authority();
        let body = ask.body.map(str::as_bytes);
        let method = ask.method;
        encode_request(&mut request, method, ask.target, &host, &headers, body).map_err(broken)?;
        let exchanged = timeout(site.patience, async {
            self.stream.write_all(&request).await.map_err(broken)?;
            self.stream.flush().await.map_err(broken)?;
            self.response(ask.method).await
        });
        exchanged.await.map_err(|_| Trouble::Timeout)?
    }

    async fn response(&mut self, method: Method) -> Result<Response, Trouble> {
        let mut decoder = ResponseDecoder::new();
        loop {
            let speaks_tls = self.tls.is_none() && self.buffer.starts_with(TLS_ALERT);
            match decoder.decode(method, &mut self.buffer, &LIMITS) {
                Ok(Some(response)) => return Ok(response),
                Ok(None) => {}
                Err(_) if speaks_tls => return Err(broken("the server speaks TLS here: use https://")),
                Err(error) => return Err(broken(error)),
            }
            let read = self.stream.read_buf(&mut self.buffer).await.map_err(broken)?;
            if read == 0 {
                let end = decoder.decode_end(&self.buffer).map_err(broken)?;
                return end.ok_or_else(|| broken("the connection was closed without an answer"));
            }
        }
    }
}

/// An open websocket.
pub(super) struct Websocket {
    line: Line,
    decoder: Decoder,
    patience: Duration,
}

impl Websocket {
    /// Sends a text. A peer that reads nothing takes at most the time of one step.
    pub(super) async fn send(&mut self, text: &str) -> Result<(), Trouble> {
        let mut frame = BytesMut::new();
        encode_message(&mut frame, Opcode::Text, text.as_bytes(), Some(entropy::bytes()));
        let sent = timeout(self.patience, async {
            self.line.stream.write_all(&frame).await.map_err(broken)?;
            self.line.stream.flush().await.map_err(broken)
        });
        sent.await.map_err(|_| Trouble::Timeout)?
    }

    /// Waits for the next text, for the time of one step.
    pub(super) async fn text(&mut self) -> Result<String, Trouble> {
        let until = self.step();
        self.text_until(until).await
    }

    /// When a step ends that begins now.
    pub(super) fn step(&self) -> Deadline {
        Deadline::from_std(clock::now()) + self.patience
    }

    /// Waits for the next text. Whatever else comes meanwhile does not make the wait longer.
    pub(super) async fn text_until(&mut self, until: Deadline) -> Result<String, Trouble> {
        let waited = timeout_at(until, async {
            loop {
                match self.decoder.decode(&mut self.line.buffer).map_err(broken)? {
                    Some(Event::Text(text)) => return Ok(text.to_string()),
                    Some(Event::Close(_)) => return Err(broken("the websocket was closed")),
                    Some(_) => continue,
                    None => {}
                }
                let read = self.line.stream.read_buf(&mut self.line.buffer).await.map_err(broken)?;
                if read == 0 {
                    return Err(broken("the websocket ended"));
                }
            }
        });
        waited.await.map_err(|_| Trouble::Timeout)?
    }
}

/// The time that something takes.
pub(super) struct Watch(Instant);

impl Watch {
    pub(super) fn start() -> Self {
        Self(clock::now())
    }

    pub(super) fn took(&self) -> Duration {
        clock::now().saturating_duration_since(self.0)
    }

    pub(super) fn words(&self) -> String {
        format!("{:.1} ms", self.took().as_secs_f64() * 1000.0)
    }
}

/// The body as text, for people.
pub(super) fn excerpt(body: &Bytes) -> String {
    let text = String::from_utf8_lossy(body);
    crate::explain::shown(text.trim(), 120)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A websocket over a stream of a few bytes, whose other end is given back.
    fn websocket(patience: Duration) -> (Websocket, tokio::io::DuplexStream) {
        let (stream, peer) = tokio::io::duplex(4);
        let socket = Websocket {
            line: Line::new(Box::new(stream), "nowhere".into(), None),
            decoder: Decoder::new(Role::Client, FrameLimits::default()),
            patience,
        };
        (socket, peer)
    }

    /// A peer that never reads, and one that trickles: each wait ends in the time of one step.
    #[test]
    fn a_websocket_waits_for_one_step_only() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(async {
            let patience = Duration::from_millis(200);
            let most = Duration::from_secs(2);
            let (mut socket, _peer) = websocket(patience);
            let sent = timeout(most, socket.send("a text that does not fit")).await;
            assert!(matches!(sent, Ok(Err(Trouble::Timeout))), "{sent:?}");

            let (mut socket, mut peer) = websocket(patience);
            let trickle = async {
                // A text of 256 bytes, one at a time.
                for byte in [0x81, 126, 1, 0].into_iter().chain([b'x'; 256]) {
                    let _ = peer.write_all(&[byte]).await;
                    tokio::time::sleep(patience / 4).await;
                }
            };
            let heard = tokio::select! {
                heard = timeout(most, socket.text()) => heard,
                () = trickle => panic!("the wait does not end"),
            };
            assert!(matches!(heard, Ok(Err(Trouble::Timeout))), "{heard:?}");
        });
    }
}
