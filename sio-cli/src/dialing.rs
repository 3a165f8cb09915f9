//! A client, as the arguments of a command describe it.

use std::path::Path;
use std::time::Duration;

use sio_tokio::Client as Builds;
use sio_tokio::client::{Client, ClientBuilder, ClientTls, Generation, Transport};
use sio_tokio::codec::MessagePack;
use sio_tokio::rustls::RootCertStore;
use sio_tokio::rustls::pki_types::CertificateDer;
use sio_tokio::rustls::pki_types::pem::PemObject as _;

use crate::arguments::{Codec, Dial, Speaks, Via};
use crate::ending::Failed;

/// The longest time for an acknowledgement that a client is told.
const MAX_ACK: Duration = Duration::from_secs(24 * 60 * 60);

/// Begins a client. Commands may change it before they make it.
pub(crate) fn builder(dial: &Dial) -> Result<ClientBuilder, Failed> {
    let target = &dial.target;
    let mut builder = Builds::builder(&target.url)
        .path(&target.path(dial.path.as_deref()))
        .generation(match dial.generation {
            Speaks::Auto => Generation::Auto,
            Speaks::Four | Speaks::Three => Generation::Four,
            Speaks::Two | Speaks::One => Generation::Two,
            Speaks::V0_9 => Generation::V0_9,
            Speaks::V0_6 => Generation::V0_6,
            Speaks::Streaming => Generation::Streaming,
        })
        .transports(transports(&dial.transport));
    for (name, value) in target.query.iter().chain(&dial.query) {
        builder = builder.query(name, value);
    }
    for (name, value) in &dial.header {
        builder = builder.header(name, value);
    }
    if dial.parser == Some(Codec::Msgpack) {
        builder = builder.config(|config| config.parser(MessagePack::default()));
    }
    if target.is_tls {
        let tls = match &dial.ca {
            None => ClientTls::platform(),
            Some(file) => ClientTls::with_roots(roots(file)?),
        };
        builder = builder.tls(tls.map_err(|error| Failed::Usage(error.to_string()))?);
    }
    builder = dial.proxying.apply(builder, dial.ca.as_deref())?;
    let timeout = dial.timeout();
    Ok(builder.config(|config| config.connect_timeout(timeout).ack_timeout(MAX_ACK.min(timeout))))
}

/// Makes the client.
pub(crate) fn build(builder: ClientBuilder) -> Result<Client, Failed> {
    builder.build().map_err(|error| Failed::Usage(error.to_string()))
}

fn transports(via: &[Via]) -> Vec<Transport> {
    via.iter()
        .map(|via| match via {
            Via::Polling => Transport::Polling,
            Via::Websocket => Transport::WebSocket,
        })
        .collect()
}

/// Reads the certificate authorities of a PEM file.
pub(crate) fn roots(file: &Path) -> Result<RootCertStore, Failed> {
    let cannot = |error: &dyn std::fmt::Display| Failed::Usage(format!("{}: {error}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| cannot(&error))? {
        let certificate = certificate.map_err(|error| cannot(&error))?;
        roots.add(certificate).map_err(|error| cannot(&error))?;
    }
    if roots.is_empty() {
        return Err(cannot(&"there is no certificate in the file"));
    }
    Ok(roots)
}
