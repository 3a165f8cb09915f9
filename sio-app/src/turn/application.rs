//! The application, as a turn sees it: a small interface that the user's side of this crate
//! implements.
//!
//! A turn is below handles and namespaces and does not know them. This trait has everything that a
//! turn asks or tells them. All methods except [`Application::shards`] may run user code, so none
//! of them is called under a lock.

use std::any::Any;
use std::sync::Arc;

use sio_proto::SessionKey;
use sio_proto::server::{EngineMessage, Handshake, Reason};

use crate::error::HandlerError;
use crate::turn::shard::ShardCell;
use crate::turn::shards::Shards;
use crate::turn::socket::SocketCell;
use crate::turn::table::Table;

pub(crate) trait Application: Any + Send + Sync {
    /// Returns the application's shards.
    fn shards(&self) -> &Shards;

    /// Returns the handlers for a socket that asks for its namespace, or `None` if there is no such
    /// namespace.
    fn table(&self, socket: &Arc<SocketCell>) -> Option<Arc<Table>>;

    /// Tells what has happened to a raw Engine.IO session.
    fn engine(&self, cell: Arc<ShardCell>, session: SessionKey, news: EngineNews);

    /// Reports an error in user code.
    fn report(&self, socket: Option<&Arc<SocketCell>>, event: &str, error: &HandlerError);

    /// Tells that a shard has lost its last session during a shutdown.
    fn shard_emptied(&self);
}

/// What has happened to a raw Engine.IO session.
pub(crate) enum EngineNews {
    Opened(Arc<Handshake>),
    Message(EngineMessage),
    Closed(Reason),
}
