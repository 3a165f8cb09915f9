//! The application, as a turn sees it: a small interface that the user's side of this crate
//! implements.
//!
//! A turn is below handles and namespaces and does not know them. This trait has everything that a
//! turn asks or tells them. All methods except [`Application::shards`] may run user code, so none
//! of them is called under a lock.

use std::any::Any;
#[cfg(feature = "redis")]
use std::pin::Pin;
use std::sync::Arc;

#[cfg(feature = "redis")]
use sio_proto::recovery::NotRecovered;
use sio_proto::server::{ConnectionError, EngineMessage, TransportKind};

use crate::args::{detached_text, small};
use crate::error::HandlerError;
use crate::guarded::guarded;
use crate::turn::call::{Ending, Failure};
use crate::turn::mailbox::Letter;
use crate::turn::policy::Policy;
use crate::turn::raw_session::RawSession;
use crate::turn::room_news::RoomEvent;
use crate::turn::shard::ShardCell;
use crate::turn::shards::Shards;
use crate::turn::socket::SocketCell;
use crate::turn::table::{OutgoingFn, Table};

pub(crate) trait Application: Any + Send + Sync {
    /// Returns the application's shards.
    fn shards(&self) -> &Shards;

    /// Returns the handlers for a socket that asks for its namespace, or `None` if there is no such
    /// namespace.
    fn table(&self, socket: &Arc<SocketCell>) -> Option<Arc<Table>>;

    /// Makes the public id of a socket that is about to be let in. `None` leaves it the drawn one.
    fn make_id(&self, socket: &Arc<SocketCell>) -> Option<String>;

    /// Reports an event of a raw Engine.IO session.
    fn engine(&self, session: Arc<RawSession>, news: EngineNews);

    /// Reports that a socket's session has moved to a websocket.
    fn upgraded(&self, socket: Arc<SocketCell>, transport: TransportKind);

    /// Reports that a request was refused.
    fn refused(&self, error: &ConnectionError);

    /// Reports an error in user code.
    fn report(&self, socket: Option<&Arc<SocketCell>>, event: &str, error: &HandlerError);

    /// Reports the failure of a handler. If the client waits for an acknowledgement, it gets one
    /// with an error.
    fn failed(&self, socket: &Arc<SocketCell>, event: &str, failure: Failure);

    /// Returns the functions that are called for each event that is sent to this namespace.
    fn watchers(&self, namespace: &str) -> Vec<OutgoingFn>;

    /// Returns the policy for an event to a namespace.
    fn policy(&self, namespace: &str, event: &str) -> Option<Policy>;

    /// Reports that a namespace of a rule has its first member.
    fn namespace_begins(&self, socket: &Arc<SocketCell>);

    /// Reports that a socket has been let in, or that it is gone. A cluster wants to know.
    #[cfg(feature = "redis")]
    fn socket_changed(&self, socket: &Arc<SocketCell>);

    /// Asks other servers for the record of a client that wants to come back. Returns `None` if
    /// nobody has to be asked. The result is why the client cannot come back, if this is known.
    #[cfg(feature = "redis")]
    fn bring_back(&self, socket: &Arc<SocketCell>, table: &Table) -> Option<Bringing>;

    /// Reports that the record of a socket has begun, changed or ended.
    #[cfg(feature = "redis")]
    fn record_changed(&self, socket: &Arc<SocketCell>);

    /// Reports that the record with this secret was revoked. An earlier process has written it for
    /// other servers, and this one has not.
    #[cfg(feature = "redis")]
    fn record_revoked(&self, pid: bytestring::ByteString);

    /// Reports an event of a room. It is called only if the application has asked for such events,
    /// or, for the first and the last member of a room, in a cluster.
    fn room(&self, event: &RoomEvent);

    /// Reports that the record of a socket has ended, and that its client has not come back.
    fn expired(&self, socket: &Arc<SocketCell>);

    /// Reports that a shard has lost its last session during a shutdown.
    fn shard_emptied(&self);
}

/// The search for the record of a client.
#[cfg(feature = "redis")]
pub(crate) type Bringing = Pin<Box<dyn Future<Output = Option<NotRecovered>> + Send>>;

/// What has happened to a raw Engine.IO session.
pub(crate) enum EngineNews {
    Opened,
    Message(EngineMessage),
    Upgraded(TransportKind),
    Closed(Ending),
}

impl Letter for EngineNews {
    fn bytes(&self) -> Option<usize> {
        match self {
            Self::Message(message) => Some(message.len()),
            Self::Opened | Self::Upgraded(_) | Self::Closed(_) => None,
        }
    }

    fn detached(self) -> Self {
        match self {
            Self::Message(EngineMessage::Text(text)) => Self::Message(EngineMessage::Text(detached_text(text))),
            Self::Message(EngineMessage::Binary(bytes)) => Self::Message(EngineMessage::Binary(small(bytes))),
            Self::Opened | Self::Upgraded(_) | Self::Closed(_) => self,
        }
    }
}

/// Tells the application that a request was refused.
pub(super) fn refused(cell: &ShardCell, error: &ConnectionError) {
    let Some(application) = cell.application.upgrade() else {
        return;
    };
    if let Err(error) = guarded(|| application.refused(error)) {
        application.report(None, "connection_error", &error);
    }
}
