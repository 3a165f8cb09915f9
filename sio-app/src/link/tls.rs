//! TLS between a connection and its socket: a source and an outlet that wrap the socket's source
//! and outlet. rustls does the cryptography. It does no I/O, like the rest of this crate.
//!
//! ```text
//!   any thread ─ try_write ─► encrypt ─► try_write of the socket      under the lock of the connection's TLS: records have an order
//!   the connection's task ◄── decrypt ◄─ poll_read of the socket      and its answers to the peer (handshake, alerts) leave the same way
//! ```
//! Bytes that the socket does not take stay in the TLS state, at most about [`HELD_BYTES`]. The
//! connection's task sends them when there is room. Until then no further bytes are taken. A peer
//! that does not finish its handshake has sent no request, so [`Options::idle_timeout`] ends it. It
//! counts as a connection from the moment it is accepted.
//!
//! [`Options::idle_timeout`]: crate::Options::idle_timeout

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, IoSlice, Write};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use crate::link::ends::{Outlet, Source};
use crate::lock::{Alarm, Mutex};

/// The most encrypted bytes that are kept when the socket does not take them.
const HELD_BYTES: usize = 64 * 1024;

/// How many bytes are read from the socket at once: one record, and a little of the next.
const CIPHER_BYTES: usize = 20 * 1024;

/// The only protocol that this server speaks inside of TLS.
const ALPN: &[u8] = b"http/1.1";

thread_local! {
    static CIPHER: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// The certificate and the settings of TLS for a listener. It is cheap to clone.
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use sio_app::Tls;
///
/// let tls = Tls::from_pem(&std::fs::read("chain.pem")?, &std::fs::read("key.pem")?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls(Arc<ServerConfig>);

/// Why TLS could not be set up.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A text is not valid PEM of certificates or of a private key.
    #[error("not the PEM that is needed: {0}")]
    Pem(rustls::pki_types::pem::Error),
    /// The chain contains no certificate.
    #[error("no certificate in the chain")]
    NoCertificate,
    /// The certificate, the key or the settings do not make sense, alone or together.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

crate::readable::says_why!(TlsError);

impl Tls {
    /// Makes TLS with your own configuration, for client certificates, several host names, or
    /// another provider of cryptography. Its list of ALPN protocols is replaced by `http/1.1`,
    /// because the server speaks nothing else.
    ///
    /// Callbacks in the configuration (that choose a certificate, or store sessions or keys) run
    /// while the TLS of their connection is locked: they must not wait, and must not send to
    /// clients.
    ///
    /// # Errors
    /// If the configuration does not make sense.
    pub fn new(config: impl Into<Arc<ServerConfig>>) -> Result<Self, TlsError> {
        let mut config = config.into();
        Arc::make_mut(&mut config).alpn_protocols = vec![ALPN.to_vec()];
        ServerConnection::new(Arc::clone(&config))?;
        Ok(Self(config))
    }

    /// Makes TLS 1.2 and 1.3 from two PEM files: the certificate chain, with the server's own
    /// certificate first, and the private key (PKCS #8, PKCS #1 or SEC 1). Certificate authorities
    /// provide them in this form.
    ///
    /// # Errors
    /// If the texts are not valid PEM, or the key does not belong to the certificate.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(TlsError::Pem)?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Pem)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Self::new(config)
    }

    /// For adapters: wraps the two ends of a socket in TLS.
    ///
    /// # Errors
    /// If rustls cannot start a connection.
    pub fn wrap<S: Source, O: Outlet>(&self, (source, outlet): (S, O)) -> io::Result<(TlsSource<S, O>, TlsOutlet<O>)> {
        let mut tls = ServerConnection::new(Arc::clone(&self.0)).map_err(io::Error::other)?;
        tls.set_buffer_limit(Some(HELD_BYTES));
        let state = State {
            tls,
            waker: None,
            finish: Finish::NotYet,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            outlet,
        });
        let source = TlsSource {
            source,
            shared: Arc::clone(&shared),
            rest: BytesMut::new(),
            waker: None,
        };
        Ok((source, TlsOutlet(shared)))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

struct Shared<O> {
    state: Mutex<State>,
    outlet: O,
}

struct State {
    tls: ServerConnection,
    /// The waker of the connection's task, which sends the bytes that the socket did not take.
    waker: Option<Alarm>,
    finish: Finish,
}

/// How far the end of our side has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finish {
    NotYet,
    /// The close_notify, and everything before it, has been encrypted.
    Asked,
    /// The socket's write side has been closed.
    Done,
}

