//! The URL of a broker.
//!
//! ```text
//!   redis://[[user]:password@]host[:port][,host[:port]...][/database]
//!   rediss://...                                  the same over TLS
//!   redis+sentinel://[[user]:password@]host[:port][,...]/NAME[/database]
//!   rediss+sentinel://...
//! ```
//! Several hosts of `redis` are the first servers of a cluster. `user` and `password` are
//! percent-encoded. They are those of the servers, not of the sentinels.

use alloc::string::String;
use alloc::vec::Vec;

use bytestring::ByteString;

use super::config::{Address, BrokerConfig, Credentials};
use crate::percent;

/// The port of Redis.
const PORT: u16 = 6379;

/// The port of a sentinel.
const SENTINEL_PORT: u16 = 26379;

/// How many hosts a URL may have.
const MAX_HOSTS: usize = 64;

/// Why a text is not the URL of a broker.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerUrlError {
    /// It begins with none of the known schemes.
    #[error("the URL begins with none of redis://, rediss://, redis+sentinel://, rediss+sentinel://")]
    Scheme,
    /// There is a user and no password.
    #[error("the URL has a user and no password: write user:password@")]
    NoPassword,
    /// User or password are not UTF-8 once they are decoded.
    #[error("the user or the password is not UTF-8")]
    Credentials,
    /// A host is missing, or there are too many of them.
    #[error("the URL has no host, an empty one, or more than 64")]
    Host,
    /// A port is not a number from 1 to 65535.
    #[error("a port is not a number from 1 to 65535")]
    Port,
    /// The database is not a number.
    #[error("the database is not a number")]
    Database,
    /// The URL of sentinels does not say which master is meant.
    #[error("the URL of sentinels needs the name of a master: redis+sentinel://host/NAME")]
    NoMaster,
    /// The URL has a query or a fragment. No setting has its place there.
    #[error("the URL has a query or a fragment, which mean nothing here")]
    Query,
}

crate::readable::says_why!(BrokerUrlError);

impl BrokerConfig {
    /// Reads the URL of a broker. All other settings have their defaults.
    ///
    /// # Errors
    /// If the text is not such a URL.
    pub fn from_url(url: &str) -> Result<Self, BrokerUrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(BrokerUrlError::Scheme)?;
        let (tls, sentinel) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+sentinel" => (false, true),
            "rediss+sentinel" => (true, true),
            _ => return Err(BrokerUrlError::Scheme),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(read_credentials(credentials)?), hosts),
            None => (None, authority),
        };
        if [hosts, path].iter().any(|part| part.contains(['?', '#'])) {
            return Err(BrokerUrlError::Query);
        }
        let port = if sentinel { SENTINEL_PORT } else { PORT };
        if hosts.split(',').count() > MAX_HOSTS {
            return Err(BrokerUrlError::Host);
        }
        let servers: Result<Vec<_>, _> = hosts.split(',').map(|host| read_host(host, port)).collect();
        let (name, database) = match sentinel {
            true => path.split_once('/').unwrap_or((path, "")),
            false => ("", path),
        };
        let sentinel_master = match sentinel {
            true if name.is_empty() => return Err(BrokerUrlError::NoMaster),
            true => Some(ByteString::from(decoded(name)?)),
            false => None,
        };
        let database = match database {
            "" => 0,
            text => number(text).ok_or(BrokerUrlError::Database)?,
        };
        Ok(Self {
            servers: servers?,
            sentinel_master,
            tls,
            credentials,
            database,
            ..Self::default()
        })
    }
}

fn read_credentials(text: &str) -> Result<Credentials, BrokerUrlError> {
    let (user, password) = text.split_once(':').ok_or(BrokerUrlError::NoPassword)?;
    Ok(Credentials {
        user: match user {
            "" => None,
            user => Some(decoded(user)?),
        },
        password: decoded(password)?,
    })
}

