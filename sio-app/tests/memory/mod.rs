//! A connection's socket in memory: the bytes that are read from it, and the bytes that have been
//! written to it.

use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::BytesMut;
use sio_app::adapter::{Outlet, Source};

/// Keeps the bytes that are written.
#[derive(Clone, Default)]
pub(crate) struct Wall(pub(crate) Arc<Mutex<Vec<u8>>>);

impl Wall {
    /// Returns the bytes that have been written since the last call.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Outlet for Wall {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn finish(&self) {}
}

/// The bytes that are read next. After them nothing more comes.
pub(crate) struct Script(pub(crate) Option<Vec<u8>>);

impl Source for Script {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let Some(bytes) = self.0.take() else {
            return Poll::Pending;
        };
        buffer.extend_from_slice(&bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_writable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
