//! Room to read into. Readers here want bytes that have been written once, and what connections
//! read into has not: so a thread has one such place, and what was read is copied behind what a
//! connection holds. For the small messages that most are this costs less than anything that avoids
//! it.

use std::cell::Cell;
use std::io;
use std::task::{Poll, ready};

use bytes::BytesMut;

/// How much is read at most at once.
const ROOM_BYTES: usize = 64 * 1024;

thread_local! {
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Has `read` fill as much of a slice as there is room behind what is in `buffer`, and puts there
/// what it read.
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
