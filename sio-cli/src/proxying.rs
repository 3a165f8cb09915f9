//! Which proxy leads to a server: the user's, or the one of the environment.

use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use clap::Args;
use sio_proto::client::Endpoint;
use sio_proto::client::proxy::Proxy;
use sio_tokio::client::{ClientBuilder, ClientTls};

use crate::dialing;
use crate::ending::Failed;
use crate::target::Target;

/// The options about proxies.
#[derive(Args, Debug)]
pub(crate) struct Proxying {
    /// Go through this proxy: `http`, `https`, `socks5` or `socks5h://[USER:PASSWORD@]HOST:PORT`;
    /// by default that of the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY)
    #[arg(long, value_name = "URL")]
    proxy: Option<ProxyUrl>,
    /// Go through no proxy, whatever the environment says
    #[arg(long, conflicts_with = "proxy")]
    no_proxy: bool,
}

/// The URL of a proxy as it was given. It may have a password, so nothing shows it.
#[derive(Clone)]
struct ProxyUrl(String);

impl FromStr for ProxyUrl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyUrl")
    }
}

impl Proxying {
    /// Whether the user has named a proxy, which then leads everywhere.
    pub(crate) const fn is_given(&self) -> bool {
        self.proxy.is_some()
    }

    /// Tells a client. With a file of certificate authorities, a proxy of `https` has to be known
    /// to one of them.
    pub(crate) fn apply(&self, builder: ClientBuilder, ca: Option<&Path>) -> Result<ClientBuilder, Failed> {
        let builder = match (&self.proxy, self.no_proxy) {
            (Some(ProxyUrl(url)), _) => builder.proxy(url),
            (None, true) => builder.no_proxy(),
            (None, false) => builder,
        };
        let Some(file) = ca else { return Ok(builder) };
        let tls = ClientTls::with_roots(dialing::roots(file)?);
        Ok(builder.proxy_tls(tls.map_err(|error| Failed::Usage(error.to_string()))?))
    }

    /// The proxy that leads to a server.
    pub(crate) fn proxy(&self, target: &Target) -> Result<Option<Proxy>, Failed> {
        let usage = |error: &dyn fmt::Display| Failed::Usage(error.to_string());
        if let Some(ProxyUrl(url)) = &self.proxy {
            let proxy = Proxy::parse(url).map_err(|error| usage(&format_args!("--proxy: {error}")))?;
            return Ok(Some(proxy));
        }
        if self.no_proxy {
            return Ok(None);
        }
        let endpoint = Endpoint::parse(&target.url).map_err(|error| usage(&error))?;
        let variable = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
        Proxy::from_environment(&endpoint, variable).map_err(|error| usage(&error))
    }
}
