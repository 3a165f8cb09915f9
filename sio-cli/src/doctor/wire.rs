//! Single requests and websockets to a server, each on a connection of its own unless it says
//! otherwise.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use sio_proto::client::proxy::ProxyScheme;
use sio_proto::http::{Limits, Method, Response, ResponseDecoder, encode_request};
use sio_proto::websocket::handshake::{UpgradeResponse, challenge};
use sio_proto::websocket::{Decoder, Event, Limits as FrameLimits, Opcode, Role, encode_message};
use sio_tokio::rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::way::{Duplex, Way, secured};
use crate::arguments::Doctor;
use crate::ending::Failed;
use crate::target::Target;
use crate::{clock, dialing, entropy};

const LIMITS: Limits = Limits::DEFAULT.max_head_bytes(64 * 1024).max_body_bytes(4 << 20);

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    Resolve(String),
    Connect(String),
    Tls(String),
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
            Self::Tls(error) => format!("TLS: {error}"),
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
    tls: Option<TlsConnector>,
    pub(super) way: Way,
    pub(super) patience: Duration,
    headers: &'a [(String, String)],
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
            true => Some(connector(arguments)?),
        };
        let patience = Duration::from_secs(arguments.timeout.into());
        let proxy = arguments.proxying.proxy(target)?;
        let of_proxy = match &proxy {
            Some(proxy) if proxy.scheme() == ProxyScheme::Https => Some(connector(arguments)?),
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
        })
    }

    /// The path of Engine.IO with this revision and transport.
    pub(super) fn engine(&self, revision: u8, transport: &str, sid: Option<&str>) -> String {
        let sid = sid.map_or_else(String::new, |sid| format!("&sid={sid}"));
        format!("{}?EIO={revision}&transport={transport}{sid}", self.path)
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Line, Trouble> {
        let host = self.target.host.trim_start_matches('[').trim_end_matches(']');
        let (stream, address) = self.way.open(host, self.target.port).await?;
        let Some(connector) = &self.tls else {
            return Ok(Line::new(stream, address, None));
        };
        let stream = secured(connector, host, stream, self.patience).await?;
        let version = stream.get_ref().1.protocol_version();
        let version = version.map(|version| format!("{version:?}"));
        Ok(Line::new(Box::new(stream), address, version))
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

fn connector(arguments: &Doctor) -> Result<TlsConnector, Failed> {
    let roots = match &arguments.ca {
        Some(file) => dialing::roots(file)?,
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        }
    };
    let provider = Arc::new(sio_tokio::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| Failed::Usage(error.to_string()))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A connection.
pub(super) struct Line {
    stream: Box<dyn Duplex>,
    buffer: BytesMut,
    pub(super) address: String,
    /// The version of TLS.
    pub(super) tls: Option<String>,
}

impl Line {
    fn new(stream: Box<dyn Duplex>, address: String, tls: Option<String>) -> Self {
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
            if let Some(response) = decoder.decode(method, &mut self.buffer, &LIMITS).map_err(broken)? {
                return Ok(response);
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
    pub(super) async fn send(&mut self, text: &str) -> Result<(), Trouble> {
        let mut frame = BytesMut::new();
        encode_message(&mut frame, Opcode::Text, text.as_bytes(), Some(entropy::bytes()));
        self.line.stream.write_all(&frame).await.map_err(broken)?;
        self.line.stream.flush().await.map_err(broken)
    }

    /// Waits for the next text.
    pub(super) async fn text(&mut self) -> Result<String, Trouble> {
        let waited = timeout(self.patience, async {
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
