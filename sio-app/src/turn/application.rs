//! The application, as a turn knows it: a narrow interface that the user's side fills.
//!
//! A turn runs below handles and namespaces and knows none of them. What it has to ask or to tell
//! stands here. All methods but [`Application::shards`] may run the user's code, so none is called
//! under a lock.

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
    /// The shards that it has.
    fn shards(&self) -> &Shards;

    /// The handlers for a socket that asks for its namespace; `None` if there is no such namespace.
    fn table(&self, socket: &Arc<SocketCell>) -> Option<Arc<Table>>;

    /// Something has happened to a raw Engine.IO session.
    fn engine(&self, cell: Arc<ShardCell>, session: SessionKey, news: EngineNews);

    /// Something went wrong in the user's code.
    fn report(&self, socket: Option<&Arc<SocketCell>>, event: &str, error: &HandlerError);

    /// A shard has lost the last session that it will ever have.
    fn shard_emptied(&self);
}

/// What has happened to a raw Engine.IO session.
pub(crate) enum EngineNews {
    Opened(Arc<Handshake>),
    Message(EngineMessage),
    Closed(Reason),
}
