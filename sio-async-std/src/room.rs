//! A buffer to read into. The readers of futures-io need a slice of initialized bytes, and the free
//! part of a connection's buffer is not initialized. So each thread has one initialized buffer: a
//! read fills it, and the bytes are copied to the end of the connection's buffer. Most messages are
//! small, and for small messages this copy costs less than any way to avoid it.

use std::cell::Cell;
use std::io;
use std::task::{Poll, ready};

use bytes::BytesMut;

/// The most bytes that one read takes.
const ROOM_BYTES: usize = 64 * 1024;

thread_local! {
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `read` with a slice that is as long as the free room in `buffer`, and appends what was
/// read to `buffer`.
pub(crate) fn read_behind(
    buffer: &mut BytesMut,
    read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    let len = (buffer.capacity() - buffer.len()).min(ROOM_BYTES);
    debug_assert!(len > 0, "nothing read would mean the end of the stream");
    let mut room = ROOM.take();
    room.resize(ROOM_BYTES, 0);
    let read = read(&mut room[..len]);
    if let Poll::Ready(Ok(read)) = read {
        buffer.extend_from_slice(&room[..read]);
    }
    ROOM.set(room);
    Poll::Ready(Ok(ready!(read)?))
}
