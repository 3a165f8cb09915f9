//! The quota that all shards of a server share: how many sessions there are, and what they keep, in
//! total and by address.
//!
//! It stands behind a lock of its own, which is asked under a shard's lock and asks no other. That
//! is at the beginning and the end of a session, and when one keeps much more or much less than
//! before; never for each message.

use std::net::IpAddr;
use std::sync::Arc;

use sio_proto::Config;
use sio_proto::server::{LocalQuota, NoRoom, QuotaLimits, SessionQuota};

use crate::lock::Mutex;
use crate::options::Options;

/// One shard's handle.
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
