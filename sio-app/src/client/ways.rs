//! The way to a server: directly, or through a proxy. A server may redirect its client from `http`
//! to `https`, for which the environment may name another proxy, or none.

use std::io;
use std::sync::Arc;

use sio_proto::client::Endpoint;
use sio_proto::client::proxy::{Proxy, ProxyUrlError};

use super::builder::BuildError;
use super::through::Through;

/// Which proxy leads to the server.
pub(super) enum Proxying {
    Environment,
    Nothing,
    Given(Result<Proxy, ProxyUrlError>),
}

impl Proxying {
    fn proxy(
        &self,
        server: &Endpoint,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Proxy>, BuildError> {
        match self {
            Self::Nothing => Ok(None),
            Self::Given(proxy) => Ok(Some(proxy.clone()?)),
            Self::Environment => Ok(Proxy::from_environment(server, variable)?),
        }
    }
}

/// A variable of the environment. A value that is not Unicode is a misspelling, and is told as one.
pub(super) fn variable(name: &str) -> Option<String> {
    Some(std::env::var_os(name)?.to_string_lossy().into_owned())
}

type Way = Option<Arc<Through>>;

/// The ways of one client.
#[derive(Debug)]
pub(super) struct Ways {
    is_tls: bool,
    own: Way,
    /// The way after a redirect to `https`. What is wrong with it is told when it is needed.
    redirected: Result<Way, BuildError>,
}

impl Ways {
    /// Chooses the ways to a server. `through` makes a way of a proxy.
    pub(super) fn new(
        proxying: &Proxying,
        server: &Endpoint,
        variable: impl Fn(&str) -> Option<String>,
        through: impl Fn(Proxy) -> Result<Through, BuildError>,
    ) -> Result<Self, BuildError> {
        let way = |proxy: Option<Proxy>| proxy.map(|proxy| through(proxy).map(Arc::new)).transpose();
        let own = way(proxying.proxy(server, &variable)?)?;
        let is_own = |proxy: &Option<Proxy>| proxy.as_ref() == own.as_ref().map(|own| &own.proxy);
        let redirected = || match Endpoint::parse(&format!("https://{}", server.host())) {
            Ok(secure) if !server.is_tls() => match proxying.proxy(&secure, &variable)? {
                proxy if is_own(&proxy) => Ok(own.clone()),
                proxy => way(proxy),
            },
            _ => Ok(None),
        };
        Ok(Self {
            is_tls: server.is_tls(),
            redirected: redirected(),
            own,
        })
    }

    /// The way of a connection.
    pub(super) fn choose(&self, tls: bool) -> io::Result<&Way> {
        match &self.redirected {
            _ if tls == self.is_tls => Ok(&self.own),
            Ok(way) => Ok(way),
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ways(url: &str, variables: &[(&str, &str)]) -> Result<Ways, BuildError> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let through = |proxy| {
            Ok(Through {
                proxy,
                timeout: Duration::ZERO,
                #[cfg(feature = "tls")]
                tls: None,
            })
        };
        Ways::new(
            &Proxying::Environment,
            &Endpoint::parse(url).unwrap(),
            variable,
            through,
        )
    }

    fn shown(ways: &Ways, tls: bool) -> Option<String> {
        let way = ways.choose(tls).unwrap().as_ref();
        way.map(|through| through.proxy.to_string())
    }

    /// Client C23: a redirect from `http` to `https` goes through the proxy of `https`, and not
    /// through that of `http`.
    #[test]
    fn a_redirect_chooses_the_proxy_anew() {
        let both = [("http_proxy", "plain:1"), ("https_proxy", "secure:2")];
        let found = ways("http://a.example", &both).unwrap();
        assert_eq!(shown(&found, false).as_deref(), Some("http://plain:1"));
        assert_eq!(shown(&found, true).as_deref(), Some("http://secure:2"));
        let found = ways("http://a.example", &both[..1]).unwrap();
        assert_eq!(shown(&found, true), None);
        let excepted = [both[0], both[1], ("no_proxy", "a.example:443")];
        let found = ways("http://a.example", &excepted).unwrap();
        assert_eq!(shown(&found, false).as_deref(), Some("http://plain:1"));
        assert_eq!(shown(&found, true), None);
        let found = ways("http://[fe80::1]", &both).unwrap();
        assert_eq!(shown(&found, true).as_deref(), Some("http://secure:2"));
    }

    /// A misspelling that only a redirect needs does not stop a client that is not redirected.
    #[test]
    fn a_misspelling_is_told_when_it_counts() {
        let found = ways("http://a.example", &[("https_proxy", "ftp://secure")]).unwrap();
        assert_eq!(shown(&found, false), None);
        let error = found.choose(true).unwrap_err();
        assert!(error.to_string().contains("https_proxy"), "{error}");
        assert!(ways("https://a.example", &[("https_proxy", "ftp://secure")]).is_err());
    }
}
