//! One connection to the server. It never blocks, except for the moment in which it is opened.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// A message of the largest size fits several times.
pub(crate) const SCRATCH: usize = 8 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Link {
    socket: TcpStream,
    /// The beginning of a message that is not complete.
    unread: Vec<u8>,
    /// What the socket did not take.
    unsent: Vec<u8>,
}

/// What a read has brought.
pub(crate) struct Chunk {
    /// So many bytes of the scratch buffer are to be looked at.
    pub(crate) filled: usize,
    pub(crate) is_closed: bool,
}

impl Link {
    pub(crate) fn open(port: u16, registry: &Registry, token: usize) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = std::net::TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        // A closed connection leaves nothing behind. Otherwise, thousands of connections a second
        // would use up all ports.
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
        let mut socket = TcpStream::from_std(socket);
        registry.register(&mut socket, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            socket,
            unread: Vec::new(),
            unsent: Vec::new(),
        })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.unsent.is_empty() {
            self.unsent.extend(bytes);
            return Ok(());
        }
        let taken = write(&mut self.socket, bytes)?;
        self.unsent.extend(&bytes[taken..]);
        Ok(())
    }

    /// Sends what the socket did not take before.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let taken = write(&mut self.socket, &self.unsent)?;
            self.unsent.drain(..taken);
        }
        Ok(())
    }

    /// Reads once into `scratch`, behind what [`Self::keep`] has kept. A read that fills less than
    /// the buffer has taken everything. `look_for_end` reads on, to see whether the other end has
    /// closed.
    pub(crate) fn read(&mut self, scratch: &mut [u8], look_for_end: bool) -> io::Result<Chunk> {
        let mut filled = self.unread.len();
        scratch[..filled].copy_from_slice(&self.unread);
        self.unread.clear();
        let mut is_closed = false;
        loop {
            if filled == scratch.len() {
                return Err(io::Error::other(
                    "the server sends more than a message, and waits for nothing",
                ));
            }
            match self.socket.read(&mut scratch[filled..]) {
                Ok(0) => is_closed = true,
                Ok(length) => {
                    filled += length;
                    if look_for_end {
                        continue;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            return Ok(Chunk { filled, is_closed });
        }
    }

    /// Keeps the beginning of a message for the next read.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            // A large message shall not leave its buffer behind.
            self.unread = Vec::new();
        } else {
            self.unread.extend(rest);
        }
    }
}

fn write(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match socket.write(&bytes[taken..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => taken += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}
