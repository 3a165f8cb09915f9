//! The sockets of all nodes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::user::emitter::Emitter;
use crate::user::io::Io;
use crate::user::namespace::Namespace;
use crate::user::remote_socket::RemoteSocket;
use crate::user::request::{Answers, RequestError, Requests};

/// The sockets of all nodes of the cluster, when all nodes have answered or have been silent for
/// too long. [`Emitter::fetch_sockets`] returns it. The nodes have been asked already, even if this
/// value is never polled.
#[must_use = "the sockets come when this is awaited"]
pub struct FetchSockets {
    requests: Requests,
}

/// The sockets of all nodes, and which nodes have not answered.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Fetched {
    /// The sockets: those of this node, and those of the nodes that have answered.
    pub sockets: Vec<RemoteSocket>,
    /// How many sockets are not among them, because the answers of their nodes would have had more
    /// bytes than [`ClusterConfig::max_message_bytes`](crate::ClusterConfig::max_message_bytes) of
    /// those nodes.
    pub left_out: u64,
    /// How many nodes have not answered in time.
    pub silent: u64,
    /// The names of those of the silent nodes that are known. Genuine nodes of the classic adapter
    /// do not sign their answers, so that their names are not known.
    pub silent_nodes: Vec<String>,
    /// Why not all other nodes could be asked. Then `sockets` has those of this node and of the
    /// nodes that have answered.
    pub error: Option<RequestError>,
}

impl Fetched {
    /// Whether all nodes have answered, with all of their sockets.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.silent == 0 && self.left_out == 0 && self.error.is_none()
    }
}

impl Future for FetchSockets {
    type Output = Fetched;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Fetched> {
        let Answers {
            sockets,
            left_out,
            silent,
            silent_nodes,
            error,
            ..
        } = ready!(self.requests.poll(cx.waker()));
        Poll::Ready(Fetched {
            sockets,
            left_out,
            silent,
            silent_nodes,
            error,
        })
    }
}

impl fmt::Debug for FetchSockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchSockets").finish_non_exhaustive()
    }
}

/// The sockets of all nodes.
impl Emitter {
    /// Asks all nodes of the cluster for the chosen sockets. Without a cluster, and after
    /// [`Emitter::local`], these are the sockets of this node.
    ///
    /// The answer is a copy of what was known when a node was asked. It comes when all nodes have
    /// answered, or after the time limit of the cluster's requests, and then says how many nodes
    /// were silent. For the sockets of this node alone, [`Emitter::sockets`] costs much less.
    ///
    /// ```
    /// # use sio_app::Io;
    /// # async fn example(io: Io) {
    /// let found = io.to("lobby").fetch_sockets().await;
    /// for socket in &found.sockets {
    ///     println!("{} is in {:?}", socket.id(), socket.rooms());
    /// }
    /// if !found.is_complete() {
    ///     println!("and perhaps on {} more nodes", found.silent);
    /// }
    /// # }
    /// ```
    pub fn fetch_sockets(self) -> FetchSockets {
        let mut requests = self.ask_for_sockets();
        let here = self.sockets();
        requests.answers.sockets.extend(here.iter().map(RemoteSocket::of));
        FetchSockets { requests }
    }
}

impl Namespace {
    /// Asks all nodes of the cluster for the sockets of the namespace; see
    /// [`Emitter::fetch_sockets`].
    pub fn fetch_sockets(&self) -> FetchSockets {
        self.all().fetch_sockets()
    }
}

impl Io {
    /// Asks all nodes of the cluster for the sockets of `/`; see [`Emitter::fetch_sockets`].
    pub fn fetch_sockets(&self) -> FetchSockets {
        self.of("/").fetch_sockets()
    }

    /// Returns how many nodes the cluster has, as far as this node knows, with this node itself.
    /// Without a cluster this is 1.
    #[must_use]
    pub fn nodes(&self) -> usize {
        #[cfg(feature = "redis")]
        if let Some(cluster) = &self.0.cluster {
            return cluster.nodes();
        }
        1
    }
}
