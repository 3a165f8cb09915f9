//! The server: one [`Shard`] is a whole Socket.IO server as one value.
//!
//! ```text
//!   bytes ──► Conn ──► Request / Inbound ──► Shard ──► Write ──► encode ──► bytes
//!                                              │
//!                                  Command ───►│───► Delivery (to the user)
//! ```
//!
//! A shard owns sessions, their sockets in all namespaces, and its part of every room. Inputs are
//! the `handle_*` methods. Each takes the time and the caller's [`Outputs`], and leaves nothing
//! behind that has to be drained in a certain order. Packets for clients wait in their session
//! until [`Shard::flush_ready`] pulls them, in bounded amounts, so that all packets of one turn
//! leave in one write.
//!
//! [`Server`] wraps one shard and its connections for callers with their own event loop: bytes in
//! and bytes out.

mod admission;
mod at;
mod bucket;
mod budget;
mod command;
mod counters;
mod delivery;
mod engine;
mod facade;
mod few;
mod generation;
mod heartbeat;
#[cfg(feature = "steps")]
mod holding;
mod http_answer;
mod kept;
pub(crate) mod legacy06;
pub(crate) mod legacy09;
mod links;
mod lobby;
mod membership;
mod message;
mod old_websocket;
mod outbox;
mod output;
mod policy;
mod posted;
mod quota;
mod route;
mod session;
mod shard;
mod spent;
mod stream;
mod timers;
#[cfg(feature = "transcript")]
pub mod transcript;
mod unconfirmed;
mod written;

pub use crate::breach::{Breach, BreachKind};
pub use crate::engine::EngineMessage;
pub use crate::reason::Reason;
pub use crate::request::{
    Admission, Auth, Cause, Companion, ConnectionError, Extension, Generation, Handshake, HostSide, Peer, Request,
    Strangeness, Stranger, Tally, TransportKind,
};
pub use crate::wire::{Garbled, PollEncoding};
pub use bucket::Pace;
pub use budget::Budget;
pub use command::{AckRequest, Command, SendError, Target, Welcome};
pub use counters::{Count, Counters, Held, Refused};
pub use delivery::{AckError, Delivery};
pub use engine::Direct;
pub use facade::{Output, Server};
#[cfg(feature = "steps")]
pub use holding::{CommonHolding, ConnectionHolding, SessionHolding};
pub use http_answer::unavailable;
pub use kept::Kept;
pub use membership::RoomWatch;
pub use message::{Encoded, Form, Forms, Message};
pub use output::{Body, Hixie, Outputs, Response, Upgrade, Write};
pub use policy::{Collision, Key, Policy, Queued, Sent};
pub use posted::Posted;
pub use quota::{LocalQuota, NoRoom, QuotaLimits, SessionQuota, network_of};
pub use route::{Routed, Router};
pub use shard::{BinaryEvent, EventsIn, NextTimeout, Shard, TimeoutReason};
pub use stream::{Part, Stream, StreamEncoding, StreamForm};
pub use written::{Then, Written};

pub(crate) use admission::{Admitted, Denied, Permit};
pub(crate) use at::{At, Ended, Input};
pub(crate) use bucket::{Measured, Meter};
pub(crate) use budget::Backlog;
pub(crate) use generation::Wiring;
pub(crate) use heartbeat::Heartbeat;
pub(crate) use http_answer::{Asker, accept_websocket, asked_headers, header, is_secure, preflight};
pub(crate) use links::Role;
pub(crate) use message::More;
pub(crate) use session::{Blocked, Carriage, Session, State};
pub(crate) use shard::Core;
#[cfg(feature = "transcript")]
pub(crate) use shard::Script;
pub(crate) use spent::Spent;
/// Releases the memory of a list that has become much shorter after a crowd. The work is constant
/// for each element that was removed.
pub(crate) fn trim<T>(list: &mut alloc::vec::Vec<T>) {
    let room = list.capacity();
    if room > 64 && list.len() < room / 4 {
        list.shrink_to(2 * list.len());
    }
}

pub(crate) use membership::{NoEntry, Standing};
pub(crate) use timers::{Alarm, Deadline, Timers};
pub(crate) use unconfirmed::{Unconfirmed, Verdict};

#[cfg(test)]
mod tests {
    use super::trim;

    /// A list gives its memory back while it shrinks, in a few large steps: each step copies what
    /// is left.
    #[test]
    fn a_list_that_shrinks_is_trimmed_in_few_steps() {
        let mut list: alloc::vec::Vec<u8> = alloc::vec![0; 10_000];
        let (mut room, mut steps) = (list.capacity(), 0);
        while list.pop().is_some() {
            trim(&mut list);
            steps += usize::from(list.capacity() != room);
            room = list.capacity();
        }
        assert!(room <= 64, "{room}");
        assert!((2..20).contains(&steps), "{steps}");
        let mut few: alloc::vec::Vec<u8> = alloc::vec::Vec::with_capacity(64);
        trim(&mut few);
        assert_eq!(few.capacity(), 64, "so few are not worth a step");
    }
}
