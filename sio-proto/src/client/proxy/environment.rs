//! The proxy that the environment names, in the variables that curl made common.

use alloc::string::String;

use super::Proxy;
use super::bypass;
use super::error::ProxyUrlError;
use crate::client::Endpoint;

/// A variable of the environment has no URL of a proxy.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment's {variable}: {error}")]
pub struct EnvironmentError {
    /// The name of the variable.
    pub variable: &'static str,
    /// What is wrong with its value.
    pub error: ProxyUrlError,
}

crate::readable::says_why!(EnvironmentError);

impl Proxy {
    /// Returns the proxy that leads to a server, as variables of the environment say. `variable`
    /// looks one up. An empty variable counts as missing.
    ///
    /// * `https_proxy` or `HTTPS_PROXY` for `https` and `wss`; `http_proxy` or `HTTP_PROXY` for
    ///   `http` and `ws`; if this is missing, `all_proxy` or `ALL_PROXY`. The lower case counts
    ///   first.
    /// * `HTTP_PROXY` is ignored if there is a `REQUEST_METHOD`: in a CGI program, it is the field
    ///   `Proxy` of somebody's request.
    /// * No proxy leads to the servers of `no_proxy` or `NO_PROXY`, and to this machine
    ///   (`localhost` and addresses of loopback). Entries of the list are separated by commas: `*`,
    ///   a name, which stands for the names below it too, an address, or a block of addresses
    ///   (`10.0.0.0/8`), each with a port if it counts for this port only.
    ///
    /// # Errors
    ///
    /// The variable that counts has no URL of a proxy. A client that went around a proxy because
    /// of a misspelling would be worse.
    pub fn from_environment(
        server: &Endpoint,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, EnvironmentError> {
        let set = |name: &'static str| variable(name).filter(|value| !value.is_empty());
        let first = |names: &[&'static str]| {
            let found = |name: &&'static str| set(name).map(|value| (*name, value));
            names.iter().find_map(found)
        };
        let own: &[&'static str] = match (server.is_tls(), set("REQUEST_METHOD")) {
            (true, _) => &["https_proxy", "HTTPS_PROXY"],
            (false, None) => &["http_proxy", "HTTP_PROXY"],
            (false, Some(_)) => &["http_proxy"],
        };
        let Some((variable, url)) = first(own).or_else(|| first(&["all_proxy", "ALL_PROXY"])) else {
            return Ok(None);
        };
        let host = server.host().trim_matches(['[', ']']);
        let list = first(&["no_proxy", "NO_PROXY"]).map(|(_, list)| list);
        let is_named = |list: String| bypass::names(&list, host, server.port());
        if bypass::is_loopback(host) || list.is_some_and(is_named) {
            return Ok(None);
        }
        match Self::parse(url.trim()) {
            Ok(proxy) => Ok(Some(proxy)),
            Err(error) => Err(EnvironmentError { variable, error }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;
    use alloc::string::ToString;

    fn chosen(url: &str, variables: &[(&str, &str)]) -> Result<Option<String>, EnvironmentError> {
        let server = Endpoint::parse(url).unwrap();
        let proxy = Proxy::from_environment(&server, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })?;
        Ok(proxy.map(|proxy| proxy.to_string()))
    }

    /// Client C23.
    #[test]
    fn the_environment_names_a_proxy() {
        for (url, variables, proxy) in [
            ("http://a", &[][..], None),
            ("http://a", &[("http_proxy", "p")], Some("http://p:80")),
            ("ws://a", &[("HTTP_PROXY", "p:1")], Some("http://p:1")),
            (
                "ws://a",
                &[("HTTP_PROXY", "p:1"), ("http_proxy", "q:1")],
                Some("http://q:1"),
            ),
            (
                "ws://a",
                &[("HTTP_PROXY", "p:1"), ("http_proxy", "")],
                Some("http://p:1"),
            ),
            ("https://a", &[("HTTP_PROXY", "p:1")], None),
            ("wss://a", &[("HTTPS_PROXY", " p:1 ")], Some("http://p:1")),
            ("wss://a", &[("ALL_PROXY", "socks5h://p")], Some("socks5h://p:1080")),
            (
                "wss://a",
                &[("all_proxy", "q"), ("HTTPS_PROXY", "p")],
                Some("http://p:80"),
            ),
            // The rule for CGI programs.
            ("http://a", &[("HTTP_PROXY", "p"), ("REQUEST_METHOD", "GET")], None),
            (
                "http://a",
                &[("http_proxy", "p"), ("REQUEST_METHOD", "GET")],
                Some("http://p:80"),
            ),
            (
                "https://a",
                &[("HTTPS_PROXY", "p"), ("REQUEST_METHOD", "GET")],
                Some("http://p:80"),
            ),
            // Servers to which no proxy leads.
            ("http://a.b", &[("ALL_PROXY", "p"), ("NO_PROXY", "c, b")], None),
            (
                "http://a.b",
                &[("ALL_PROXY", "p"), ("NO_PROXY", "b"), ("no_proxy", "c")],
                Some("http://p:80"),
            ),
            (
                "http://[fe80::1]",
                &[("ALL_PROXY", "p"), ("NO_PROXY", "fe80::/10")],
                None,
            ),
            ("http://localhost:3000", &[("ALL_PROXY", "p")], None),
            ("http://[::1]", &[("ALL_PROXY", "p")], None),
        ] {
            assert_eq!(chosen(url, variables).unwrap().as_deref(), proxy, "{url} {variables:?}");
        }
    }

    #[test]
    fn a_misspelling_is_an_error_and_names_the_variable() {
        let error = chosen("wss://a", &[("HTTPS_PROXY", "ftp://u:secret@p")]).unwrap_err();
        assert_eq!((error.variable, &error.error), ("HTTPS_PROXY", &ProxyUrlError::Scheme));
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
