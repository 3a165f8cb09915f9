//! TLS between a client and a connection: a [`Duplex`] around a [`Duplex`]. rustls does the
//! cryptography, and no I/O.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use super::network::Wire;
use crate::link::pipe::Duplex;

/// The most bytes that wait for the socket, encrypted or not.
const HELD_BYTES: usize = 64 * 1024;

/// How many bytes are read at once: one record, and a little of the next.
const CIPHER_BYTES: usize = 20 * 1024;

/// The only protocol that a client speaks inside of TLS.
const ALPN: &[u8] = b"http/1.1";

/// Which servers a client trusts. It is cheap to clone.
#[derive(Clone)]
pub struct ClientTls(Arc<ClientConfig>);

/// Why the TLS of a client could not be set up.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ClientTlsError {
    /// The platform has no certificate authorities, or they cannot be read.
    #[error("no certificate authorities of the platform: {0}")]
    NoRoots(String),
    /// The settings do not make sense.
    #[error(transparent)]
    Tls(#[from] Error),
}

crate::readable::says_why!(ClientTlsError);

impl ClientTls {
    /// Trusts what a configuration of your own trusts. Its list of ALPN protocols is replaced by
    /// `http/1.1`. Its callbacks run in the client's task.
    #[must_use]
    pub fn new(config: impl Into<Arc<ClientConfig>>) -> Self {
        let mut config = config.into();
        Arc::make_mut(&mut config).alpn_protocols = vec![ALPN.to_vec()];
        Self(config)
    }

