//! The server behind the handle [`Io`](crate::Io): all of its parts.

use std::any::Any;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use sio_proto::{Config, Time};

use crate::link::connections::Connections;
use crate::lock::Mutex;
use crate::options::Options;
use crate::rated::Warnings;
use crate::runtime::Runtime;
use crate::turn::application::Application;
use crate::turn::later::Kept;
use crate::turn::shards::Shards;
#[cfg(feature = "redis")]
use crate::user::cluster::ClusterNode;
use crate::user::hooks::Hooks;
use crate::user::registry::Namespaces;
use crate::user::shutdown::Shutdown;
use crate::user::tally::Tally;

/// The server behind the handle [`Io`](crate::Io).
pub(crate) struct Inner {
    pub(crate) shards: Shards,
    pub(crate) options: Options,
    pub(crate) namespaces: Namespaces,
    pub(crate) hooks: Hooks,
    /// All connections, so that a shutdown can end those that do not end by themselves.
    pub(crate) connections: Mutex<Connections>,
    pub(crate) shutdown: Shutdown,
    pub(crate) tally: Tally,
    /// Bytes of work that connections have left for later.
    pub(crate) kept: Arc<Kept>,
    /// The warnings that peers can cause.
    pub(crate) warnings: Arc<Warnings>,
    /// The other nodes, if there is a cluster.
    #[cfg(feature = "redis")]
    pub(crate) cluster: Option<Arc<ClusterNode>>,
    /// Whether the tasks that watch the time have been started.
    pub(crate) ticking: AtomicBool,
}

impl Inner {
    /// Returns the server behind this application of the shards.
    pub(crate) fn of(application: Arc<dyn Application>) -> Option<Arc<Self>> {
        let any: Arc<dyn Any + Send + Sync> = application;
        any.downcast().ok()
    }

    /// Returns this server in the form in which turns know it.
    pub(crate) fn application(self: &Arc<Self>) -> Weak<dyn Application> {
        let application: Weak<Self> = Arc::downgrade(self);
        application
    }

    pub(crate) const fn runtime(&self) -> Runtime {
        self.shards.runtime
    }

    /// Returns the time.
    pub(crate) fn now(&self) -> Time {
        (self.shards.runtime.now)()
    }

    /// Whether clients have limits of what they may send.
    pub(crate) fn paces(&self) -> bool {
        self.shards.cells.first().is_some_and(|cell| cell.loads().measures())
    }

    pub(crate) const fn config(&self) -> &Arc<Config> {
        &self.shards.config
    }
}
