//! A shard behind another HTTP server: hyper reads requests, tungstenite reads websockets, and
//! [`Shard`] decides how to answer them.
//!
//! `foreign-http --port 3000`, then any client of Socket.IO 1.x to 4.x. The program sends every
//! event back, in every namespace, and answers every acknowledgement with the arguments of the
//! event. `sio_proto::manual::shard` explains the shard step by step. This file shows everything
//! that another HTTP library has to do for it:
//!
//! ```text
//!   hyper::Request      ──► Request ─────────────────► handle_request ─┐        ┌─► Response: hyper's answer, at once or when a poll has something to say
//!   tungstenite::Message ─► WireDecoder ─► Inbound ──► handle_packets ─┼► Shard ┼─► Upgrade: 101, and the connection is tungstenite's
//!   a future is dropped ─────────────────────────────► handle_closed  ─┤        ├─► Frame: a message; Close: the last one
//!   the clock ───────────────────────────────────────► handle_timeout ─┘        └─► Delivery: the application
//! ```
//! The generations 0.9 and before are switched off: they need answers without end (htmlfile) and
//! websockets from before RFC 6455, which HTTP libraries do not know. To serve them too in a hyper
//! server, use the layer of `sio-tokio`; in other servers, `sio_app::adapter::Driver::exchange`.
//! This program has one thread and one shard. For more threads, change only the runtime.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "the line that says it listens is for whoever started it"
)]

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use sio_examples::Arguments;
use sio_proto::http::{self, BodyTooLarge, Method};
use sio_proto::server::{self, Admission, Cause, Delivery, Message, Outputs, Peer, Request, Router, Shard, Write};
use sio_proto::wire::{Wire, WireDecoder};
use sio_proto::{ByteString, Bytes, BytesMut, Config, Frame, Generations, LinkId, SocketKey, Time};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{self, Utf8Bytes};

/// The most time for the body of a request, and for a client to take what its websocket has for it.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most time for the client's half of a websocket's closing handshake.
const FAREWELL: Duration = Duration::from_secs(1);

type Answer = hyper::Response<Full<Bytes>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = Arguments::read("usage: foreign-http [--port N]", &["--port"]).port(3000);
    let server = Arc::new(Server::new()?);
    tokio::spawn(keep_time(Arc::clone(&server)));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening {}", listener.local_addr()?.port());
    loop {
        let Ok((stream, address)) = listener.accept().await else {
            // Most likely the process has no descriptors left.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let peer = Peer {
            address: Some(address),
            ..Peer::default()
        };
        let service = {
            let server = Arc::clone(&server);
            service_fn(move |request| answer(Arc::clone(&server), peer, request))
        };
        let limits = &server.config.http;
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new()) // The head of a request may take 30 s.
            .max_buf_size(limits.max_head_bytes)
            .max_headers(limits.max_headers)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        // Only the peer is concerned when a connection fails, and the peer knows it.
        tokio::spawn(connection);
    }
}

/// The shard, and the links to which its writes go.
struct Server {
    state: Mutex<State>,
    config: Arc<Config>,
    router: Router,
    start: Instant,
    /// Notified when the shard's next deadline has changed.
    alarm: Notify,
}

struct State {
    shard: Shard,
    outputs: Outputs,
    places: Vec<Place>,
    free: Vec<u32>,
    /// What the application keeps: the namespace of each socket.
    namespaces: HashMap<SocketKey, ByteString>,
}

/// The entry for one [`LinkId`], found by its slot: a request that is not answered yet, or a
/// websocket.
#[derive(Default)]
struct Place {
    generation: u32,
    outlet: Option<UnboundedSender<Write>>,
    /// How many bytes of frames wait in the queue of the websocket.
    held: usize,
}

impl Server {
    fn new() -> Result<Self, Box<dyn Error>> {
        let mut generations = Generations::modern();
        generations.engine3 = true;
        let entropy = |out: &mut [u8]| getrandom::fill(out).expect("the operating system gives random bytes");
        let mut key = [0; 16];
        entropy(&mut key);
        let shard = Shard::new(Config::default().generations(generations), 0, key, Box::new(entropy))?;
        let config = Arc::clone(shard.config());
        Ok(Self {
            state: Mutex::new(State {
                shard,
                outputs: Outputs::default(),
                places: Vec::new(),
                free: Vec::new(),
                namespaces: HashMap::new(),
            }),
            router: Router::new(&config, key, 1),
            config,
            start: Instant::now(),
            alarm: Notify::new(),
        })
    }

