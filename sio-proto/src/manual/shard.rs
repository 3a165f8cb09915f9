//! Part 2: the shard. Requests, messages, packets and commands, for programs that already have an
//! HTTP server, or use several cores. The repository's `examples/src/bin/foreign-http.rs` is a
//! complete program with hyper and tungstenite.
//!
//! # Links, requests and answers
//!
//! A [`LinkId`](crate::LinkId) is the caller's name for a place where bytes can go: a request that
//! waits for its answer, or a websocket. A parsed request can be put together by hand, so it may
//! come from another library. The answer is a [`Write`](crate::server::Write) for its link. It may
//! come at once, or much later: a poll is a request whose answer comes later.
//!
//! A program that writes the bytes itself calls [`Write::encode`](crate::server::Write::encode) for
//! each `Write`. The result also says what follows: the next request may be read, or frames come,
//! or the connection ends. A program with an HTTP server takes the parts of a response, as below.
//! If requests may arrive before an earlier answer is written, call
//! [`Shard::holds`](crate::server::Shard::holds) and
//! [`Shard::may_overtake`](crate::server::Shard::may_overtake): a poll must not delay a request
//! that its client has sent behind it.
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
//!         request.admission = Admission::Allowed; // your own rules; without your decision nobody gets in
//!     }
//!     request.decode_body(&Config::default()); // without holding a lock, if there is one
//!     request
//! }
//!
//! fn body(write: Write) -> String {
//!     let Write::Response(_, mut response) = write else { panic!("no response") };
//!     String::from_utf8_lossy(&response.take_body(&mut BytesMut::new())).into_owned()
//! }
//!
//! let (now, mut out) = (Time::ZERO, Outputs::default()); // the outputs are yours, and are used again
//! let mut shard = Shard::new(Config::default(), 0, [7; 16], Box::new(|out: &mut [u8]| out.fill(7)))?;
//!
//! let first = LinkId::new(0, 0);
//! shard.handle_request(now, first, &mut request(Method::Get, "/socket.io/?EIO=4&transport=polling", ""), &mut out);
//! let open = body(out.writes.remove(0));
//! let sid = open.split('"').nth(3).unwrap();
//! let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
//!
//! // A poll waits on its link; the answer to the POST beside it comes at once.
//! let (poll, post) = (LinkId::new(1, 0), LinkId::new(2, 0));
//! shard.handle_request(now, poll, &mut request(Method::Get, &target, ""), &mut out);
//! assert!(out.writes.is_empty());
//! shard.handle_request(now, post, &mut request(Method::Post, &target, "40"), &mut out);
//! assert_eq!(body(out.writes.remove(0)), "ok");
//! let Some(Delivery::Connect { socket, .. }) = out.deliveries.pop() else { panic!("nobody asks") };
//! shard.accept(now, socket, &mut out);
//!
//! // Packets are pulled: for at most this many links, and again if there are more.
//! let more = shard.flush_ready(now, 64, &mut out);
//! assert!(!more && body(out.writes.remove(0)).starts_with("40{\"sid\":"));
//!
//! // If the client of a poll has gone, the session of the poll ends.
//! shard.handle_request(now, poll, &mut request(Method::Get, &target, ""), &mut out);
//! shard.handle_closed(now, poll, Cause::Failed, &mut out);
//! assert!(matches!(out.deliveries.pop(), Some(Delivery::Disconnect { .. })));
//! assert_eq!(shard.sessions(), 0);
//! # Ok::<(), sio_proto::ConfigError>(())
//! ```
//!
//! # Websockets of another library
//!
//! A request that becomes a websocket is answered with
//! [`Write::Upgrade`](crate::server::Write::Upgrade). It has the values for the 101, and the
//! [`Wire`](crate::wire::Wire) of the websocket's messages. A
//! [`WireDecoder`](crate::wire::WireDecoder) turns the messages that the other library reads into
//! packets. The library writes the payload of each [`Frame`](crate::Frame).
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
//! let mut request = Request::new(shard.config(), http, Peer::default()).admission(Admission::Allowed);
//! shard.handle_request(now, link, &mut request, &mut out);
//! let Write::Upgrade(_, upgrade) = out.writes.remove(0) else { panic!("refused") };
//! assert_eq!(&upgrade.accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
//! let config = shard.config().clone();
//! let mut decoder = WireDecoder::new(upgrade.wire, &config);
//!
//! let mut packets = Vec::new();
//! decoder.decode_text("40".into(), &config, &mut packets); // all messages that have arrived, without a lock
//! shard.handle_packets(now, link, &mut packets, &mut out); // then one call for all of them
//! let Some(Delivery::Connect { socket, .. }) = out.deliveries.pop() else { panic!("nobody asks") };
//! shard.accept(now, socket, &mut out);
//! shard.emit(now, socket, &mut Message::event("/".into(), "hello".into(), sio_proto::ByteString::from("1").into(), None), None)?;
//!
//! // The library's own queue is full: nothing comes out until it has room.
//! shard.handle_blocked(now, link, 0); // the library still holds this many bytes of earlier writes
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
//! A shard is a complete server. Several shards stand side by side, one per core, each behind its
//! own mutex. They share settings and key, and have different numbers. The id of a session names
//! its shard, so a [`Router`](crate::server::Router) finds the shard without locking any. An action
//! that concerns all sessions is a [`Command`](crate::server::Command), which each shard gets once:
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
//! let mut open = request("/socket.io/?EIO=4&transport=polling");
//! assert_eq!(router.route(&mut open), Routed::New); // any shard may take it
//! let mut out = Outputs::default();
//! shards[1].lock().unwrap().handle_request(now, LinkId::new(0, 0), &mut open, &mut out);
//! # let Write::Response(_, mut response) = out.writes.remove(0) else { panic!() };
//! # let answer = response.take_body(&mut BytesMut::new());
//! # let sid = std::str::from_utf8(&answer)?.split('"').nth(3).unwrap();
//! let mut poll = request(&format!("/socket.io/?EIO=4&transport=polling&sid={sid}"));
//! assert_eq!(router.route(&mut poll), Routed::Session(1)); // the shard of the session
//! assert_eq!(router.route(&mut request("/favicon.ico")), Routed::Foreign); // not for Socket.IO
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
//! This table says what runs where:
//!
//! | without a lock | under the lock of one shard |
//! |---|---|
//! | reading, HTTP, frames, UTF-8, packets: [`Conn`](crate::conn::Conn), [`WireDecoder`](crate::wire::WireDecoder), [`Request::decode_body`](crate::server::Request::decode_body) | `handle_*`, `accept`, `refuse`, `emit`, `join`: a look-up and a queue |
//! | encoding a message: [`Message::encode`](crate::server::Message::encode) | counting references, once per member of a room |
//! | bodies of polls: [`Response::take_body`](crate::server::Response::take_body) | `flush_ready`, for a bounded number of links |
//! | the user's code, dropping the content of [`Outputs::released`](crate::server::Outputs), writing to sockets | none of these, ever |
//!
//! Each shard has its own time: it has its own
//! [`next_timeout`](crate::server::Shard::next_timeout), and the times that it is given must not
//! decrease, whichever thread read the clock. Each shard also has its own links: if the next
//! request of a connection belongs to another shard, the connection is gone for its earlier shard.
//!
//! `sio-app` does all of this: its `Exchange` is for requests of other HTTP servers, and its
//! `Connection` is for sockets.
