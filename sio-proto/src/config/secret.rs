//! The secret that the nodes of a cluster share.

use alloc::sync::Arc;
use core::fmt;

/// A secret with which nodes sign their messages, and by which they know the messages of each other
/// ([`ClusterConfig::secrets`](super::ClusterConfig::secrets)). `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// The fewest bytes of a secret. A shorter one could be guessed.
    pub const MIN_BYTES: usize = 16;

    /// A secret of these bytes. They should be random, 32 bytes for example; a node refuses a
    /// secret of less than [`Secret::MIN_BYTES`] bytes.
    #[must_use]
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        Self(Arc::from(bytes.as_ref()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}
