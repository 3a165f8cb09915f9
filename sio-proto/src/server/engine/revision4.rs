//! The server's rules for packets of Socket.IO 1 and 2 (protocol revisions 3 and 4;
//! docs/protocol/socket-io.md §3.2, §5, §9).
//!
//! ```text
//!            open ─► `/` asked ── accepted ─► `40` ─► the CONNECTs that have waited are asked
//!                        └────── refused ──► `44"…"`, and `44` for each of them
//! ```
//! The client is in `/` without a CONNECT. It asks for other namespaces, perhaps with a query
//! behind the name. These requests wait until the application has decided about `/`. If `/` is
//! refused, they are refused too, because genuine servers also check clients in `/`. A second
//! CONNECT is confirmed a second time. Packets for a namespace that the client is not in are
//! ignored.
//!
//! Text is written in ASCII only, so that it is the same in both text dialects
//! (docs/protocol/engine-io.md §3.3). Acknowledgements are read in the form of revision 3, too, but
//! are written in the form of revision 4: nothing identifies a client of 1.0.0-1.0.2, and later
//! clients do not understand the form of revision 3.

use alloc::vec::Vec;

use bytes::BytesMut;
use bytestring::ByteString;

use super::At;
use super::messages::{misplaced, too_many_connects};
use crate::SocketKey;
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::json;
use crate::server::{Auth, Breach, Message, NoEntry, Reason, Standing};
use crate::socket::text::Encoder;
use crate::socket::{Packet, Revision};

const ENCODER: Encoder = Encoder::new(Revision::Four);

/// CONNECTs that wait for `/`, each with namespace and query. It is nearly always empty.
#[derive(Debug, Default)]
pub(crate) struct Queue(Vec<(ByteString, Option<ByteString>)>);

/// Memory of a CONNECT that waits, without its texts: its place in the queue, which may have twice
/// as many places as are in use, and what the allocator adds to two texts.
const ENTRY_BYTES: usize = 2 * size_of::<(ByteString, Option<ByteString>)>() + 32;

impl Queue {
    #[cfg(feature = "steps")]
    pub(super) fn holding(&self) -> Holding {
        let text = |(name, query): &(ByteString, Option<ByteString>)| {
            name.len() + query.as_ref().map_or(0, |query| query.len())
        };
        Holding::list::<(ByteString, Option<ByteString>)>(self.0.capacity()).with(self.0.iter().map(text))
    }

    /// Memory that they take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.texts().saturating_add(self.0.len().saturating_mul(ENTRY_BYTES))
    }

    /// Bytes of their texts.
    fn texts(&self) -> usize {
        let queries = |query: &Option<ByteString>| query.as_ref().map_or(0, |query| query.len());
        self.0
            .iter()
            .map(|(namespace, query)| namespace.len() + queries(query))
            .sum()
    }
}