    /// Gives the shard one input, and handles everything that follows from it. The writes go into
    /// the queues of the links. A queue holds one answer, or the packets that a session had for its
    /// websocket, which the config limits.
    fn input(&self, act: impl FnOnce(&mut Shard, Time, &mut Outputs)) {
        let mut state = self.state.lock();
        let now = Time::ZERO + self.start.elapsed(); // Read under the lock, so the shard's time never goes back.
        let State { shard, outputs, .. } = &mut *state;
        let timeout = shard.next_timeout();
        act(shard, now, outputs);
        loop {
            let more = state.flush(now);
            let outputs = mem::take(&mut state.outputs);
            if !more && outputs.writes.is_empty() && outputs.deliveries.is_empty() {
                break;
            }
            outputs.writes.into_iter().for_each(|write| state.write(now, write));
            outputs.deliveries.into_iter().for_each(|it| state.deliver(now, it));
        }
        if state.shard.next_timeout() != timeout {
            self.alarm.notify_one();
        }
    }

    /// Tells the shard that the websocket has taken everything in its queue.
    fn drained(&self, link: LinkId) {
        if let Some(place) = self.state.lock().places.get_mut(link.slot()) {
            place.held = 0;
        }
        self.input(|shard, now, _| shard.handle_drained(now, link));
    }

    /// Opens a link, and returns it with the queue of the shard's writes for it.
    fn open(self: &Arc<Self>) -> (Link, UnboundedReceiver<Write>) {
        let (outlet, writes) = unbounded_channel();
        let mut state = self.state.lock();
        let slot = state.free.pop().unwrap_or_else(|| {
            state.places.push(Place::default());
            (state.places.len() - 1) as u32
        });
        let place = &mut state.places[slot as usize];
        place.outlet = Some(outlet);
        place.held = 0;
        let link = Link {
            id: LinkId::new(slot, place.generation),
            server: Arc::clone(self),
            cause: Cause::Failed,
        };
        (link, writes)
    }
}

impl State {
    fn flush(&mut self, now: Time) -> bool {
        self.shard.flush_ready(now, 64, &mut self.outputs)
    }

    fn write(&mut self, now: Time, write: Write) {
        let link = write.link();
        let place = self.places.get_mut(link.slot());
        let Some(place) = place.filter(|place| place.generation == link.generation()) else {
            return;
        };
        if let Some(outlet) = &place.outlet {
            if let Write::Frame(_, frame) = &write {
                // Until the websocket has taken the frames of this turn, further frames wait in the
                // session, which counts them.
                place.held += frame.bytes().len();
                self.shard.handle_blocked(now, link, place.held);
            }
            // If the receiver is gone, the link is about to be dropped.
            let _ = outlet.send(write);
        }
    }

    /// The application: handles one delivery of the shard.
    fn deliver(&mut self, now: Time, delivery: Delivery) {
        match delivery {
            Delivery::Connect { socket, namespace, .. } => {
                self.namespaces.insert(socket, ByteString::clone(&namespace));
                self.shard.accept(now, socket, &mut self.outputs);
            }
            Delivery::Event {
                socket,
                name,
                args,
                ack,
            } => {
                let namespace = self.namespaces.get(&socket).cloned().unwrap_or_default();
                let mut answer = match ack {
                    Some(id) => Message::ack(namespace, id, args),
                    None => Message::event(namespace, name, args, None),
                };
                // A client that is gone, or that does not read, loses its echo. This concerns no
                // other client.
                let _ = self.shard.emit(now, socket, &mut answer, None);
            }
            Delivery::Disconnect { socket, .. } => drop(self.namespaces.remove(&socket)),
            _ => {}
        }
    }
}

/// A link as long as its other end exists. hyper drops the future of a request whose connection is
/// gone, and the link is dropped with it.
struct Link {
    id: LinkId,
    server: Arc<Server>,
    cause: Cause,
}