impl State {
    /// Sends the bytes that wait, including the end. Returns true if everything was sent, and false
    /// if the socket is full.
    fn send(&mut self, outlet: &impl Outlet) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Socket(outlet)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        if self.finish == Finish::Asked {
            self.finish = Finish::Done;
            outlet.finish();
        }
        Ok(true)
    }

    /// Appends decrypted bytes to `buffer`, as many as there is room for, and returns their number.
    /// Returns `None` if there is nothing yet, and 0 at the end.
    fn take(&mut self, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
        let mut reader = self.tls.reader();
        let mut taken = 0;
        loop {
            let room = buffer.capacity() - buffer.len();
            match reader.fill_buf() {
                // This is the peer's close_notify.
                Ok([]) => return Ok(Some(taken)),
                Ok(_) if room == 0 => return Ok(Some(taken)),
                Ok(bytes) => {
                    let len = bytes.len().min(room);
                    buffer.extend_from_slice(&bytes[..len]);
                    reader.consume(len);
                    taken += len;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((taken > 0).then_some(taken)),
                Err(error) => return Err(error),
            }
        }
    }
}

/// A socket, with the trait through which rustls writes.
struct Socket<'a, O>(&'a O);

impl<O: Outlet> Write for Socket<'_, O> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end that is written to.
pub struct TlsOutlet<O>(Arc<Shared<O>>);

impl<O: Outlet> TlsOutlet<O> {
    /// Encrypts what `put` writes, and sends it. The connection's task sends what the socket does
    /// not take.
    fn write(&self, put: impl FnOnce(&mut rustls::Writer<'_>) -> io::Result<usize>) -> io::Result<usize> {
        let Shared { state, outlet } = &*self.0;
        let mut state = state.lock();
        if !state.send(outlet)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = put(&mut state.tls.writer())?;
        let waker = if state.send(outlet)? { None } else { state.waker.clone() };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(taken)
    }
}

impl<O: Outlet> Outlet for TlsOutlet<O> {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write(|writer| writer.write(bytes))
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(|writer| writer.write_vectored(pieces))
    }