impl At<'_> {
    /// The session is open: it asks for `/`.
    pub(super) fn connect_implicitly(&mut self) {
        let namespace = ByteString::from_static("/");
        self.ask_or_refuse(&namespace, None);
    }

    /// A packet of a client of Socket.IO 1 or 2.
    pub(super) fn handle_packet4(
        &mut self,
        packet: Packet,
        found: Option<(SocketKey, Standing)>,
    ) -> Result<(), Breach> {
        match (packet, found) {
            // Each CONNECT has an answer, which is queued even if there is no room. A client that
            // does not fetch its answers may not send further CONNECTs.
            (Packet::Connect { .. }, _) if self.is_full() || !self.may_connect() => {
                return Err(too_many_connects());
            }
            (Packet::Connect { namespace, .. }, Some((_, Standing::Connected))) => self.confirm(&namespace),
            (Packet::Connect { namespace, query, .. }, None) => self.connect(namespace, query),
            (Packet::Disconnect { .. }, Some((socket, _))) => self.left(socket, Reason::ClientNamespaceDisconnect),
            (Packet::Ack { id, args, .. }, Some((socket, Standing::Connected))) => self.acknowledged(socket, id, args),
            // The decoder accepts no such packet from a client.
            (packet @ Packet::ConnectError { .. }, _) => return Err(misplaced(&packet, "which only servers say")),
            (Packet::Connect { .. }, Some((_, Standing::Asked)))
            // The client has left, or had to leave, while these packets were under way.
            | (Packet::Disconnect { .. } | Packet::Ack { .. }, _) => {}
            (packet @ Packet::Event { .. }, _) => {
                self.tolerated(misplaced(&packet, "in which the client is not"), 1);
            }
        }
        Ok(())
    }

    /// A CONNECT for a namespace that the client is not in.
    fn connect(&mut self, namespace: ByteString, query: Option<ByteString>) {
        let deciding = self.socket_in("/").is_some();
        let (max, max_bytes) = (
            self.core.config.max_namespaces_per_session,
            self.core.config.max_auth_bytes,
        );
        let engine = self.engine();
        let (waiting, bytes) = engine
            .rare
            .as_ref()
            .map_or((0, 0), |rare| (rare.queue.0.len(), rare.queue.texts()));
        if engine.joined || &*namespace == "/" {
            self.ask_or_refuse(&namespace, query);
        } else if !deciding {
            self.refused(&namespace, "Not connected to /", None);
        } else if waiting >= max {
            self.refused(&namespace, NoEntry::Namespaces.as_str(), None);
        } else if bytes + namespace.len() + query.as_ref().map_or(0, |query| query.len()) > max_bytes {
            self.refused(&namespace, NoEntry::Auth.as_str(), None);
        } else if let queue = &mut engine.rare_mut().queue.0
            && queue.iter().all(|(waiting, _)| {
                step!();
                *waiting != namespace
            })
        {
            // It is copied, because it may be a slice of a receive buffer.
            let query = query.map(|query| ByteString::from(&*query));
            queue.push((ByteString::from(&*namespace), query));
            if !self.weigh() {
                self.engine().rare_mut().queue.0.pop();
                self.refused(&namespace, NoEntry::Auth.as_str(), None);
            }
        }
    }

    fn take_queued(&mut self) -> Vec<(ByteString, Option<ByteString>)> {
        let rare = self.engine().rare.as_mut();
        rare.map_or_else(Vec::new, |rare| core::mem::take(&mut rare.queue.0))
    }

    /// A socket has been accepted. If other CONNECTs have waited for it, the application is asked
    /// about them now.
    pub(super) fn ask_queued(&mut self) {
        for (namespace, query) in self.take_queued() {
            step!();
            self.connect(namespace, query);
            // It does not wait any more. Fewer bytes than before always have room.
            let _ = self.weigh();
        }
    }

    /// A socket has been refused. If it was in `/`, the CONNECTs that have waited for it are
    /// refused, too.
    pub(super) fn refuse_queued(&mut self) {
        if self.socket_in("/").is_none() {
            for (namespace, _) in self.take_queued() {
                step!();
                self.refused(&namespace, "Not connected to /", None);
            }
            // Fewer bytes than before always have room.
            let _ = self.weigh();
        }
    }

    /// Asks the user. The client's credentials are in the queries of its first request and of the
    /// CONNECT.
    fn ask_or_refuse(&mut self, namespace: &ByteString, query: Option<ByteString>) {
        let auth = Auth::Query(query.unwrap_or_default());
        if let Err(why) = self.ask(namespace, auth) {
            self.refused(namespace, why.as_str(), None);
        }
    }
}

/// The CONNECT that tells the client that it is in the namespace.
pub(crate) const fn connected(namespace: ByteString) -> Packet {
    Packet::Connect {
        namespace,
        query: None,
        payload: None,
    }
}

/// The payload of the ERROR: the data if there is any, otherwise the message.
pub(crate) fn refusal(message: &str, data: Option<&str>) -> ByteString {
    data.map_or_else(
        || {
            let mut literal = BytesMut::new();
            json::write_ascii_string(&mut literal, message);
            ByteString::try_from(literal.freeze()).unwrap_or_default()
        },
        ByteString::from,
    )
}

/// Writes an event or an acknowledgement.
pub(crate) fn write_message(out: &mut BytesMut, message: &Message) {
    match &message.name {
        Some(name) => ENCODER.event(out, &message.namespace, message.id, name, &message.args),
        None => ENCODER.ack(out, &message.namespace, message.id.unwrap_or_default(), &message.args),
    }
}