impl Drop for Link {
    fn drop(&mut self) {
        let (link, cause) = (self.id, self.cause.clone());
        // The shard ignores a link that has had its answer.
        self.server
            .input(|shard, now, out| shard.handle_closed(now, link, cause, out));
        let mut state = self.server.state.lock();
        let place = &mut state.places[link.slot()];
        place.outlet = None;
        place.generation = place.generation.wrapping_add(1);
        state.free.push(link.slot() as u32);
    }
}

/// Calls the shard at each of its deadlines.
async fn keep_time(server: Arc<Server>) {
    loop {
        let next = server.state.lock().shard.next_timeout();
        let due = async {
            match next {
                Some(next) => sleep_until(server.start + next.saturating_since(Time::ZERO)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => server.input(|shard, now, out| shard.handle_timeout(now, out)),
            () = server.alarm.notified() => {}
        }
    }
}

/// Converts a request of hyper, gives it to the shard, waits for the shard's answer, and converts
/// the answer for hyper. An error ends the connection.
async fn answer(server: Arc<Server>, peer: Peer, mut request: hyper::Request<Incoming>) -> io::Result<Answer> {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    if !server.router.concerns(target) {
        // Your own routes answer here.
        if !matches!(*request.method(), hyper::Method::GET | hyper::Method::HEAD) {
            let mut refusal = page(405, "");
            refusal
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(refusal);
        }
        return Ok(page(404, "only Socket.IO here\n"));
    }
    let head = http::Request {
        method: Method::from_name(request.method().as_str()),
        target: target.into(),
        version_minor: u8::from(request.version() != hyper::Version::HTTP_10),
        headers: request.headers().iter().map(|(n, v)| (n, v.as_bytes())).collect(),
        body: Ok(Bytes::new()),
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let (link, mut writes) = server.open();
    let mut ours = Request::new(&server.config, head, peer);
    if ours.may_open_session() {
        ours.admission = Admission::Allowed; // Put your own rules here.
    }
    if ours.http.method == Method::Post {
        server.input(|shard, now, out| shard.handle_body_started(now, link.id, &ours, out));
    }
    let body = Limited::new(request.into_body(), server.config.http.max_body_bytes);
    let write = tokio::select! {
        biased;
        write = writes.recv() => write, // The shard answers without the body.
        body = timeout(PATIENCE, body.collect()) => {
            ours.http.body = match body {
                Ok(Ok(body)) => Ok(body.to_bytes()),
                Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyTooLarge),
                Ok(Err(error)) => return Err(io::Error::other(error)),
                Err(_) => return Ok(page(408, "the body took too long\n")),
            };
            ours.decode_body(&server.config);
            server.input(|shard, now, out| shard.handle_request(now, link.id, &mut ours, out));
            writes.recv().await
        }
    };
    match write {
        Some(Write::Response(_, response)) => Ok(whole(*response)),
        Some(Write::Upgrade(_, upgrade)) => {
            let answer = switching(&upgrade);
            tokio::spawn(async move {
                if let Ok(upgraded) = upgraded.await {
                    serve_websocket(link, writes, upgraded, upgrade.wire).await;
                }
            });
            Ok(answer)
        }
        // This is `Abort`. The other writes are for generations that this program does not serve.
        _ => Err(ErrorKind::ConnectionAborted.into()),
    }
}

fn whole(mut response: server::Response) -> Answer {
    let mut answer = hyper::Response::builder().status(response.status);
    if !response.exchange.keep_alive {
        answer = answer.header(CONNECTION, "close");
    }
    for (name, value) in response.fields() {
        answer = answer.header(name, value);
    }
    let answer = answer.body(Full::new(response.take_body(&mut BytesMut::new())));
    answer.unwrap_or_else(|_| page(500, "")) // A header is not valid.
}

fn switching(upgrade: &server::Upgrade) -> Answer {
    let mut answer = hyper::Response::builder()
        .status(101)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, &upgrade.accept[..]);
    for (name, value) in &upgrade.headers {
        answer = answer.header(*name, &**value);
    }
    answer.body(Full::default()).unwrap_or_else(|_| page(500, ""))
}

/// Builds a page that is not Socket.IO's. The connection ends after it, even if the request's body
/// has not been read.
fn page(status: u16, text: &'static str) -> Answer {
    let mut answer = Answer::new(Full::from(text));
    *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    answer
}

/// Reads and writes a websocket at the same time, until either direction has ended.
async fn serve_websocket(mut link: Link, mut writes: UnboundedReceiver<Write>, upgraded: Upgraded, wire: Wire) {
    let config = Arc::clone(&link.server.config);
    let limits = WebSocketConfig::default()
        .max_message_size(Some(config.websocket.max_message_bytes))
        .max_frame_size(Some(config.websocket.max_frame_bytes));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(limits)).await;
    let (mut sink, mut stream) = socket.split();
    let decoder = WireDecoder::new(wire, &config);
    let ended = tokio::select! {
        ended = read(&link, &mut stream, decoder) => ended,
        ended = write(&link, &mut sink, &mut writes) => ended,
    };
    let code = match ended {
        Ok(()) => None,
        // The peer is gone, or the write was `Abort`. Then there is no closing handshake.
        Err(tungstenite::Error::Io(_) | tungstenite::Error::ConnectionClosed) => return,
        Err(tungstenite::Error::Capacity(_)) => Some(CloseCode::Size),
        Err(tungstenite::Error::Utf8(_)) => Some(CloseCode::Invalid),
        Err(_) => Some(CloseCode::Protocol),
    };
    if code.is_none() {
        link.cause = Cause::Closed;
    }
    let frame = code.map(|code| CloseFrame {
        code,
        reason: Utf8Bytes::default(),
    });
    drop(link);
    let farewell = async {
        // If our side began to close, a Close frame has been sent already, and this does nothing.
        let _ = sink.send(tungstenite::Message::Close(frame)).await;
        while let Some(Ok(_)) = stream.next().await {}
    };
    // The connection ends even if the client does not answer.
    let _ = timeout(FAREWELL, farewell).await;
}

