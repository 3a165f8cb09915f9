//! The shard of a request.

use alloc::sync::Arc;

use crate::id::{SidKey, address_of};
use crate::request::{NamedSession, Request};
use crate::{Config, http};

/// The place where a request belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routed {
    /// To the session's shard, by its index.
    Session(usize),
    /// To any shard: it opens a session, or is refused.
    New,
    /// To no shard: it belongs to the application.
    Foreign,
}

/// Finds the shard of a request without looking into any shard, because a session id names its
/// shard.
#[derive(Clone, Debug)]
pub struct Router {
    config: Arc<Config>,
    key: SidKey,
    shards: usize,
}

impl Router {
    /// A router for `shards` shards that were made with the same config and key.
    #[must_use]
    pub fn new(config: &Config, sid_key: [u8; 16], shards: usize) -> Self {
        Self {
            config: Arc::new(config.clone()),
            key: sid_key,
            shards,
        }
    }

    /// Whether a request with this target can be anything but [`Routed::Foreign`].
    #[must_use]
    pub fn concerns(&self, target: &str) -> bool {
        let target = http::origin_form(target);
        self.config.paths().any(|path| self.config.is_below(path, target))
    }

    /// The shard in which a socket with this id would be. The id is the public id, or the id by
    /// which its client knows itself. `None` if this server has not written the id.
    #[must_use]
    pub fn shard_of(&self, id: &str) -> Option<usize> {
        self.index_of(address_of(&self.key, id))
    }

    fn index_of(&self, address: Option<(u8, u32)>) -> Option<usize> {
        let shard = usize::from(address?.0);
        (shard < self.shards).then_some(shard)
    }

    /// The text in the place of a session's id, if the request names a session that this server has
    /// not made.
    pub fn foreign_id<'a>(&self, request: &'a mut Request) -> Option<&'a str> {
        match self.route(request) {
            Routed::New => request.session_id(),
            Routed::Session(_) | Routed::Foreign => None,
        }
    }

    /// Where `request` belongs. The request keeps the id that was read for this, so that its shard
    /// does not read it again.
    pub fn route(&self, request: &mut Request) -> Routed {
        if request.is_foreign() {
            return Routed::Foreign;
        }
        if request.named.is_none() {
            let id = request.session_id();
            request.named = id.and_then(|id| NamedSession::read(&self.key, id));
        }
        let address = request.named.map(|named| (named.shard, named.slot));
        self.index_of(address).map_or(Routed::New, Routed::Session)
    }
}
