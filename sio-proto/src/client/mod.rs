//! A Socket.IO client as one value: bytes, commands and the time in; bytes, connections and
//! deliveries out.
//!
//! A [`Client`] is everything between a user and one server: attempts and their delays, transports
//! and the upgrade, the heartbeat, namespaces, acknowledgements, the queue of events that wait for
//! a connection, and recovery. It opens no socket, reads no clock and draws no random number. Its
//! behaviour is that of socket.io-client 4.8 (docs/protocol/socket-io.md §8) where these pages say
//! nothing else.
//!
//! # The loop
//!
//! Here a client talks to the server of this crate, in memory. In a program, connections are
//! sockets, and `now` comes from a clock.
//!
//! ```
//! use std::collections::HashMap;
//! use std::time::Duration;
//! use sio_proto::client::{Client, ClientConfig, Delivery, Emit, Endpoint, Output, Outcome};
//! use sio_proto::server::{self, Peer, Server};
//! use sio_proto::{BytesMut, Config, Time};
//!
//! // Use a cryptographically secure generator in a program.
//! let mut server = Server::new(Config::default(), [7; 16], Box::new(|out: &mut [u8]| out.fill(7)))?;
//! let endpoint = Endpoint::parse("http://localhost")?;
//! let mut client = Client::new(endpoint, ClientConfig::default(), Box::new(|out: &mut [u8]| out.fill(9)))?;
//! let mut now = Time::ZERO;
//! let chat = client.socket("/")?;
//! client.connect(now, chat)?;
//! let sum = client.emit(now, chat, Emit::new("sum", sio_proto::ByteString::from("1,2").into()).ack())?;
//!
//! let (mut to_server, mut to_client) = (HashMap::new(), HashMap::new());
//! let mut answer = None;
//! while answer.is_none() {
//!     now = now + Duration::from_millis(1);
//!     while let Some(output) = client.poll_output() {
//!         match output {
//!             Output::Connect { link, .. } => {
//!                 let at_server = server.open(Peer::default());
//!                 to_server.insert(link, at_server);
//!                 to_client.insert(at_server, link);
//!                 client.handle_connected(now, link);
//!             }
//!             Output::Bytes(link, bytes) => {
//!                 server.handle_bytes(now, to_server[&link], &mut BytesMut::from(bytes));
//!             }
//!             Output::Close(link) => server.handle_closed(now, to_server[&link], server::Cause::Closed),
//!             Output::Delivery(Delivery::Receipt { emit, outcome: Outcome::Acknowledged(args) }) => {
//!                 assert_eq!(emit, sum);
//!                 answer = Some(args.json);
//!             }
//!             _ => {}
//!         }
//!     }
//!     while let Some(output) = server.poll_output() {
//!         match output {
//!             server::Output::Bytes(link, bytes) => {
//!                 client.handle_bytes(now, to_client[&link], &mut BytesMut::from(bytes));
//!             }
//!             server::Output::End(link) => client.handle_closed(now, to_client[&link], None),
//!             server::Output::Delivery(server::Delivery::Connect { socket, .. }) => {
//!                 server.shard(now, |shard, out| shard.accept(now, socket, out));
//!             }
//!             server::Output::Delivery(server::Delivery::Event { socket, ack: Some(ack), .. }) => {
//!                 let three = sio_proto::ByteString::from("3").into();
//!                 let mut answer = server::Message::ack("/".into(), ack, three);
//!                 server.shard(now, |shard, _| shard.emit(now, socket, &mut answer, None))?;
//!             }
//!             _ => {}
//!         }
//!     }
//!     // Wait for bytes, but no longer than until `client.next_timeout()`.
//!     client.handle_timeout(now);
//!     server.handle_timeout(now);
//! }
//! assert_eq!(answer.as_deref(), Some("3"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Map
//!
//! | file | content |
//! |---|---|
//! | `manager` | [`Client`]: what it holds, and the commands of the user |
//! | `inputs` | connections, bytes and time |
//! | `attempts` | when the client connects, what it does after a failure |
//! | `namespaces` | the packets of Socket.IO |
//! | `joining` | the CONNECT of a namespace, and the answer that is due |
//! | `emits` | the queue, acknowledgements, what is written next |
//! | `emit` | an event that the user sends |
//! | `reading` | from which connections a caller has to read although its user has enough events |
//! | `outputs` | what the caller has to do next |
//! | `socket` | the state of one namespace |
//! | `welcome` | what a server says of a namespace, as text |
//! | `shown` | what `Debug` shows of a client and its settings |
//! | `sizes` | packets that are larger than the server takes |
//! | `session/` | one session of any generation: transports, heartbeat, upgrade |
//! | `protocol` | what the generations can say |
//! | `line` | one TCP connection |
//! | `config` `endpoint` `event` `timeout` | settings, and the values that go in and come out |
//! | `backoff` `cookies` `cookie_date` | delays; cookies, and their dates |
//! | [`proxy`] | proxies: which one, and how a connection is led through it |

mod attempts;
mod backoff;
mod config;
mod cookie_date;
mod cookies;
mod emit;
mod emits;
mod endpoint;
mod event;
#[cfg(feature = "steps")]
mod holding;
mod inputs;
mod joining;
mod line;
mod manager;
#[cfg(test)]
mod memory;
mod namespaces;
mod outputs;
mod protocol;
pub mod proxy;
mod reading;
mod session;
mod shown;
mod sizes;
mod socket;
mod timeout;
mod unconfirmed;
mod welcome;

pub use config::{ClientConfig, ClientConfigError, Generation, OnRefused, Transport};
pub use emit::{Emit, Offline, Pending};
pub use emits::EmitError;
pub use endpoint::{Endpoint, UrlError};
pub use event::{
    AckTicket, ClientError, Credentials, Delivery, DisconnectReason, EmitId, ErrorClass, NotSent, Outcome, Output,
    Question, Recovery, SocketId, State, StopReason,
};
#[cfg(feature = "steps")]
pub use holding::ClientHolding;
pub use manager::{Client, CommandError};
pub use protocol::Feature;
pub use reading::Reading;
pub use timeout::TimeoutReason;
