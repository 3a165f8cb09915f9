//! The connections of one node to its broker, Redis or a server that speaks the same protocol, as
//! one pure value: bytes, commands and time in, connections, bytes and events out.
//!
//! ```text
//!                        Command                               Event
//!   cluster of nodes ───────────────►                 ───────────────► cluster of nodes
//!                                       [ Broker ]
//!   adapter ── connected, bytes, ───►                 ──── open, ────► adapter
//!              closed, time                                write, close
//! ```
//! A [`Broker`] keeps one connection for publishing and requests, one for subscribing as soon as a
//! channel is wanted, one for each stream that is read, and in a cluster one or two for each master
//! that is needed. Nothing here knows what the bytes of a message mean.
//!
//! Invariants:
//! - After each reconnection, every channel that is wanted is subscribed to again.
//! - Each request is answered exactly once, at its deadline at the latest.
//! - What waits for the broker is bounded in bytes ([`BrokerConfig::max_waiting_bytes`]) and in age
//!   ([`BrokerConfig::max_waiting_age`]). What is dropped is counted ([`Counters`]).
//! - A message is published at most once, unless a cluster answers that it has not taken it.
//! - What was written to a connection that was given up is carried out before what its next
//!   connection writes, or never, if the server lets a connection be ended (`CLIENT KILL`).
//! - Entries in order ([`Request::AddEntry`]) are written in their order: behind one that has
//!   failed, none is written until the caller knows.
//! - A connection that hears nothing is noticed: a node publishes a message for itself on each
//!   subscribing connection ([`BrokerConfig::probe_interval`]).
//! - The server is asked what it can do (`HELLO`, `CLUSTER SLOTS`, `ROLE`), and never what it is
//!   called.
//!
//! ```
//! use core::time::Duration;
//! use sio_proto::broker::{Broker, BrokerConfig, Command, Output};
//! use sio_proto::{BytesMut, Time};
//!
//! let config = BrokerConfig::from_url("redis://127.0.0.1")?;
//! // In production: the operating system's random generator.
//! let mut broker = Broker::new(Time::ZERO, config, Box::new(|out: &mut [u8]| out.fill(7)))?;
//! let Some(Output::Open { link, address, .. }) = broker.poll_output() else { panic!() };
//! assert_eq!(address.port, 6379);
//! broker.handle_connected(Time::ZERO, link);
//! let Some(Output::Write { bytes, .. }) = broker.poll_output() else { panic!() };
//! assert_eq!(&bytes[..], b"*4\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$7\r\nSETNAME\r\n$3\r\nsio\r\n");
//! broker.handle_bytes(Time::ZERO, link, &mut BytesMut::from("%0\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod abandoned;
mod answers;
mod channels;
mod cluster;
mod command;
mod config;
mod connection;
mod counters;
mod error;
mod flushing;
mod greeting;
mod machine;
mod publishing;
mod reading;
mod replies;
mod requests;
mod subscribing;
mod topology;
mod url;
mod watching;

pub use command::{Answer, Command, Entry, Event, Request, StreamPosition};
pub use config::{Address, BrokerConfig, BrokerConfigError, Credentials};
pub use counters::Counters;
pub use error::{BrokerError, Refusal};
pub use machine::{Broker, Output};
pub use url::BrokerUrlError;
