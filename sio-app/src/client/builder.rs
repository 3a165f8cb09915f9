//! The settings of a client, and how one is made of them.

use std::any::TypeId;
use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytestring::ByteString;
use serde::Serialize;
use sio_proto::client::{
    self as machine, ClientConfig, ClientConfigError, ClientError, CommandError, Endpoint, Generation, Transport,
    UrlError,
    proxy::{EnvironmentError, Proxy, ProxyScheme, ProxyUrlError},
};

use super::driver::Driver;
use super::handle::Client;
use super::network::Network;
use super::shared::{Alive, Parts};
use super::socket::ConnectError;
use super::through::Through;
#[cfg(feature = "tls")]
use super::tls::ClientTls;
use super::ways::{Proxying, Ways, variable};
use crate::error::{HandlerError, RegisterError};
use crate::turn::states::States;

/// The default of [`ClientBuilder::max_waiting_handlers`].
const MAX_WAITING_HANDLERS: usize = 1024;

/// The default of [`ClientBuilder::max_inbox_bytes`].
const MAX_INBOX_BYTES: usize = 16 << 20;

/// The default of [`ClientBuilder::inbox_reserve_bytes`].
const INBOX_RESERVE_BYTES: usize = 16 << 20;

pub(super) type ErrorFn = Arc<dyn Fn(&str, &str, &HandlerError) + Send + Sync>;

pub(super) type Providing = Pin<Box<dyn Future<Output = Result<machine::Credentials, String>> + Send>>;

pub(super) type Provider = Arc<dyn Fn(Attempt) -> Providing + Send + Sync>;

/// An attempt to connect, for which credentials are wanted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The number of the attempt: 0 for a first connection, then counted from 1.
    pub number: u32,
    /// The namespace that wants to connect on an open connection. `None` before a handshake; then
    /// the credentials are used for the handshake and all namespaces.
    pub namespace: Option<ByteString>,
    /// What went wrong before.
    pub last_error: Option<ClientError>,
}

/// The credentials of one attempt. They come on top of those of the settings.
#[derive(Clone, Debug)]
pub struct Credentials(Result<machine::Credentials, String>);

impl Default for Credentials {
    fn default() -> Self {
        Self(Ok(machine::Credentials::default()))
    }
}

impl Credentials {
    /// No credentials.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the `auth` of the namespaces: a value that is written as a JSON object. If it cannot be
    /// written, the attempt fails.
    #[must_use]
    pub fn auth<T: Serialize + ?Sized>(self, auth: &T) -> Self {
        let text = serde_json::to_string(auth).map_err(|error| error.to_string());
        self.with(|credentials| {
            credentials.auth.push((None, text?.into()));
            Ok(())
        })
    }

    /// Adds a header field to the requests.
    #[must_use]
    pub fn header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|credentials| {
            credentials.headers.push((name.into(), value.into()));
            Ok(())
        })
    }

    /// Adds a parameter to the query of the requests.
    #[must_use]
    pub fn query(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|credentials| {
            credentials.query.push((name.into(), value.into()));
            Ok(())
        })
    }

    fn with(mut self, change: impl FnOnce(&mut machine::Credentials) -> Result<(), String>) -> Self {
        if let Ok(credentials) = &mut self.0
            && let Err(error) = change(credentials)
        {
            self.0 = Err(error);
        }
        self
    }
}

