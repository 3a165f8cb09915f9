//! The quota that all shards of a server share: the number of sessions and the bytes that they
//! keep, in total and by address.
//!
//! It has its own lock, which is taken under a shard's lock. No other lock is taken under it. The
//! lock is taken when a session begins or ends, and when a session keeps much more or much less
//! than before. It is never taken for each message.

use std::net::IpAddr;
use std::sync::Arc;

use sio_proto::Config;
use sio_proto::server::{LocalQuota, NoRoom, QuotaLimits, SessionQuota};

use crate::lock::Mutex;
use crate::options::Options;

/// One shard's handle of the quota.
#[derive(Clone)]
pub(crate) struct SharedQuota(Arc<Mutex<LocalQuota>>);

impl SharedQuota {
    pub(crate) fn new(config: &Config, options: &Options) -> Self {
        let mut limits = QuotaLimits::new(config);
        limits.ipv6_prefix = options.ipv6_prefix;
        Self(Arc::new(Mutex::new(LocalQuota::new(limits))))
    }
}

impl SessionQuota for SharedQuota {
    fn enter(&mut self, address: Option<IpAddr>, bytes: usize) -> Result<(), NoRoom> {
        self.0.lock().enter(address, bytes)
    }

    fn grow(&mut self, address: Option<IpAddr>, bytes: usize) -> Result<(), NoRoom> {
        self.0.lock().grow(address, bytes)
    }

    fn shrink(&mut self, address: Option<IpAddr>, bytes: usize) {
        self.0.lock().shrink(address, bytes);
    }

    fn leave(&mut self, address: Option<IpAddr>, bytes: usize) {
        self.0.lock().leave(address, bytes);
    }

    fn is_crowded(&self) -> bool {
        self.0.lock().is_crowded()
    }

    fn network(&self, address: IpAddr) -> IpAddr {
        self.0.lock().network(address)
    }
}
