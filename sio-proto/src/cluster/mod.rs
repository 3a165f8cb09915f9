//! One node of a cluster, as a value: what it tells other nodes and what it hears from them, over a
//! broker. Feature `cluster`.
//!
//! ```text
//!   application ── LocalOrder, rooms, answers ──► Node ── broker::Command ──► broker
//!               ◄────────── Delivery ───────────      ◄── broker::Event ────
//! ```
//! A [`Node`] stands beside nodes of Node.js with the adapters of Socket.IO, and speaks as they do
//! (docs/protocol/cluster-redis.md): [`ClusterKind`](crate::ClusterKind) says with which adapter.
//! The connections to the broker belong to [`broker`](crate::broker); this module knows none. An
//! [`Emitter`] sends only.
//!
//! What a node does with an order for its own sockets is the application's business: it carries the
//! order out here, and gives it to [`Node::handle_local`] for the others. What others order comes
//! as [`Delivery::CarryOut`].
//!
//! # Invariants
//!
//! - A node hears exactly its own channels: one for each namespace, one for its answers, and one
//!   for each room with a member here, where rooms have channels. There are no patterns.
//! - Every request ends exactly once ([`Delivery::Ended`]), at its deadline at the latest, and at
//!   most one answer of each node counts.
//! - Nothing that somebody publishes ends a node, makes it keep more than
//!   [`ClusterConfig`](crate::ClusterConfig) allows, or makes it publish something that ends a
//!   genuine node (§9).
//! - Own messages that come back are recognised by their first or last bytes, and are not read.
//!
//! # Without a lock
//!
//! A node that several threads share stands behind a lock. Its long work is done without the lock:
//! ```text
//!   Node::voice ─────► Voice::order, ask, answer_… ─► Written ─► Node::send            to others
//!   Node::recognise ─► Unread ─► Reader::read ──────► Message ─► Node::handle_message  from others
//! ```
//! The two ends are short. The middle writes or reads the bytes of a message, and needs no node.
//! [`Node::handle_local`], [`Node::handle_broker`] and `answer_…` do all three steps in one call.
//! A [`RecordWriter`] writes the record of a client, and a [`Comeback`] reads one.

mod channels;
mod comeback;
mod counters;
mod delivery;
mod emitter;
pub mod messages;
mod node;
mod order;
mod output;
mod record;
pub mod relay;
mod seal;
mod sending;
mod tail;
mod voice;

pub use comeback::{Comeback, Missed, NotRestored, Restored, Step};
pub use counters::{Counters, Traffic};
pub use delivery::{Asker, Delivery, Outcome, RequestEnd, RequestId};
pub use emitter::{Emitter, NotSent};
pub use node::{Message, Node, Reader, Unread};
pub use order::{Emit, Flags, LocalOrder, NodeId, Order, Question, Recipients, RemoteSocket, Target};
pub use output::Outputs;
pub use record::{RecordWriter, forget, home};
pub use tail::{Tail, TailEnd, TailEvent, TailStep};
pub use voice::{Voice, Written};
