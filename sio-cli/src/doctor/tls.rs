//! TLS to a server or a proxy: which certificates are trusted, what is wrong with one that is not,
//! and whether it will be good in two weeks.

use std::sync::Arc;
use std::time::Duration;

use sio_tokio::rustls::client::WebPkiServerVerifier;
use sio_tokio::rustls::client::danger::ServerCertVerifier as _;
use sio_tokio::rustls::crypto::CryptoProvider;
use sio_tokio::rustls::pki_types::{ServerName, UnixTime};
use sio_tokio::rustls::{self, CertificateError, ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::way::Duplex;
use super::wire::Trouble;
use crate::arguments::Doctor;
use crate::ending::Failed;
use crate::{clock, dialing};

/// A certificate that ends sooner gets a warning, in days.
pub(super) const SOON: u64 = 14;

/// How connections get their TLS.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

/// What is known of a connection with TLS.
#[derive(Clone, Debug)]
pub(super) struct Secured {
    /// `TLSv1_3`.
    pub(super) version: String,
    /// Whether the certificate is good for less than [`SOON`] days.
    pub(super) ends_soon: bool,
}

impl Tls {
    /// The TLS that the arguments describe.
    pub(super) fn new(arguments: &Doctor) -> Result<Self, Failed> {
        let roots = match &arguments.ca {
            Some(file) => dialing::roots(file)?,
            None => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            }
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let config = config.map_err(|error| Failed::Usage(error.to_string()))?;
        let roots = Arc::new(roots);
        let mut config = config.with_root_certificates(Arc::clone(&roots)).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            roots,
            provider,
        })
    }

    /// Puts TLS around a connection to `host`, a name or an address without brackets.
    pub(super) async fn secure<S: Duplex>(&self, host: &str, stream: S) -> Result<(TlsStream<S>, Secured), Trouble> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| Trouble::Tls {
            words: error.to_string(),
            advice: OTHER,
        })?;
        let secured = self.connector.connect(name.clone(), stream).await;
        let stream = secured.map_err(|error| Trouble::Tls {
            words: error.to_string(),
            advice: advice(&error),
        })?;
        let connection = stream.get_ref().1;
        let version = connection.protocol_version();
        let version = version.map_or_else(|| "TLS".to_owned(), |version| format!("{version:?}"));
        let certificates = connection.peer_certificates().unwrap_or_default();
        let ends_soon = match certificates.split_first() {
            Some((own, others)) => !self.is_good_in(SOON, own, others, &name),
            None => false,
        };
        Ok((stream, Secured { version, ends_soon }))
    }

    /// Whether a certificate that is good now will be good in some days.
    fn is_good_in(
        &self,
        days: u64,
        own: &rustls::pki_types::CertificateDer<'_>,
        others: &[rustls::pki_types::CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> bool {
        let (roots, provider) = (Arc::clone(&self.roots), Arc::clone(&self.provider));
        let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(roots, provider).build() else {
            // There are no roots. Then no certificate is good, not even now.
            return true;
        };
        let then = clock::unix() + Duration::from_secs(days * 24 * 60 * 60);
        let then = UnixTime::since_unix_epoch(then);
        !matches!(
            verifier.verify_server_cert(own, others, name, &[], then),
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. }
            ))
        )
    }
}

const OTHER: &str =
    "check that the server speaks TLS on this port, and which versions; a server without TLS is http://";

/// What to do about a handshake that has failed.
fn advice(error: &std::io::Error) -> &'static str {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(error)) = error else {
        return OTHER;
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has ended: renew it, let the server read the new one, and check the clocks of both machines"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet: check the clocks of both machines"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for other names: use one of them in the URL, or get a certificate for this name"
        }
        CertificateError::UnknownIssuer => {
            "nobody that this machine trusts has signed the certificate: the server has to send the whole chain \
             (fullchain.pem, not cert.pem); a certificate of your own, or of your own authority, is named with --ca, and \
             browsers have to be told of it, too"
        }
        CertificateError::BadSignature => {
            "an authority of this name is trusted, and it has another key than the one that has signed: look whether \
             --ca, or the store of this machine, has an old certificate of it"
        }
        CertificateError::Revoked => "the certificate was revoked: get another one",
        _ => "browsers refuse this certificate, too: get one from an authority",
    }
}