/// Reads the client's messages and gives them to the shard.
async fn read(
    link: &Link,
    stream: &mut (impl Stream<Item = tungstenite::Result<tungstenite::Message>> + Unpin),
    mut decoder: WireDecoder,
) -> tungstenite::Result<()> {
    let (server, mut packets) = (&link.server, Vec::new());
    while let Some(message) = stream.next().await {
        match message? {
            tungstenite::Message::Text(text) => {
                decoder.decode_text(ByteString::from(text.as_str()), &server.config, &mut packets);
            }
            tungstenite::Message::Binary(bytes) => decoder.decode_binary(bytes, &server.config, &mut packets),
            _ => continue, // tungstenite answers pings, and a Close ends the stream.
        }
        server.input(|shard, now, out| shard.handle_packets(now, link.id, &mut packets, out));
    }
    Ok(())
}

/// Writes what the shard sends, and tells the shard when everything has left.
async fn write(
    link: &Link,
    sink: &mut (impl Sink<tungstenite::Message, Error = tungstenite::Error> + Unpin),
    writes: &mut UnboundedReceiver<Write>,
) -> tungstenite::Result<()> {
    while let Some(write) = writes.recv().await {
        let message = match write {
            Write::Frame(_, frame) => message(&frame)?,
            Write::Close(_, code) => {
                let frame = code.map(|code| CloseFrame {
                    code: code.into(),
                    reason: Utf8Bytes::default(),
                });
                return sink.send(tungstenite::Message::Close(frame)).await;
            }
            _ => return Err(tungstenite::Error::ConnectionClosed), // This is `Abort`.
        };
        let is_last = writes.is_empty();
        let sent = timeout(PATIENCE, async {
            sink.feed(message).await?;
            if is_last { sink.flush().await } else { Ok(()) }
        });
        sent.await.map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
        if is_last {
            link.server.drained(link.id);
        }
    }
    Ok(())
}

/// Makes a message of a frame's payload, without a copy.
fn message(frame: &Frame) -> tungstenite::Result<tungstenite::Message> {
    let payload = frame.payload_bytes();
    Ok(match frame.is_binary() {
        true => tungstenite::Message::Binary(payload),
        false => tungstenite::Message::Text(Utf8Bytes::try_from(payload)?),
    })
}
