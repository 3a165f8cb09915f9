//! TCP sockets, split into two ends: the connection's task reads from one, and any thread writes to
//! the other.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use sio_app::adapter::{Outlet, Source};
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// The end that is written to. It is there until the outlet is dropped.
pub(crate) struct TcpOutlet(Option<OwnedWriteHalf>);

/// The end that is read.
pub(crate) struct TcpSource(OwnedReadHalf);

// Every connection has both ends, and a task that holds the one that is read. With 104 bytes of
// tokio's this is two of the steps in which a task gets its memory.
#[cfg(test)]
const _: () = assert!(size_of::<TcpOutlet>() <= 16);
#[cfg(test)]
const _: () = assert!(size_of::<sio_app::adapter::Driven<TcpSource>>() <= 152);

/// Splits a socket, which [sends at once](send_at_once).
pub(crate) fn split(stream: TcpStream) -> (TcpSource, TcpOutlet) {
    let (read, write) = stream.into_split();
    (TcpSource(read), TcpOutlet(Some(write)))
}

/// Switches off Nagle's algorithm. Packets are small and each is written whole, so it would only
/// delay them.
pub(crate) fn send_at_once(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
}

/// Makes the sockets that a listener accepts [send at once](send_at_once).
///
/// On Linux and the BSDs, they inherit this from the listener, which saves a system call for each.
/// No standard says so. So sockets are asked until one says that it has it. Those behind it in the
/// listener's queue were usually made later, and have it too. This is the best that can be done
/// without asking each: a socket that was made before the listener was told may come behind one
/// that was made after, and Linux may move sockets here from the queue of another listener that is
/// closed (`tcp_migrate_req`). Such a socket loses nothing, but some packets may wait for an
/// acknowledgement.
pub(crate) struct SendsAtOnce {
    is_inherited: bool,
}

impl SendsAtOnce {
    pub(crate) fn of(listener: &TcpListener) -> Self {
        if let Err(error) = SockRef::from(listener).set_tcp_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY on a listener");
        }
        Self { is_inherited: false }
    }

    /// Called for each socket, in the order in which they are accepted.
    pub(crate) fn accepted(&mut self, stream: &TcpStream) {
        if self.is_inherited {
            return;
        }
        match stream.nodelay() {
            Ok(true) => self.is_inherited = true,
            Ok(false) | Err(_) => send_at_once(stream),
        }
    }
}

impl TcpOutlet {
    fn half(&self) -> io::Result<&OwnedWriteHalf> {
        self.0.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for TcpOutlet {
    /// The end of a connection closes its socket, and the system then sends the end of the stream
    /// behind the last bytes. tokio would also shut the socket down before, which is one more
    /// system call for each connection, and changes nothing for the peer of a socket that this
    /// process has once. A duplicate of it (`try_clone`, a process that was forked) keeps the
    /// connection until it is closed, too.
    fn drop(&mut self) {
        if let Some(half) = self.0.take() {
            half.forget();
        }
    }
}

impl Outlet for TcpOutlet {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.half()?.try_write(bytes)
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.half()?.try_write_vectored(pieces)
    }

    fn finish(&self) {
        // An error means that the peer has closed before. Then nobody needs this end of the stream.
        let _ = self
            .half()
            .map(|half| SockRef::from(half.as_ref()).shutdown(Shutdown::Write));
    }
}

impl Source for TcpSource {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        // Unlike `try_read`, this function takes a short read as the sign that there is nothing
        // more to read. That saves one system call per read.
        pin!(self.0.read_buf(buffer)).poll(cx)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_ref().poll_write_ready(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpStream as Peer;
    use std::time::Duration;

    async fn connected() -> (Peer, (TcpSource, TcpOutlet)) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = Peer::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        (peer, split(stream))
    }

    /// Writes until the socket is full, and returns how many bytes it has taken.
    fn fill(outlet: &TcpOutlet) -> usize {
        let mut taken = 0;
        while let Ok(written) = outlet.try_write(&[7; 16 * 1024]) {
            taken += written;
        }
        taken
    }

    /// Whichever end goes last, the peer reads everything that the socket has taken, and then the
    /// end of the stream and no error.
    #[tokio::test]
    async fn the_end_comes_behind_the_last_bytes() {
        for outlet_first in [true, false] {
            let (mut peer, (mut source, outlet)) = connected().await;
            std::future::poll_fn(|cx| source.poll_writable(cx)).await.unwrap();
            let taken = fill(&outlet);
            assert!(taken > 16 * 1024);
            if outlet_first {
                drop(outlet);
                drop(source);
            } else {
                drop(source);
                drop(outlet);
            }
            let mut read = Vec::new();
            peer.read_to_end(&mut read).unwrap();
            assert_eq!(read.len(), taken);
        }
    }

    /// A connection that only finishes is still read from.
    #[tokio::test]
    async fn finishing_ends_one_direction_only() {
        use std::io::Write;
        let (mut peer, (mut source, outlet)) = connected().await;
        outlet.finish();
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
        peer.write_all(b"late").unwrap();
        let mut buffer = BytesMut::with_capacity(8);
        let read = std::future::poll_fn(|cx| source.poll_read(cx, &mut buffer)).await;
        assert_eq!((read.unwrap(), &*buffer), (4, &b"late"[..]));
    }

    /// Also sockets that came before the listener was told. Behind the first that has inherited
    /// the option, none is asked.
    #[tokio::test]
    async fn accepted_sockets_send_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _early = Peer::connect(address).unwrap();
        let mut option = SendsAtOnce::of(&listener);
        let _late = [Peer::connect(address).unwrap(), Peer::connect(address).unwrap()];
        for round in 0..3 {
            let (stream, _) = listener.accept().await.unwrap();
            option.accepted(&stream);
            assert!(stream.nodelay().unwrap(), "{round}");
            if cfg!(target_os = "linux") {
                assert_eq!(option.is_inherited, round > 0, "{round}");
            }
        }
    }
}