/// Decodes a part of a URL, in which `+` stands for itself.
fn decoded(text: &str) -> Result<String, BrokerUrlError> {
    match percent::decode(text.replace('+', "%2B").as_bytes()) {
        Some(bytes) => String::from_utf8(bytes).map_err(|_| BrokerUrlError::Credentials),
        None => Ok(text.into()),
    }
}

fn read_host(text: &str, port: u16) -> Result<Address, BrokerUrlError> {
    let (host, given) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']').ok_or(BrokerUrlError::Host)?;
            match (behind.strip_prefix(':'), behind.is_empty()) {
                (Some(port), _) => (host, Some(port)),
                (None, true) => (host, None),
                (None, false) => return Err(BrokerUrlError::Host),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match given {
        Some(text) => number(text).filter(|port| *port > 0).ok_or(BrokerUrlError::Port)?,
        None => port,
    };
    if host.is_empty() || host.contains(|character: char| character.is_whitespace() || character.is_control()) {
        return Err(BrokerUrlError::Host);
    }
    Ok(Address {
        host: host.into(),
        port,
    })
}

/// A number in decimal digits, and nothing else.
fn number<T: core::str::FromStr>(text: &str) -> Option<T> {
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().ok(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    fn servers(config: &BrokerConfig) -> Vec<String> {
        config.servers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn urls_name_servers_and_users() {
        let read = |url: &str| BrokerConfig::from_url(url).expect(url);
        let config = read("redis://localhost");
        assert_eq!(
            (servers(&config)[0].as_str(), config.database, config.tls),
            ("localhost:6379", 0, false)
        );
        let config = read("rediss://me%40x:p%3Aa%25+s@[::1]:7/12");
        assert_eq!(
            (servers(&config)[0].as_str(), config.database, config.tls),
            ("[::1]:7", 12, true)
        );
        let credentials = config.credentials.expect("credentials");
        assert_eq!(
            (credentials.user.as_deref(), credentials.password.as_str()),
            (Some("me@x"), "p:a%+s")
        );
        assert!(!alloc::format!("{credentials:?}").contains("p:a"));
        let config = read("redis://:secret@a:1,b,c:3/");
        assert_eq!(servers(&config), ["a:1", "b:6379", "c:3"]);
        assert_eq!(config.credentials.map(|known| known.user), Some(None));
        let config = read("redis+sentinel://a:1,b/main/2");
        assert_eq!(servers(&config), ["a:1", "b:26379"]);
        assert_eq!((config.sentinel_master.as_deref(), config.database), (Some("main"), 2));
        assert!(!config.tls);
        let config = read("rediss+sentinel://a/main");
        assert_eq!((config.sentinel_master.as_deref(), config.tls), (Some("main"), true));
        let hosts = |count| alloc::format!("redis://{}", ["a"].repeat(count).join(","));
        assert_eq!(read(&hosts(MAX_HOSTS)).servers.len(), MAX_HOSTS);
        assert_eq!(
            BrokerConfig::from_url(&hosts(MAX_HOSTS + 1)).map(|_| ()),
            Err(BrokerUrlError::Host)
        );
    }

    #[test]
    fn other_texts_say_what_is_wrong() {
        use BrokerUrlError as E;
        for (url, error) in [
            ("localhost:6379", E::Scheme),
            ("http://a", E::Scheme),
            ("redis://", E::Host),
            ("redis://a,,b", E::Host),
            ("redis://[::1", E::Host),
            ("redis://[::1]x", E::Host),
            ("redis://::1", E::Port),
            ("redis://a b", E::Host),
            ("redis://a:0", E::Port),
            ("redis://a:70000", E::Port),
            ("redis://a:+1", E::Port),
            ("redis://me@a", E::NoPassword),
            ("redis://:%ff@a", E::Credentials),
            ("redis://a/x", E::Database),
            ("redis://a/-1", E::Database),
            ("redis://a?db=1", E::Query),
            ("redis://a/1?x", E::Query),
            ("redis+sentinel://a", E::NoMaster),
            ("redis+sentinel://a/", E::NoMaster),
        ] {
            assert_eq!(BrokerConfig::from_url(url).map(|_| ()), Err(error), "{url}");
        }
    }
}