/// Why a client could not be made.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The URL is not that of a server.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The settings do not make sense.
    #[error(transparent)]
    Config(#[from] ClientConfigError),
    /// The URL of [`ClientBuilder::proxy`] is not that of a proxy.
    #[error("the setting `proxy`: {0}")]
    Proxy(#[from] ProxyUrlError),
    /// The environment names a proxy that is none.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The client was given two states of one type.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The namespace could not connect.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The URL is `https` or `wss`, and the client is built without TLS.
    #[error("a client for https and wss needs the feature `tls`")]
    NoTls,
    /// The URL of the proxy is `https`, and the client is built without TLS.
    #[error("a proxy of https needs the feature `tls`")]
    NoProxyTls,
    /// The certificate authorities of the platform cannot be used.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] super::tls::ClientTlsError),
    /// There is no runtime here that could run the client's task.
    #[error("a client is made inside of a runtime")]
    NoRuntime,
}

crate::readable::says_why!(BuildError);

/// Makes a [`Client`]. The adapter's `Client::builder` returns it.
#[must_use = "this only collects settings; end it with `build` or `connect`"]
pub struct ClientBuilder {
    network: Network,
    endpoint: Result<Endpoint, UrlError>,
    config: ClientConfig,
    states: States,
    mistake: Option<RegisterError>,
    provider: Option<Provider>,
    on_error: Option<ErrorFn>,
    max_waiting_handlers: usize,
    max_inbox_bytes: usize,
    inbox_reserve_bytes: usize,
    proxying: Proxying,
    #[cfg(feature = "tls")]
    tls: Option<ClientTls>,
    #[cfg(feature = "tls")]
    proxy_tls: Option<ClientTls>,
}

impl ClientBuilder {
    /// Begins with a URL, `scheme://host[:port]`, without a path. Adapters call this function.
    pub fn new(network: Network, url: &str) -> Self {
        Self {
            network,
            endpoint: Endpoint::parse(url),
            config: ClientConfig::default(),
            states: States::default(),
            mistake: None,
            provider: None,
            on_error: None,
            max_waiting_handlers: MAX_WAITING_HANDLERS,
            max_inbox_bytes: MAX_INBOX_BYTES,
            inbox_reserve_bytes: INBOX_RESERVE_BYTES,
            proxying: Proxying::Environment,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            proxy_tls: None,
        }
    }

    /// Says which servers the client trusts, for URLs that are `https` or `wss`. By default it
    /// trusts the certificate authorities of the platform ([`ClientTls::platform`]).
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Says which proxies the client trusts, if the URL of the proxy is `https`. By default it
    /// trusts the certificate authorities of the platform: whom [`ClientBuilder::tls`] trusts is a
    /// question of the server.
    #[cfg(feature = "tls")]
    pub fn proxy_tls(mut self, tls: ClientTls) -> Self {
        self.proxy_tls = Some(tls);
        self
    }

    /// Returns the TLS for this endpoint. What a client for `http` was given is for redirects.
    #[cfg(feature = "tls")]
    fn tls_for(&mut self, endpoint: &Endpoint) -> Result<Option<ClientTls>, BuildError> {
        if !endpoint.is_tls() {
            return Ok(self.tls.take());
        }
        Ok(Some(ClientTls::or_platform(self.tls.take())?))
    }

    /// Returns the ways to this endpoint.
    fn ways(&mut self, endpoint: &Endpoint) -> Result<Ways, BuildError> {
        let timeout = self.config.connect_timeout;
        #[cfg(feature = "tls")]
        let given = self.proxy_tls.take();
        let through = |proxy: Proxy| {
            #[cfg(feature = "tls")]
            let tls = match proxy.scheme() {
                ProxyScheme::Https => Some(ClientTls::or_platform(given.clone())?),
                _ => None,
            };
            #[cfg(not(feature = "tls"))]
            if proxy.scheme() == ProxyScheme::Https {
                return Err(BuildError::NoProxyTls);
            }
            Ok(Through {
                proxy,
                timeout,
                #[cfg(feature = "tls")]
                tls,
            })
        };
        Ways::new(&self.proxying, endpoint, variable, through)
    }

    /// Sets the proxy through which the client connects, instead of the one of the environment:
    /// `[scheme://][user[:password]@]host[:port]`. User and password are percent-encoded.
    ///
    /// | scheme | protocol | who resolves the server's name |
    /// |---|---|---|
    /// | `http`, or none | HTTP CONNECT, also for `http` and `ws`. The password goes as `Basic` | the proxy |
    /// | `https` | as `http`, and the connection to the proxy is TLS (`proxy_tls`, feature `tls`) | the proxy |
    /// | `socks5` | SOCKS 5, with or without a password | the client |
    /// | `socks5h` | SOCKS 5, with or without a password | the proxy |
    ///
    /// TLS is between the client and the server: the proxy sees the name of the server, and nothing
    /// else. The connection to the proxy itself is only encrypted with `https`: otherwise everybody
    /// on the way to the proxy sees the name of the server and the password. The proxy has
    /// [`ClientConfig::connect_timeout`] to lead to the server. If it refuses (401, 403, 407, or
    /// the login of SOCKS), the client does what [`ClientConfig::on_refused`] says.
    ///
    /// By default the proxy is that of the environment, read by [`ClientBuilder::build`]:
    /// `https_proxy` or `HTTPS_PROXY` for `https` and `wss`, `http_proxy` or `HTTP_PROXY` for
    /// `http` and `ws`, then `all_proxy` or `ALL_PROXY`, except for this machine and the servers of
    /// `no_proxy` or `NO_PROXY` ([`Proxy::from_environment`] has the rules). After a redirect from
    /// `http` to `https`, it is the proxy of `https`.
    pub fn proxy(mut self, url: &str) -> Self {
        self.proxying = Proxying::Given(Proxy::parse(url));
        self
    }

    /// Connects without a proxy, whatever the environment says.
    pub fn no_proxy(mut self) -> Self {
        self.proxying = Proxying::Nothing;
        self
    }

    /// Sets the path under which the server is mounted. Default `/socket.io/`. It is not a
    /// namespace: [`Client::of`] chooses one.
    pub fn path(mut self, path: &str) -> Self {
        self.endpoint = self.endpoint.map(|endpoint| endpoint.with_path(path));
        self
    }

    /// Changes settings of the protocol: `.config(|config| config.reconnection(false))`.
    pub fn config(mut self, change: impl FnOnce(ClientConfig) -> ClientConfig) -> Self {
        self.config = change(self.config);
        self
    }

    /// Sets the generation of the server. Default [`Generation::Four`].
    pub fn generation(mut self, generation: Generation) -> Self {
        self.config.generation = generation;
        self
    }

    /// Sets the transports, in order: the first one opens.
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        self.config.transports = transports.into_iter().collect();
        self
    }

    /// Adds a header field to every request, also after a redirect and with websockets. The value
    /// of a `Cookie` follows the cookies that the server has set, in the same field.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.headers.push((name.into(), value.into()));
        self
    }

    /// Adds a parameter to the query of every request.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.query.push((name.into(), value.into()));
        self
    }

    /// Sets the function that provides credentials. It is asked before **each** handshake, and
    /// before each CONNECT on an open connection, and told the number of the attempt and the last
    /// error. It has [`ClientConfig::connect_timeout`] to answer. An error fails the attempt.
    ///
    /// ```
    /// # use sio_app::client::{Attempt, ClientBuilder, Credentials};
    /// # fn example(builder: ClientBuilder) -> ClientBuilder {
    /// builder.credentials(async |attempt: Attempt| {
    ///     let refresh = attempt.last_error.is_some();
    ///     let token = fetch_token(refresh).await?;
    ///     Ok::<_, std::io::Error>(Credentials::new().header("Authorization", token))
    /// })
    /// # }
    /// # async fn fetch_token(_: bool) -> std::io::Result<String> { Ok(String::new()) }
    /// ```
    pub fn credentials<F, R, E>(mut self, provide: F) -> Self
    where
        F: Fn(Attempt) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Credentials, E>> + Send + 'static,
        E: fmt::Display,
    {
        self.config.provider = true;
        self.provider = Some(Arc::new(move |attempt| {
            let providing = provide(attempt);
            Box::pin(async move { providing.await.map_err(|error| error.to_string())?.0 })
        }));
        self
    }

    /// Gives the client a value for its handlers, which ask for it as
    /// [`State<T>`](crate::State).
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        let id = TypeId::of::<T>();
        if self.states.has(id) {
            let twice = RegisterError::StateTwice(type_name::<T>());
            self.mistake.get_or_insert(twice);
        } else {
            self.states = self.states.and(id, Arc::new(value));
        }
        self
    }

    /// Sets the function that gets the errors of handlers, with the namespace and the event. By
    /// default they are logged.
    pub fn on_error(mut self, report: impl Fn(&str, &str, &HandlerError) + Send + Sync + 'static) -> Self {
        self.on_error = Some(Arc::new(report));
        self
    }

    /// Sets how many `async` handlers may wait at once. Default 1024; 0 is an error. Beyond it,
    /// further events wait until one has finished, up to [`ClientBuilder::max_inbox_bytes`]. Only
    /// the handlers of one event may together exceed the number. Of several failures to connect
    /// that come meanwhile, the handlers of a namespace
    /// ([`Socket::on_connect_error`](super::Socket::on_connect_error)) are told the last one.
    pub fn max_waiting_handlers(mut self, max: usize) -> Self {
        self.max_waiting_handlers = max;
        self
    }

    /// Sets how many bytes of events may wait in an [`Events`](super::Events), and how many for
    /// handlers ([`ClientBuilder::max_waiting_handlers`]). Each counts 128 more. Default 16 MiB; 0
    /// is an error. Beyond it, the client reads only what cannot wait until some have been taken
    /// ([`ClientBuilder::inbox_reserve_bytes`]).
    pub fn max_inbox_bytes(mut self, max: usize) -> Self {
        self.max_inbox_bytes = max;
        self
    }

    /// Sets how many bytes of events may wait beyond [`ClientBuilder::max_inbox_bytes`], because
    /// the client has to read what comes behind them. Default 16 MiB; 0 is an error.
    ///
    /// Half of it is for an open connection: the client reads on while a
    /// [`Receipt`](super::Receipt) or an [`AckFuture`](super::AckFuture) is held, and whenever
    /// the next heartbeat of the server is due. The other half is for connections that open. One
    /// read or the body of one poll may exceed a half.
    ///
    /// If all of it is full, nothing but the answers to POSTs is read. A connection whose
    /// heartbeats are not read is lost, with the reason `ping timeout`, and the client connects
    /// again when events have been taken.
    pub fn inbox_reserve_bytes(mut self, bytes: usize) -> Self {
        self.inbox_reserve_bytes = bytes;
        self
    }

    /// Makes the client, which does nothing until a namespace connects ([`Client::of`],
    /// [`Socket::connect`](super::Socket::connect)).
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(mut self) -> Result<Client, BuildError> {
        let endpoint = self.endpoint.clone()?;
        #[cfg(feature = "tls")]
        let tls = self.tls_for(&endpoint)?;
        #[cfg(not(feature = "tls"))]
        if endpoint.is_tls() {
            return Err(BuildError::NoTls);
        }
        if let Some(mistake) = self.mistake.take() {
            return Err(mistake.into());
        }
        let counts = [
            ("max_waiting_handlers", self.max_waiting_handlers),
            ("max_inbox_bytes", self.max_inbox_bytes),
            ("inbox_reserve_bytes", self.inbox_reserve_bytes),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(ClientConfigError::Zero(name).into());
        }
        if !(self.network.can_spawn)() {
            return Err(BuildError::NoRuntime);
        }
        let ways = self.ways(&endpoint)?;
        let fill = self.network.runtime.fill;
        let entropy = Box::new(move |out: &mut [u8]| fill(out));
        let machine = machine::Client::new(endpoint, self.config, entropy)?;
        let alive = Alive::new(Parts {
            machine,
            network: self.network,
            states: self.states,
            provider: self.provider,
            on_error: self.on_error,
            max_waiting_handlers: self.max_waiting_handlers,
            max_inbox_bytes: self.max_inbox_bytes,
            inbox_reserve_bytes: self.inbox_reserve_bytes,
            ways,
            #[cfg(feature = "tls")]
            tls,
        });
        (self.network.runtime.spawn)(Box::pin(Driver::new(Arc::clone(&alive.0))));
        Ok(Client::new(alive))
    }

    /// Makes the client, and connects the namespace `/`. Handlers that must not miss the first
    /// events are registered before: use [`ClientBuilder::build`].
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn connect(self) -> Result<Client, BuildError> {
        let client = self.build()?;
        client.of("/").map_err(ConnectError::from)?.connect()?;
        Ok(client)
    }
}

impl From<CommandError> for BuildError {
    fn from(error: CommandError) -> Self {
        Self::Connect(error.into())
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_comes_with_its_feature() {
        let network = Network {
            runtime: crate::tests::RUNTIME,
            can_spawn: || true,
            connect: |_| unreachable!("nothing connects"),
            resolve: |_, _| unreachable!("nothing connects"),
            sleep: |_| unreachable!("nothing connects"),
        };
        let builder = ClientBuilder::new(network, "https://localhost");
        #[cfg(feature = "tls")]
        {
            let (mut builder, endpoint) = (builder, Endpoint::parse("https://localhost").unwrap());
            // The roots of the platform need no further step. A machine may have none.
            match (builder.tls_for(&endpoint), ClientTls::platform()) {
                (Ok(Some(_)), Ok(_)) => {}
                (Err(BuildError::Tls(told)), Err(why)) => assert_eq!(told.to_string(), why.to_string()),
                (built, _) => panic!("{built:?}"),
            }
        }
        #[cfg(not(feature = "tls"))]
        assert!(matches!(builder.build(), Err(BuildError::NoTls)));
    }
}