    fn finish(&self) {
        let Shared { state, outlet } = &*self.0;
        let waker = {
            let mut state = state.lock();
            state.tls.send_close_notify();
            state.finish = Finish::Asked;
            // If this fails, the connection's task meets the same error.
            let is_sent = state.send(outlet).unwrap_or(true);
            if is_sent { None } else { state.waker.clone() }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The end that is read.
pub struct TlsSource<S, O: Outlet> {
    source: S,
    shared: Arc<Shared<O>>,
    /// Bytes that have been read and not decrypted, because there was no room for more.
    rest: BytesMut,
    /// The waker of the task that sends what the socket did not take.
    waker: Option<Waker>,
}

impl<S: Source, O: Outlet> TlsSource<S, O> {
    /// Sends the bytes that wait for room. Ready when everything has been sent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let is_sent = self.shared.state.lock().send(&self.shared.outlet)?;
            if is_sent {
                return Poll::Ready(Ok(()));
            }
            ready!(self.source.poll_writable(cx))?;
        }
    }

    /// Decrypts bytes of `cipher` until they are used up or `buffer` is full, and sends answers to
    /// the peer if TLS requires them. The result is that of [`State::take`].
    fn decrypt(&self, cipher: &mut BytesMut, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
        let Shared { state, outlet } = &*self.shared;
        let mut state = state.lock();
        let mut all = state.take(buffer)?;
        while !cipher.is_empty() && buffer.len() < buffer.capacity() {
            let read = state.tls.read_tls(&mut &cipher[..])?;
            cipher.advance(read);
            let processed = state.tls.process_new_packets();
            // If something was wrong, the peer gets an alert.
            let sent = state.send(outlet);
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            sent?;
            if let Some(taken) = state.take(buffer)? {
                all = Some(all.unwrap_or(0) + taken);
            }
            if read == 0 {
                // After the peer's close_notify, its bytes are ignored.
                cipher.clear();
            }
        }
        Ok(all)
    }
}

impl<S: Source, O: Outlet> Source for TlsSource<S, O> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            let waker = Alarm::new(cx.waker());
            let old = self.shared.state.lock().waker.replace(waker);
            drop(old);
        }
        let mut rest = std::mem::take(&mut self.rest);
        let mut decrypted = self.decrypt(&mut rest, buffer)?;
        self.rest = rest;
        while decrypted.is_none() {
            let mut cipher = CIPHER.take().unwrap_or_default();
            cipher.clear();
            cipher.reserve(CIPHER_BYTES);
            let read = self.source.poll_read(cx, &mut cipher);
            if let Poll::Ready(Ok(1..)) = read {
                decrypted = self.decrypt(&mut cipher, buffer)?;
                self.rest = BytesMut::from(&cipher[..]);
            }
            CIPHER.set(Some(cipher));
            match read {
                Poll::Ready(Ok(1..)) => {}
                // Many peers close without a close_notify. This is accepted, because HTTP and
                // WebSocket have their own marks for the end.
                Poll::Ready(end) => return Poll::Ready(end),
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        decrypted.map_or(Poll::Pending, |len| Poll::Ready(Ok(len)))
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }
}

impl<S, O: Outlet> Drop for TlsSource<S, O> {
    /// Sends a close_notify if nothing else is left to send, and if this needs no waiting. It
    /// proves to the peer that nobody in between has cut the connection.
    fn drop(&mut self) {
        let Shared { state, outlet } = &*self.shared;
        let mut state = state.lock();
        if state.finish == Finish::NotYet && !state.tls.is_handshaking() && !state.tls.wants_write() {
            state.tls.send_close_notify();
            let _ = state.send(outlet);
        }
    }
}

impl<O> fmt::Debug for TlsOutlet<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOutlet").finish_non_exhaustive()
    }
}

