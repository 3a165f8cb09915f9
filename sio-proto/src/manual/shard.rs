//! Part 2: the shard. Requests, messages, packets and commands, for those who have an HTTP server
//! already, or several cores. The repository's `examples/src/bin/foreign-http.rs` is a whole
//! program of it, with hyper and tungstenite.
//!
//! # Links, requests and answers
//!
//! A [`LinkId`](crate::LinkId) is the caller's name for a place that bytes can go to: a request
//! that waits for its answer, a websocket. Put a parsed request together by hand, and it may be one
//! of another library. The answer is a [`Write`](crate::server::Write) for its link. It may come at
//! once, or much later: that is what a poll is.
//!
//! Who writes the bytes himself puts any of them into bytes with
//! [`Write::encode`](crate::server::Write::encode), which also says what follows: whether the next
//! request may be read, or frames come, or the connection ends. Who has an HTTP server takes the
//! parts of a response, as below. Where requests may come ahead of an answer, ask
//! [`Shard::holds`](crate::server::Shard::holds) and
//! [`Shard::may_overtake`](crate::server::Shard::may_overtake): a poll is not to keep waiting what
//! its client has sent behind it.
//!
//! ```
//! use sio_proto::http::{Method, Request as Head};
//! use sio_proto::server::{Admission, Cause, Delivery, Outputs, Peer, Request, Shard, Write};
//! use sio_proto::{Bytes, BytesMut, Config, LinkId, Time};
//!
//! fn request(method: Method, target: &str, body: &'static str) -> Request {
//!     let headers = [("Host", "localhost")].into_iter().collect();
//!     let http = Head { method, target: target.into(), version_minor: 1, headers, body: Ok(Bytes::from_static(body.as_bytes())) };
//!     let mut request = Request::new(&Config::default(), http, Peer::default());
//!     if request.may_open_session() {
//!         request.admission = Admission::Allowed; // your own rules; without a word from you nobody gets in
//!     }
//!     request.decode_body(&Config::default()); // under no lock, if there is one
//!     request
//! }
//!
//! fn body(write: Write) -> String {
//!     let Write::Response(_, mut response) = write else { panic!("no response") };
//!     String::from_utf8_lossy(&response.take_body(&mut BytesMut::new())).into_owned()
//! }
//!
//! let (now, mut out) = (Time::ZERO, Outputs::default()); // the outputs are yours, and used again
//! let mut shard = Shard::new(Config::default(), 0, [7; 16], Box::new(|out: &mut [u8]| out.fill(7)))?;
//!
//! let first = LinkId::new(0, 0);
//! shard.handle_request(now, first, request(Method::Get, "/socket.io/?EIO=4&transport=polling", ""), &mut out);
//! let open = body(out.writes.remove(0));
//! let sid = open.split('"').nth(3).unwrap();
//! let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
//!
//! // A poll waits on its link; the answer to the POST beside it is there at once.
//! let (poll, post) = (LinkId::new(1, 0), LinkId::new(2, 0));
//! shard.handle_request(now, poll, request(Method::Get, &target, ""), &mut out);
//! assert!(out.writes.is_empty());
//! shard.handle_request(now, post, request(Method::Post, &target, "40"), &mut out);
//! assert_eq!(body(out.writes.remove(0)), "ok");
//! let Some(Delivery::Connect { socket, .. }) = out.deliveries.pop() else { panic!("nobody asks") };
//! shard.accept(now, socket, &mut out);
//!
//! // Packets are pulled: of so many links at most, and again if there are more.
//! let more = shard.flush_ready(now, 64, &mut out);
//! assert!(!more && body(out.writes.remove(0)).starts_with("40{\"sid\":"));
//!
//! // A poll whose client has gone takes its session with it.
//! shard.handle_request(now, poll, request(Method::Get, &target, ""), &mut out);
//! shard.handle_closed(now, poll, Cause::Failed, &mut out);
//! assert!(matches!(out.deliveries.pop(), Some(Delivery::Disconnect { .. })));
//! assert_eq!(shard.sessions(), 0);
//! # Ok::<(), sio_proto::ConfigError>(())
//! ```
//!
//! # Websockets of another library
//!
//! A request that becomes a websocket is answered with
//! [`Write::Upgrade`](crate::server::Write::Upgrade): what the 101 has to say, and which
//! [`Wire`](crate::wire::Wire) its messages are in. What the other library reads goes through a
//! [`WireDecoder`](crate::wire::WireDecoder) into packets; what it is to write is the payload of a
//! [`Frame`](crate::Frame).
//!
//! ```
//! # use sio_proto::http::{Method, Request as Head};
//! use sio_proto::server::{Admission, Delivery, Message, Outputs, Peer, Request, Shard, Write};
//! use sio_proto::wire::WireDecoder;
//! # use sio_proto::{Bytes, Config, LinkId, Time};
//! # let (now, mut out, link) = (Time::ZERO, Outputs::default(), LinkId::new(0, 0));
//! # let mut shard = Shard::new(Config::default(), 0, [7; 16], Box::new(|out: &mut [u8]| out.fill(7)))?;
//! # let headers = [("Host", "localhost"), ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
//! #     ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")].into_iter().collect();
//! # let http = Head { method: Method::Get, target: "/socket.io/?EIO=4&transport=websocket".into(), version_minor: 1, headers, body: Ok(Bytes::new()) };
//! let request = Request::new(shard.config(), http, Peer::default()).admission(Admission::Allowed);
//! shard.handle_request(now, link, request, &mut out);
//! let Write::Upgrade(_, upgrade) = out.writes.remove(0) else { panic!("refused") };
//! assert_eq!(&upgrade.accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
//! let config = shard.config().clone();
//! let mut decoder = WireDecoder::new(upgrade.wire, &config);
//!
//! let mut packets = Vec::new();
//! decoder.decode_text("40".into(), &config, &mut packets); // all messages that are there, under no lock
//! shard.handle_packets(now, link, &mut packets, &mut out); // then one call for all of them
//! let Some(Delivery::Connect { socket, .. }) = out.deliveries.pop() else { panic!("nobody asks") };
//! shard.accept(now, socket, &mut out);
//! shard.emit(now, socket, &mut Message::event("/".into(), "hello".into(), sio_proto::ByteString::from("1").into(), None), None)?;
//!
//! // The library's own queue is full: nothing comes out, until it has room.
//! shard.handle_blocked(now, link, 0); // of what was written before, it holds so many bytes
//! shard.flush_ready(now, 64, &mut out);
//! assert!(!out.writes.iter().any(|write| matches!(write, Write::Frame(_, frame) if frame.payload().ends_with(b"[\"hello\",1]"))));
//! shard.handle_drained(now, link);
//! shard.flush_ready(now, 64, &mut out);
//! let Some(Write::Frame(_, frame)) = out.writes.pop() else { panic!("nothing to write") };
//! assert!(!frame.is_binary() && frame.payload() == b"42[\"hello\",1]");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Several shards
//!
//! A shard is a whole server, and several stand side by side, one per core, each behind a mutex of
//! its own. They share settings and key, and have different numbers. The id of a session says in
//! which it lives, so that a [`Router`](crate::server::Router) finds it without looking into any.
//! What concerns everybody is a [`Command`](crate::server::Command) that each shard gets once:
//!
//! ```
//! # use sio_proto::http::{Method, Request as Head};
//! use sio_proto::server::{Admission, Command, Message, Outputs, Peer, Request, Routed, Router, Shard, Target, Write};
//! # use sio_proto::{ByteString, Bytes, BytesMut, Config, LinkId, Time};
//! use std::sync::Mutex;
//!
//! # let now = Time::ZERO;
//! let (config, key) = (Config::default(), [7; 16]);
//! let shard = |index| Shard::new(config.clone(), index, key, Box::new(|out: &mut [u8]| out.fill(7)));
//! let shards = [Mutex::new(shard(0)?), Mutex::new(shard(1)?)];
//! let router = Router::new(&config, key, shards.len());
//! # let request = |target: &str| {
//! #     let headers = [("Host", "localhost")].into_iter().collect();
//! #     let http = Head { method: Method::Get, target: target.into(), version_minor: 1, headers, body: Ok(Bytes::new()) };
//! #     Request::new(&config, http, Peer::default()).admission(Admission::Allowed)
//! # };
//!
//! let open = request("/socket.io/?EIO=4&transport=polling");
//! assert_eq!(router.route(&open), Routed::New); // wherever you like
//! let mut out = Outputs::default();
//! shards[1].lock().unwrap().handle_request(now, LinkId::new(0, 0), open, &mut out);
//! # let Write::Response(_, mut response) = out.writes.remove(0) else { panic!() };
//! # let answer = response.take_body(&mut BytesMut::new());
//! # let sid = std::str::from_utf8(&answer)?.split('"').nth(3).unwrap();
//! let poll = request(&format!("/socket.io/?EIO=4&transport=polling&sid={sid}"));
//! assert_eq!(router.route(&poll), Routed::Session(1)); // where it lives
//! assert_eq!(router.route(&request("/favicon.ico")), Routed::Foreign); // not ours
//!
//! let target = Target { namespace: "/".into(), ..Target::default() };
//! let message = Message::event("/".into(), "news".into(), ByteString::from("1").into(), None);
//! for shard in &shards {
//!     // One lock at a time, and never one inside another.
//!     let command = Command::Broadcast { target: target.clone(), message: message.clone() };
//!     shard.lock().unwrap().handle_command(now, command, &mut out);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What runs where:
//!
//! | under no lock | under the lock of one shard |
//! |---|---|
//! | reading, HTTP, frames, UTF-8, packets: [`Conn`](crate::conn::Conn), [`WireDecoder`](crate::wire::WireDecoder), [`Request::decode_body`](crate::server::Request::decode_body) | `handle_*`, `accept`, `refuse`, `emit`, `join`: a look-up and a queue |
//! | encoding a message: [`Message::encode`](crate::server::Message::encode) | counting references, once per member of a room |
//! | bodies of polls: [`Response::take_body`](crate::server::Response::take_body) | `flush_ready`, of a bounded number of links |
//! | the user's code, dropping what is in [`Outputs::released`](crate::server::Outputs), writing to sockets | neither of these, ever |
//!
//! Time is per shard: each has a [`next_timeout`](crate::server::Shard::next_timeout) of its own,
//! and must not be told of a time before one that it was told of already, whichever thread read the
//! clock. Links are per shard, too: a connection whose next request belongs elsewhere is gone for
//! the shard that it was known to.
//!
//! `sio-app` is all of this, done: its `Exchange` for requests of other HTTP servers, its
//! `Connection` for sockets.
