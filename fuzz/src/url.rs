//! URLs of servers and of brokers: what is taken is shown as a URL of the same place, and no host
//! can end a line or begin another part of a URL.

use sio_proto::broker::BrokerConfig;
use sio_proto::client::Endpoint;

/// See the [module](self).
pub fn url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(endpoint) = Endpoint::parse(text) {
        let host = endpoint.host();
        assert!(is_host(host), "{host:?}");
        assert!(!host.contains(['/', '?', '#', '@']), "{host:?}");
        assert_ne!(endpoint.port(), 0);
        let shown = endpoint.to_string();
        let place = shown.strip_suffix("/socket.io/").expect("the default path");
        let again = Endpoint::parse(place).expect("what is shown is a URL");
        assert_eq!(again, endpoint);
    }
    if let Ok(config) = BrokerConfig::from_url(text) {
        assert!(!config.servers.is_empty());
        for server in &config.servers {
            assert!(is_host(&server.host), "{:?}", server.host);
            assert_ne!(server.port, 0);
        }
        assert!(config.sentinel_master.is_none_or(|master| !master.is_empty()));
    }
}

/// Whether this can stand in a line of a head.
fn is_host(host: &str) -> bool {
    !host.is_empty() && !host.contains(|character: char| character.is_whitespace() || character.is_control())
}