impl<S, O: Outlet> fmt::Debug for TlsSource<S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSource")
            .field("rest", &self.rest.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::atomic::Ordering;

    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;
    use crate::link::tests::{Bell, Wall};
    use crate::tests::Script;

    /// Both ends of a TLS connection, with an outlet in memory between them.
    struct Pair {
        client: ClientConnection,
        source: TlsSource<Script, Arc<Wall>>,
        outlet: TlsOutlet<Arc<Wall>>,
        wall: Arc<Wall>,
        bell: Arc<Bell>,
    }

    impl Pair {
        fn new() -> Self {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            let tls = Tls::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap();
            let mut roots = RootCertStore::empty();
            roots.add(made.cert.der().clone()).unwrap();
            let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
            let wall = Wall::with_room(1 << 20);
            let (source, outlet) = tls.wrap((Script::default(), wall.clone())).unwrap();
            let mut pair = Self {
                client,
                source,
                outlet,
                wall,
                bell: Arc::default(),
            };
            // The loop runs until the client has finished its handshake and its last message has
            // been read.
            while pair.client.is_handshaking() || pair.client.wants_write() {
                assert_eq!(pair.read(&mut BytesMut::with_capacity(100)), None);
                pair.hear();
            }
            pair
        }

        /// Reads what the client has to send, as far as there is room.
        fn read(&mut self, buffer: &mut BytesMut) -> Option<usize> {
            let mut sent = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut sent).unwrap();
            }
            if !sent.is_empty() {
                self.source.source.reads.push(sent);
            }
            let waker = Waker::from(self.bell.clone());
            match self.source.poll_read(&mut Context::from_waker(&waker), buffer) {
                Poll::Ready(read) => Some(read.unwrap()),
                Poll::Pending => None,
            }
        }

        /// Gives the client the bytes that have been written, and returns everything that it can
        /// read.
        fn hear(&mut self) -> String {
            let written = self.wall.take();
            let (mut written, mut heard) = (&written[..], Vec::new());
            while !written.is_empty() {
                self.client.read_tls(&mut written).unwrap();
                self.client.process_new_packets().unwrap();
                let _ = self.client.reader().read_to_end(&mut heard);
            }
            String::from_utf8(heard).unwrap()
        }

        fn set_room(&mut self, room: usize) {
            self.wall.room.store(room, Ordering::Relaxed);
            self.source.source.full = room == 0;
        }

        fn rings(&self) -> usize {
            self.bell.0.swap(0, Ordering::Relaxed)
        }
    }

    #[test]
    fn what_the_socket_does_not_take_is_sent_by_the_task() {
        let mut pair = Pair::new();
        assert_eq!(pair.outlet.try_write(b"one").unwrap(), 3);
        assert_eq!((pair.hear().as_str(), pair.rings()), ("one", 0));

        pair.set_room(10);
        assert_eq!(pair.outlet.try_write(b"two").unwrap(), 3);
        assert_eq!(pair.rings(), 1);
        let more = pair.outlet.try_write(b"three").unwrap_err();
        assert_eq!(more.kind(), io::ErrorKind::WouldBlock);
        pair.set_room(0);
        assert_eq!(pair.read(&mut BytesMut::with_capacity(100)), None);
        assert_eq!(pair.hear(), "");

        pair.set_room(1 << 20);
        assert_eq!(pair.read(&mut BytesMut::with_capacity(100)), None);
        assert_eq!(pair.hear(), "two");
        assert_eq!(pair.outlet.try_write(b"three").unwrap(), 5);
        assert_eq!(pair.hear(), "three");
    }

    #[test]
    fn what_is_kept_back_has_a_limit() {
        let mut pair = Pair::new();
        pair.set_room(0);
        let taken = pair.outlet.try_write(&[b'x'; 2 * HELD_BYTES]).unwrap();
        assert!(taken <= HELD_BYTES, "{taken}");
        assert!(pair.outlet.try_write(b"x").is_err());
        pair.set_room(1 << 20);
        assert_eq!(pair.read(&mut BytesMut::with_capacity(100)), None);
        assert_eq!(pair.hear().len(), taken);
    }

    #[test]
    fn the_end_waits_for_what_stands_before_it() {
        let mut pair = Pair::new();
        pair.set_room(0);
        assert_eq!(pair.outlet.try_write(b"last").unwrap(), 4);
        pair.outlet.finish();
        assert_eq!(pair.rings(), 2);
        assert_eq!(pair.wall.finished.load(Ordering::Relaxed), 0);
        pair.set_room(1 << 20);
        assert_eq!(pair.read(&mut BytesMut::with_capacity(100)), None);
        assert_eq!(pair.wall.finished.load(Ordering::Relaxed), 1);
        assert_eq!(pair.hear(), "last");
        assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
    }

    #[test]
    fn reading_ends_where_the_room_does_and_goes_on() {
        let mut pair = Pair::new();
        let sent: String = ('a'..='z').cycle().take(15_000).collect();
        for piece in sent.as_bytes().chunks(700) {
            pair.client.writer().write_all(piece).unwrap();
        }
        pair.client.send_close_notify();
        let mut read = Vec::new();
        loop {
            let mut buffer = BytesMut::with_capacity(1000);
            match pair.read(&mut buffer) {
                Some(0) => break,
                Some(len) => assert!(len == buffer.len() && len <= 1000, "{len}"),
                None => panic!("there is more"),
            }
            read.extend_from_slice(&buffer);
        }
        assert_eq!(String::from_utf8(read).unwrap(), sent);
    }
}