    /// Trusts the certificate authorities of the platform. This is what a client for `https` and
    /// `wss` does by default. The certificates are read from files.
    ///
    /// # Errors
    /// If there are no certificates.
    pub fn platform() -> Result<Self, ClientTlsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let why = found
                .errors
                .first()
                .map_or_else(|| "there are none".to_owned(), ToString::to_string);
            return Err(ClientTlsError::NoRoots(why));
        }
        Self::with_roots(roots)
    }

    /// Returns what was given, or what is trusted by default.
    pub(crate) fn or_platform(given: Option<Self>) -> Result<Self, ClientTlsError> {
        given.map_or_else(Self::platform, Ok)
    }

    /// Trusts these certificate authorities, and no others.
    ///
    /// # Errors
    /// If rustls does not accept the settings.
    pub fn with_roots(roots: RootCertStore) -> Result<Self, ClientTlsError> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::new(config))
    }

    /// Trusts a server whose certificate has one of these SHA-256 hashes, and no other server. The
    /// hash is that of the whole certificate (DER). [`ClientTls::hash`] computes it, and this
    /// prints it:
    ///
    /// ```sh
    /// openssl s_client -connect HOST:443 </dev/null | openssl x509 -outform der | sha256sum
    /// ```
    ///
    /// Names, dates and authorities are not looked at. This is the safe way to a server with a
    /// certificate of its own. When the server gets a new certificate, its clients need the new
    /// hash before.
    ///
    /// # Errors
    /// If rustls does not accept the settings.
    pub fn pinned(hashes: impl IntoIterator<Item = [u8; 32]>) -> Result<Self, ClientTlsError> {
        let provider = Arc::new(ring::default_provider());
        let pins = Pins {
            hashes: hashes.into_iter().collect(),
            provider: Arc::clone(&provider),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pins))
            .with_no_client_auth();
        Ok(Self::new(config))
    }

    /// The same trust for a protocol that ALPN has no name for.
    #[cfg(feature = "redis")]
    pub(crate) fn without_alpn(mut self) -> Self {
        Arc::make_mut(&mut self.0).alpn_protocols.clear();
        self
    }

    /// The hash of a certificate for [`ClientTls::pinned`].
    #[must_use]
    pub fn hash(certificate: &CertificateDer<'_>) -> [u8; 32] {
        sha256(certificate)
    }

    /// Begins TLS over a connection to this host.
    pub(crate) fn wrap(&self, host: &str, wire: Wire) -> io::Result<Wire> {
        let name = ServerName::try_from(host.to_owned()).map_err(invalid)?;
        let mut tls = ClientConnection::new(Arc::clone(&self.0), name).map_err(invalid)?;
        tls.set_buffer_limit(Some(HELD_BYTES));
        Ok(Box::new(TlsWire {
            wire,
            tls,
            cipher: BytesMut::new(),
            writer: None,
        }))
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

/// A failure of TLS, which the client tells apart from failures of the network.
fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Certificates that are known by their hash.
#[derive(Debug)]
struct Pins {
    hashes: Vec<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    let hash = suite.map(|suite| suite.common.hash_provider.hash(bytes));
    let hash = hash.and_then(|hash| hash.as_ref().try_into().ok());
    hash.expect("this suite of TLS 1.3 has a hash of 32 bytes")
}

impl ServerCertVerifier for Pins {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.hashes.contains(&sha256(end_entity)) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General(
            "the server's certificate is not one of those that are pinned".into(),
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

struct TlsWire {
    wire: Wire,
    tls: ClientConnection,
    /// Bytes that have been read and not decrypted.
    cipher: BytesMut,
    /// Who wants to write, and waits for the end of the handshake, which only reading brings.
    writer: Option<Waker>,
}

/// A connection, with the trait through which rustls writes.
struct Sink<'a, 'b, 'c> {
    wire: &'a mut Wire,
    cx: &'b mut Context<'c>,
}

impl Write for Sink<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.wire.poll_write(self.cx, bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TlsWire {
    /// Sends what has been encrypted. Ready when everything has been sent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            let mut sink = Sink {
                wire: &mut self.wire,
                cx: &mut *cx,
            };
            match self.tls.write_tls(&mut sink) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.wire.poll_flush(cx)
    }

    /// Appends decrypted bytes to `buffer`, as many as there is room for. Returns `None` if there
    /// is nothing yet, and 0 at the end.
    fn take(&mut self, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
        let mut reader = self.tls.reader();
        match reader.fill_buf() {
            Ok(bytes) => {
                let len = bytes.len().min(buffer.capacity() - buffer.len());
                buffer.extend_from_slice(&bytes[..len]);
                reader.consume(len);
                Ok(Some(len))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Decrypts one record, or more.
    fn decrypt(&mut self) -> io::Result<()> {
        let mut rest = &self.cipher[..];
        let read = self.tls.read_tls(&mut rest)?;
        self.cipher.advance(read);
        self.tls.process_new_packets().map_err(invalid)?;
        if !self.tls.is_handshaking()
            && let Some(writer) = self.writer.take()
        {
            writer.wake();
        }
        Ok(())
    }
}

impl Duplex for TlsWire {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        loop {
            if let Some(len) = self.take(buffer)? {
                return Poll::Ready(Ok(len));
            }
            if !self.cipher.is_empty() {
                let decrypted = self.decrypt();
                // The peer is told of an error, and its handshake gets its answer.
                if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                    return Poll::Ready(Err(decrypted.err().unwrap_or(error)));
                }
                decrypted?;
                continue;
            }
            self.cipher.reserve(CIPHER_BYTES);
            match self.wire.poll_read(cx, &mut self.cipher) {
                Poll::Pending => {
                    self.cipher = BytesMut::new(); // an idle connection holds no buffer
                    // The handshake begins on our side.
                    if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                        return Poll::Ready(Err(error));
                    }
                    return Poll::Pending;
                }
                // An end without a goodbye: something may be missing.
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let taken = self.tls.writer().write(bytes)?;
            if taken > 0 {
                // What the socket does not take now is sent by the next call of any method.
                if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                    return Poll::Ready(Err(error));
                }
                return Poll::Ready(Ok(taken));
            }
            ready!(self.poll_send(cx))?;
            if self.tls.is_handshaking() {
                self.writer = Some(cx.waker().clone());
                return Poll::Pending; // reading goes on with the handshake
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls.send_close_notify();
        ready!(self.poll_send(cx))?;
        self.wire.poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection};

    use super::*;
    use crate::lock::Mutex;

    /// Whether the task of the client was woken since it was asked.
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Both directions of a connection, and who waits for bytes of the server.
    #[derive(Default)]
    struct Cable {
        to_server: Vec<u8>,
        to_client: Vec<u8>,
        reader: Option<Waker>,
    }

    #[derive(Clone, Default)]
    struct Near(Arc<Mutex<Cable>>);

    impl Duplex for Near {
        fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
            let mut cable = self.0.lock();
            if cable.to_client.is_empty() {
                cable.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            buffer.extend_from_slice(&cable.to_client);
            let read = std::mem::take(&mut cable.to_client).len();
            Poll::Ready(Ok(read))
        }

        fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.lock().to_server.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A server that says nothing behind its handshake, and the hash of its certificate.
    fn server() -> (ServerConnection, [u8; 32]) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        config.send_tls13_tickets = 0;
        let hash = ClientTls::hash(made.cert.der());
        (ServerConnection::new(Arc::new(config)).unwrap(), hash)
    }

    /// Lets the server read and answer. Returns how many bytes of the client it has understood.
    fn serve(server: &mut ServerConnection, cable: &Mutex<Cable>) -> usize {
        let bytes = std::mem::take(&mut cable.lock().to_server);
        let (mut rest, mut heard, mut text) = (&bytes[..], 0, [0; 4096]);
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().unwrap();
            while let Ok(read) = server.reader().read(&mut text) {
                heard += read;
            }
        }
        let mut answer = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answer).unwrap();
        }
        if !answer.is_empty() {
            let mut cable = cable.lock();
            cable.to_client.extend(answer);
            let reader = cable.reader.take();
            drop(cable);
            reader.into_iter().for_each(Waker::wake);
        }
        heard
    }

    /// A request that is larger than what waits for a handshake leaves when the handshake is over,
    /// also if the server says nothing more.
    #[test]
    fn a_large_request_leaves_behind_the_handshake() {
        let (mut server, hash) = server();
        let near = Near::default();
        let tls = ClientTls::pinned([hash]).unwrap();
        let mut wire = tls.wrap("localhost", Box::new(near.clone())).unwrap();
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let request = vec![b'x'; 4 * HELD_BYTES];
        let (mut rest, mut heard) = (&request[..], 0);
        // Nobody polls the connection unless it has woken its task.
        while woken.0.swap(false, Ordering::Relaxed) {
            while !rest.is_empty() {
                match wire.poll_write(&mut cx, rest) {
                    Poll::Ready(written) => rest = &rest[written.unwrap()..],
                    Poll::Pending => break,
                }
            }
            let mut buffer = BytesMut::with_capacity(1024);
            assert!(wire.poll_read(&mut cx, &mut buffer).is_pending());
            heard += serve(&mut server, &near.0);
        }
        assert_eq!((rest.len(), heard), (0, request.len()));
    }
}
