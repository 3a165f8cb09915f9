//! TLS to a genuine Redis: whom a node trusts, and who the node is.

use std::fs;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use sio_app::adapter::BrokerBuildError;
use sio_app::adapter::broker::{BrokerError, Refusal};
use sio_app::client::ClientTls;
use sio_app::rustls::pki_types::PrivateKeyDer;
use sio_app::rustls::{ClientConfig, RootCertStore};

use super::connections::{Node, config};
use super::servers::{Redis, free_port};

/// An authority of the test, and certificates that it has signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn signed(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        // A certificate whose subject is that of its issuer is taken for one that has signed
        // itself.
        params.distinguished_name.push(DnType::CommonName, name);
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// The settings of a node that trusts the authority, and shows a certificate if it has one.
    fn trusted(&self, own: Option<&(rcgen::Certificate, KeyPair)>) -> ClientTls {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(sio_app::rustls::crypto::ring::default_provider());
        let trust = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => trust.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                trust
                    .with_client_auth_cert(vec![certificate.der().clone()], key)
                    .unwrap()
            }
        };
        ClientTls::new(config)
    }
}

/// Starts a server that speaks TLS only, with a certificate for `localhost`. `asks` is whether
/// clients need a certificate, too.
fn start(authority: &Authority, asks: bool) -> Redis {
    let (certificate, key) = authority.signed("localhost");
    let asks = if asks { "yes" } else { "no" };
    Redis::start_in(free_port(), |directory| {
        let file = |setting: &str, name: &str, text: String| {
            let file = directory.join(name);
            fs::write(&file, text).unwrap();
            format!("{setting} {}", file.display())
        };
        vec![
            file("tls-ca-cert-file", "ca.pem", authority.0.pem()),
            file("tls-cert-file", "server.pem", certificate.pem()),
            file("tls-key-file", "server.key", key.serialize_pem()),
            format!("tls-auth-clients {asks}"),
            "requirepass secret".to_owned(),
        ]
    })
}

fn connect(port: u16, host: &str, password: &str, tls: ClientTls) -> Node {
    let config = config(&format!("rediss://default:{password}@{host}:{port}"));
    Node::connect_with(crate::builder(config).tls(tls))
}

/// Why a node does not come up: TLS has failed.
fn refusal(node: &Node) -> String {
    match node.down().1 {
        BrokerError::Unreachable(why) => why.to_string(),
        other => format!("{other}"),
    }
}

#[test]
#[ignore = "needs redis-server"]
fn only_a_server_that_is_trusted_is_spoken_to() {
    let authority = Authority::new();
    let redis = start(&authority, false);
    let node = connect(redis.port, "localhost", "secret", authority.trusted(None));
    node.subscribe("c", false);
    node.up();
    let large = "x".repeat(1_000_000);
    node.publish("c", &large, false);
    node.hears(&large);
    // The password is wrong, behind TLS.
    let stranger = connect(redis.port, "localhost", "wrong", authority.trusted(None));
    let (_, why) = stranger.down();
    assert!(why.is_refused_as(Refusal::Credentials), "{why}");
    // The certificate is for another name, or of another authority.
    let wrong_name = connect(redis.port, "127.0.0.1", "secret", authority.trusted(None));
    let why = refusal(&wrong_name);
    assert!(why.contains("not valid for name"), "{why}");
    let foreign = connect(redis.port, "localhost", "secret", Authority::new().trusted(None));
    let why = refusal(&foreign);
    assert!(why.contains("UnknownIssuer") || why.contains("BadSignature"), "{why}");
    // Without TLS, nothing is understood.
    let plain = Node::connect(config(&format!("redis://localhost:{}", redis.port)));
    plain.down();
    // Without roots there is no connection at all.
    let bare = crate::builder(config(&format!("rediss://localhost:{}", redis.port)));
    if let Err(error) = crate::connect(bare, |_| {}) {
        assert!(
            matches!(error, BrokerBuildError::NoTls | BrokerBuildError::Tls(_)),
            "{error}"
        );
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_node_shows_its_own_certificate() {
    let authority = Authority::new();
    let redis = start(&authority, true);
    let own = authority.signed("node");
    let node = connect(redis.port, "localhost", "secret", authority.trusted(Some(&own)));
    node.subscribe("c", false);
    node.up();
    node.publish("c", "x", false);
    node.hears("x");
    let nobody = connect(redis.port, "localhost", "secret", authority.trusted(None));
    nobody.down();
    assert!(!nobody.handle.counters().is_up);
}
