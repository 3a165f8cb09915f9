//! The whole server. The input is a list of operations on [`sio_proto::server::Server`], or on a
//! shard and its connections, as the adapters have them. All rules are checked after each
//! operation.
//!
//! ```text
//!   input ── operations ──► World ──► Host
//!                             │         │ bytes, deliveries
//!                             │         ▼
//!                             ├─ Peer (one per link: is it HTTP? are they frames, scripts, parts?) ──► Clients (one per session: do the packets make sense?)
//!                             └─ Model (sockets, rooms, acknowledgements: naive)
//! ```
//! An operation opens or cuts a link, sends bytes on it (any bytes, or plausible requests and
//! frames with session ids that the server has given out), lets time pass, or does what a user
//! does. The target checks these rules:
//!
//! * nothing panics, and the same input gives the same outputs;
//! * there are outputs only for open links; a link carries HTTP until a 101 and then frames (of RFC
//!   6455 or of 2010), or an answer without end that carries scripts or parts; and everything is
//!   complete when the link ends;
//! * a client gets packets; the attachments of a packet follow it directly; and events come only in
//!   namespaces that the client is in;
//! * deliveries about a socket come in order: it connects, is accepted, sends, and disconnects; and
//!   nothing comes after that;
//! * each requested acknowledgement is answered exactly once, or is still open;
//! * rooms, namespaces and targets agree with a naive model;
//! * the number of sessions is within the limit, and not less than the sockets need;
//! * a poll never carries more packets than may be queued;
//! * after `handle_timeout` the next deadline is in the future, and there are not too many
//!   deadlines;
//! * every session has a deadline; when all clients fall silent, or all links are cut, nothing is
//!   left after some time, and every request has been answered.

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
