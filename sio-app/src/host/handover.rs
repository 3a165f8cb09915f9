//! Listening sockets that two processes share, so that a new version of a program takes over a port
//! while the old one still serves its last clients. `docs/deploy.md` tells which kind fits where,
//! and what can be lost.
//!
//! ```text
//!   bind         two sockets, one port (SO_REUSEPORT): each process has its own queue
//!   inherited    one socket, which a service manager opens and both processes inherit: one queue
//! ```
//! Tell the server which of the two it has: [`Options::handover`](crate::Options::handover).

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use listenfd::ListenFd;
use socket2::{Domain, Protocol, Socket, Type};

/// How many connections may wait in the queue of a listener. It is more than usual, because clients
/// come back all at once, and the next process may not accept yet. The system may have a lower
/// limit (on Linux `net.core.somaxconn`).
const QUEUE: i32 = 4096;

/// Listens on an address on which other processes of the same user may listen at the same time.
/// All of them must use this function, or set `SO_REUSEPORT` themselves. The system gives each new
/// connection to one of them. Set [`Handover::SamePort`](crate::Handover::SamePort).
///
/// A name is looked up, and the first of its addresses that can be listened on is used. The
/// listener does not block.
///
/// # Errors
/// If the address cannot be listened on. [`io::ErrorKind::Unsupported`] on systems without
/// `SO_REUSEPORT`.
pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let mut error = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for address in address.to_socket_addrs()? {
        match bind_one(address) {
            Ok(listener) => return Ok(listener),
            Err(wrong) => error = wrong,
        }
    }
    Err(error)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    share(&socket)?;
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    socket.listen(QUEUE)?;
    Ok(socket.into())
}

#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))))]
fn share(socket: &Socket) -> io::Result<()> {
    // Connections of an earlier process may still be about to end. std sets this on Unix, too.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)
}

#[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin")))))]
fn share(_: &Socket) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this system has no SO_REUSEPORT",
    ))
}

/// Returns the listening TCP sockets that a service manager has opened and this process has
/// inherited, in their order: systemd (`LISTEN_FDS`), or tools such as `systemfd`. It returns none
/// if there are none, so that a program can go on with [`bind`] or listen as usual. Set
/// [`Handover::SameSocket`](crate::Handover::SameSocket).
///
/// Call it once, at the start of the program. The listeners do not block, and the programs that
/// this one starts do not inherit them.
///
/// # Errors
/// If an inherited descriptor is no listening TCP socket.
pub fn inherited() -> io::Result<Vec<TcpListener>> {
    let mut handed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..handed.len() {
        if let Some(listener) = handed.take_tcp_listener(index)? {
            listener.set_nonblocking(true)?;
            listeners.push(listener);
        }
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;
    use std::time::Duration;

    fn accepts(listener: &TcpListener) -> bool {
        listener.accept().is_ok()
    }

    #[test]
    fn two_sockets_listen_on_one_port_and_the_second_goes_on_alone() {
        let first = bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let second = bind(address).unwrap();
        assert!(
            TcpListener::bind(address).is_err(),
            "a process that does not share is refused"
        );
        drop(first);
        for _ in 0..20 {
            let client = TcpStream::connect_timeout(&address, Duration::from_secs(30)).unwrap();
            assert!(accepts(&second));
            drop(client);
        }
        assert!(!accepts(&second), "it does not block");
    }

    #[test]
    fn the_first_address_that_can_be_used_is_used() {
        let foreign: SocketAddr = "192.0.2.1:0".parse().unwrap();
        let own: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = bind(&[foreign, own][..]).unwrap();
        assert_eq!(listener.local_addr().unwrap().ip(), own.ip());
        assert!(bind(foreign).is_err());
        assert!(bind(&[][..]).is_err());
    }

    #[test]
    fn nothing_is_inherited_if_nobody_has_handed_anything_over() {
        assert!(inherited().unwrap().is_empty());
    }
}
