//! Part 1: the facade. Bytes in, bytes out, one thread.
//!
//! # A server is a value
//!
//! A server is made from settings, a secret and a generator of random bytes. It does nothing by
//! itself. The caller tells it the time:
//!
//! ```
//! use sio_proto::server::Server;
//! use sio_proto::{Config, Time};
//!
//! let key = [7; 16]; // in a program: random, and never told to anybody
//! let entropy = |out: &mut [u8]| out.fill(7); // in a program: cryptographically secure, because session ids are made of it
//! let server = Server::new(Config::default(), key, Box::new(entropy))?;
//! assert_eq!(server.next_timeout(), None, "there is nobody to wait for");
//! let now = Time::ZERO; // you choose the start; times are in microseconds and never go backwards
//! # let _ = now;
//! # Ok::<(), sio_proto::ConfigError>(())
//! ```
//!
//! # Connections and their bytes
//!
//! An accepted connection gets a name, a [`LinkId`](crate::LinkId). Its bytes are given to the
//! server as they arrive, in pieces of any size. Then the server is asked for outputs until there
//! are none. This is the whole contract: **after every call that takes the time, take the outputs
//! until there are none.**
//!
//! ```
//! # use sio_proto::server::{Output, Peer, Server};
//! # use sio_proto::{BytesMut, Config, Time};
//! # let mut server = Server::new(Config::default(), [7; 16], Box::new(|out: &mut [u8]| out.fill(7)))?;
//! let now = Time::ZERO;
//! let link = server.open(Peer::default());
//! let request = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n\r\n";
//! let (first, second) = request.split_at(20);
//! server.handle_bytes(now, link, &mut BytesMut::from(first));
//! assert!(server.poll_output().is_none(), "half of a request is no request");
//! server.handle_bytes(now, link, &mut BytesMut::from(second));
//! let mut answer = Vec::new();
//! while let Some(Output::Bytes(to, bytes)) = server.poll_output() {
//!     assert_eq!(to, link);
//!     answer.extend_from_slice(&bytes);
//! }
//! let answer = String::from_utf8(answer)?;
//! assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
//! assert!(answer.contains("0{\"sid\":"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Output::End`](crate::server::Output::End) says that a connection has to be closed when all
//! earlier outputs are written. Its name is not valid any more.
//! [`Output::Request`](crate::server::Output::Request) is a request that is not for Socket.IO:
//! answer it with [`Server::respond`](crate::server::Server::respond), at once or later.
//!
//! The head of a websocket's handshake and the first packet are two outputs. Write them separately,
//! and give the peer a moment between them: some clients before Engine.IO 4 begin to listen when
//! the websocket is open, and lose bytes that they read together with the head. The pause does no
//! harm to the others. A program that uses [`Conn`](crate::conn::Conn) and
//! [`Shard`](crate::server::Shard) itself can leave it out where
//! [`Wire::may_follow_head`](crate::wire::Wire::may_follow_head) says so.
//!
//! Answers have no `Date` until [`Server::set_date`](crate::server::Server::set_date) sets one,
//! because a value has no calendar. A program with a clock calls it each second (RFC 9110 §6.6.1).
//!
//! # Deliveries to the application
//!
//! A [`Delivery`](crate::server::Delivery) is a fact for the application. A client that asks for a
//! namespace waits until it is accepted or refused. An event has a name and arguments; the
//! arguments are checked JSON. The application acts on the [`Shard`](crate::server::Shard) inside
//! the facade:
//!
//! ```
//! # use sio_proto::server::{Command, Delivery, Message, Output, Peer, Server, Target};
//! # use sio_proto::{BytesMut, ByteString, Config, Time};
//! # let mut server = Server::new(Config::default(), [7; 16], Box::new(|out: &mut [u8]| out.fill(7)))?;
//! # let now = Time::ZERO;
//! # let link = server.open(Peer::default());
//! # let frame = |text: &str| [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat();
//! # let mut said = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
//! #     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".to_vec();
//! # said.extend(frame("40"));
//! # let mut written = Vec::new();
//! # let mut step = |said: &[u8]| {
//! # server.handle_bytes(now, link, &mut BytesMut::from(said));
//! while let Some(output) = server.poll_output() {
//!     match output {
//!         Output::Delivery(Delivery::Connect { socket, namespace, .. }) => server.shard(now, |shard, out| {
//!             if *namespace == "/" {
//!                 shard.accept(now, socket, out);
//!                 let _ = shard.join(socket, "lobby");
//!             } else {
//!                 shard.refuse(now, socket, "Invalid namespace", None, out);
//!             }
//!         }),
//!         Output::Delivery(Delivery::Event { socket, name, args, ack: Some(id) }) if name == "sum" => {
//!             let [a, b]: [f64; 2] = serde_json::from_str(&format!("[{}]", args.json)).unwrap_or_default();
//!             let mut answer = Message::ack("/".into(), id, ByteString::from((a + b).to_string()).into());
//!             // An error says that nobody is there any more, or that the queue is full.
//!             let _ = server.shard(now, |shard, _| shard.emit(now, socket, &mut answer, None));
//!         }
//!         Output::Delivery(Delivery::Event { name, args, .. }) => {
//!             let target = Target { namespace: "/".into(), rooms: vec!["lobby".into()], ..Target::default() };
//!             let message = Message::event("/".into(), name, args, None);
//!             server.shard(now, |shard, out| shard.handle_command(now, Command::Broadcast { target, message }, out));
//!         }
//!         Output::Bytes(_, bytes) => written.extend_from_slice(&bytes),
//!         _ => {}
//!     }
//! }
//! # };
//! # step(&said);
//! # step(&frame("420[\"sum\",1,2]"));
//! # step(&frame("42[\"news\",true]"));
//! # let written = String::from_utf8_lossy(&written);
//! # assert!(written.contains("430[3]") && written.ends_with("42[\"news\",true]"), "{written}");
//! # Ok::<(), sio_proto::ConfigError>(())
//! ```
//!
//! # Time
//!
//! The caller sees one deadline for heartbeats, timeouts and the ends of polls. Wait for bytes no
//! longer than until [`next_timeout`](crate::server::Server::next_timeout), then call
//! [`handle_timeout`](crate::server::Server::handle_timeout). An early call is harmless; a late
//! call makes the timers late. A loop that wakes up more often than it should can log
//! [`next_timeout_reason`](crate::server::Server::next_timeout_reason).
//!
//! ```
//! # use sio_proto::server::{Output, Peer, Server};
//! # use sio_proto::{BytesMut, Config, Time};
//! # let mut server = Server::new(Config::default(), [7; 16], Box::new(|out: &mut [u8]| out.fill(7)))?;
//! # let link = server.open(Peer::default());
//! # let open = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n\r\n";
//! # server.handle_bytes(Time::ZERO, link, &mut BytesMut::from(&open[..]));
//! # while server.poll_output().is_some() {}
//! // A session is open, and its client sends nothing more.
//! let mut passed = Time::ZERO;
//! while let Some(deadline) = server.next_timeout() {
//!     passed = deadline; // in a program: sleep until then, or until a socket has bytes
//!     server.handle_timeout(passed);
//!     while server.poll_output().is_some() {}
//! }
//! assert_eq!(passed, Time::from_millis(45_000), "it joined no namespace in time; with nobody left there is no deadline");
//! # Ok::<(), sio_proto::ConfigError>(())
//! ```
//!
//! # Sockets that are full
//!
//! Write the outputs at once. If the operating system does not take all bytes, keep the rest, and
//! report it with [`handle_blocked`](crate::server::Server::handle_blocked). From then on packets
//! wait in their session, where their bytes and yours are bounded together
//! ([`Config::max_queued_bytes`](crate::Config::max_queued_bytes)). Report again whenever a part of
//! the rest is written: a peer that takes nothing for as long as a heartbeat may take is cut off.
//! Also stop reading from this peer when [`wants_bytes`](crate::server::Server::wants_bytes) is
//! false. When the rest is written, [`handle_drained`](crate::server::Server::handle_drained)
//! releases the packets that wait. For a socket that is never full, no call is needed.
//!
//! # The end
//!
//! A connection that the peer has closed, or that has failed, is reported with
//! [`handle_closed`](crate::server::Server::handle_closed). The application receives
//! [`Delivery::Disconnect`](crate::server::Delivery::Disconnect). A server that shuts down gives
//! its shard the command [`Drain`](crate::server::Command::Drain), or
//! [`Shutdown`](crate::server::Command::Shutdown) if there is no time. It runs on until no session
//! is left.
//!
//! # The complete program
//!
//! This program is `sio-proto/examples/facade-echo.rs`, and is tested with clients:
//!
//! ```no_run
#![doc = include_str!("../../examples/facade-echo.rs")]
//! ```
//!
//! A production loop needs more: a poller instead of asking every socket, a limit on the number of
//! connections, a deadline for requests that do not end, and a deadline for peers that do not take
//! their bytes.
