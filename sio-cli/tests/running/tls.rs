//! What stands before a server and speaks TLS for it, with good and bad certificates.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "these are tests, with threads of their own"
)]

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use sio_tokio::rustls::ServerConfig;
use sio_tokio::rustls::pki_types::pem::PemObject as _;
use sio_tokio::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// An authority of the tests, and its certificate as a file.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

/// From when until when a certificate is good: year, month, day.
pub(crate) type Span = [(i32, u8, u8); 2];

/// Long enough for all tests.
pub(crate) const LONG: Span = [(2000, 1, 1), (2999, 1, 1)];

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("an authority of the tests")
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// The path of its certificate.
    pub(crate) fn file(&self) -> &str {
        self.file.path().to_str().unwrap()
    }

    /// Starts a TLS end with a certificate for this name, which leads to a server without TLS.
    pub(crate) fn before(&self, server: u16, name: &str, [from, to]: Span) -> Front {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(to.0, to.1, to.2);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        front(server, &certificate.pem(), &key.serialize_pem())
    }
}

/// Starts a TLS end with a certificate that nobody but itself has signed.
pub(crate) fn self_signed(server: u16, name: &str) -> Front {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    front(server, &made.cert.pem(), &made.signing_key.serialize_pem())
}

/// The TLS end of a server. It ends with this value.
pub(crate) struct Front {
    pub(crate) port: u16,
    _stop: oneshot::Sender<()>,
}

fn front(server: u16, chain: &str, key: &str) -> Front {
    let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(sio_tokio::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (tell, port) = mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap().port()).unwrap();
            let leading = async {
                while let Ok((client, _)) = listener.accept().await {
                    let acceptor = acceptor.clone();
                    tokio::spawn(async move {
                        let mut client = acceptor.accept(client).await?;
                        let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
                        tokio::io::copy_bidirectional(&mut client, &mut server).await
                    });
                }
            };
            tokio::select! {
                () = leading => {}
                _ = stopped => {}
            }
        });
    });
    let port = port.recv_timeout(Duration::from_secs(30)).unwrap();
    Front { port, _stop: stop }
}
