//! The whole server: a list of operations on [`sio_proto::server::Server`], or on a shard with
//! connections beside it as the adapters have it, with everything that must hold checked after
//! each.
//!
//! ```text
//!   input ── operations ──► World ──► Host
//!                             │         │ bytes, deliveries
//!                             │         ▼
//!                             ├─ Peer (one per link: is it HTTP? are they frames, scripts, parts?) ──► Clients (one per session: do the packets make sense?)
//!                             └─ Model (sockets, rooms, acknowledgements: naive)
//! ```
//! An operation opens or cuts a link, sends bytes on it (any bytes, or plausible requests and
//! frames that use session ids the server has given out), lets time pass, or does what a user does.
//! Checked are:
//!
//! * nothing panics, and the same input gives the same outputs;
//! * outputs only for links that are open, and what is written on a link is HTTP until a 101 and
//!   then frames (of RFC 6455 or of 2010), or scripts or parts in an answer without end, each
//!   complete when the link ends;
//! * what a client gets are packets, attachments directly behind theirs, and events only in
//!   namespaces it has been let into;
//! * a socket is heard of in order: asks, is accepted, speaks, goes; and never again after that;
//! * each acknowledgement asked for is answered exactly once, or is still open;
//! * rooms, namespaces and targets are what a naive model says;
//! * sessions are within the limit, and no fewer than the sockets need;
//! * a poll never carries more packets than may be queued;
//! * after `handle_timeout` the next deadline is in the future, and deadlines are not many;
//! * every session has a deadline; when all clients fall silent, or all links are cut, then in time
//!   nothing is left and every request is answered.

mod client;
mod endless;
mod host;
mod model;
mod peer;
mod phrases;
mod world;

use crate::pieces::hash;
use world::World;

/// See the [module](self).
pub fn server(data: &[u8]) {
    if hash(data) & 15 == 0 {
        assert_eq!(World::run(data, true), World::run(data, true), "the same input, other outputs");
    } else {
        World::run(data, false);
    }
}
