//! CORS: which pages may read answers.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytestring::ByteString;

use super::ConfigError;
use crate::{OriginPattern, OriginPatternError, http};

/// The methods in the answer to a preflight, unless the config sets others
/// (docs/protocol/engine-io.md §4.7).
const METHODS: &str = "GET,HEAD,PUT,PATCH,POST,DELETE";

/// CORS headers of polling and preflights (docs/protocol/engine-io.md §4.7). Pages that may read
/// answers may also open sessions, unless [`Config::origins`](crate::Config::origins) is a list.
///
/// ```
/// use core::time::Duration;
/// use sio_proto::{Config, Cors};
/// let cors = Cors::patterns(["https://*.shop.example"])?
///     .with_credentials()
///     .allowed_headers(["authorization"])
///     .max_age(Duration::from_secs(600));
/// let config = Config::default().cors(cors);
/// # Ok::<(), sio_proto::OriginPatternError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cors {
    /// The pages that may read answers.
    pub origins: CorsOrigins,
    /// Whether answers have `Access-Control-Allow-Credentials: true`. Without it, browsers do not
    /// give an answer to a page that has sent cookies. Clients of 1.x and 2.x always send
    /// credentials when they poll from another origin; clients of 3.x and 4.x do so with
    /// `withCredentials`. Default false.
    pub credentials: bool,
    /// How long browsers may remember the answer to a preflight, in whole seconds. Default none:
    /// each browser has its own time, of some seconds.
    pub max_age: Option<Duration>,
    /// Whether the application answers preflights, with `Io::on_request` or in the routes beside a
    /// mounted server. Default false: the server answers them. The server always answers the
    /// preflights of clients of 0.9 and before.
    pub preflight_continue: bool,
    methods: ByteString,
    /// `None` means the header fields that the preflight asks for.
    allowed_headers: Option<ByteString>,
    exposed_headers: Option<ByteString>,
}

/// The pages that may read answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CorsOrigins {
    /// All pages (`Access-Control-Allow-Origin: *`), if they send no credentials.
    Any,
    /// All pages. Each answer names the origin of its page. Browsers accept this with credentials,
    /// too.
    Reflected,
    /// Pages of these origins, as `scheme://host[:port]` or `null`. An empty list means no pages.
    List(Vec<String>),
    /// Pages whose origin fits one of these patterns. An empty list means no pages.
    Patterns(Vec<OriginPattern>),
    /// Pages whose origin the application accepts.
    Rule(OriginRule),
}

/// A function of the application that decides about origins.
///
/// It is called once for a request whose `Origin` has at most 512 bytes, while no lock is held. It
/// must not wait and must not panic; a server of `sio-app` treats a panic as a refusal.
#[derive(Clone)]
pub struct OriginRule(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl OriginRule {
    /// A rule. `accepts` decides whether pages of an origin may read answers.
    #[must_use]
    pub fn new(accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(accepts))
    }

    /// Whether pages of this origin may read answers.
    #[must_use]
    pub fn accepts(&self, origin: &str) -> bool {
        (self.0)(origin)
    }
}

impl fmt::Debug for OriginRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OriginRule(..)")
    }
}

impl PartialEq for OriginRule {
    /// Whether both are clones of one rule.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OriginRule {}

impl Cors {
    /// Any page may read answers, without credentials.
    #[must_use]
    pub const fn any() -> Self {
        Self::of(CorsOrigins::Any)
    }

    const fn of(origins: CorsOrigins) -> Self {
        Self {
            origins,
            credentials: false,
            max_age: None,
            preflight_continue: false,
            methods: ByteString::from_static(METHODS),
            allowed_headers: None,
            exposed_headers: None,
        }
    }

    /// Any page may read answers, with credentials. Servers of 2.x do this by default, and their
    /// clients need it when they poll from another origin.
    ///
    /// **Any page that a user visits can then act in the user's name and read the answers**, if the
    /// server recognises users by cookies, by certificates or by their network. There is no harm if
    /// sessions are recognised by a token that the page itself sends (`auth`), or are not
    /// recognised at all. If the pages are known, prefer [`Cors::list`] with
    /// [`Cors::with_credentials`].
    #[must_use]
    pub const fn any_with_credentials() -> Self {
        Self::of(CorsOrigins::Reflected).with_credentials()
    }

    /// Only pages of these origins may read answers. If the list is empty, no page may, and no CORS
    /// headers are sent.
    #[must_use]
    pub fn list<S: Into<String>>(origins: impl IntoIterator<Item = S>) -> Self {
        Self::of(CorsOrigins::List(origins.into_iter().map(Into::into).collect()))
    }

    /// Only pages whose origin fits one of these [patterns](OriginPattern) may read answers.
    ///
    /// # Errors
    /// Returns the error of the first text that is no pattern.
    pub fn patterns<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, OriginPatternError> {
        let patterns = patterns.into_iter().map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self::of(CorsOrigins::Patterns(patterns)))
    }

    /// Only pages whose origin this function accepts may read answers ([`OriginRule`]).
    #[must_use]
    pub fn rule(accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::of(CorsOrigins::Rule(OriginRule::new(accepts)))
    }

    /// Adds `Access-Control-Allow-Credentials: true`. With [`Cors::any`] this is an error of the
    /// config, because browsers refuse `*` then. If all pages are meant, use
    /// [`Cors::any_with_credentials`].
    #[must_use]
    pub const fn with_credentials(mut self) -> Self {
        self.credentials = true;
        self
    }

    /// Sets [`Cors::max_age`](#structfield.max_age).
    #[must_use]
    pub const fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Sets [`Cors::preflight_continue`](#structfield.preflight_continue).
    #[must_use]
    pub const fn preflight_continue(mut self, preflight_continue: bool) -> Self {
        self.preflight_continue = preflight_continue;
        self
    }

    /// The methods in the answer to a preflight (`Access-Control-Allow-Methods`). Default `GET`,
    /// `HEAD`, `PUT`, `PATCH`, `POST` and `DELETE`, as from genuine servers. Clients need `GET` and
    /// `POST`.
    #[must_use]
    pub fn methods<'a>(mut self, methods: impl IntoIterator<Item = &'a str>) -> Self {
        self.methods = joined(methods);
        self
    }

    /// The header fields that a page may send (`Access-Control-Allow-Headers`). Default: the fields
    /// that its preflight asks for, if they have at most 1 KiB. Clients of 3.x and later send the
    /// fields of their option `extraHeaders`; all clients send `content-type`.
    #[must_use]
    pub fn allowed_headers<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.allowed_headers = Some(joined(names));
        self
    }

    /// The header fields of answers that a page may read (`Access-Control-Expose-Headers`). Default
    /// none.
    #[must_use]
    pub fn exposed_headers<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.exposed_headers = Some(joined(names));
        self
    }

    /// The three values of the answer to a preflight: the methods, the header fields that a page
    /// may send (`None` means the fields that it asks for), and the time for which browsers may
    /// remember the answer.
    pub(crate) fn preflight(&self) -> (ByteString, Option<ByteString>, Option<ByteString>) {
        let max_age = self.max_age.map(|age| ByteString::from(age.as_secs().to_string()));
        (self.methods.clone(), self.allowed_headers.clone(), max_age)
    }

    /// The header fields of answers that a page may read.
    pub(crate) const fn exposed(&self) -> Option<&ByteString> {
        self.exposed_headers.as_ref()
    }

    /// Whether all pages may read answers.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.origins, CorsOrigins::Any | CorsOrigins::Reflected)
    }

    /// Whether no page may read answers.
    pub(crate) const fn is_nobody(&self) -> bool {
        match &self.origins {
            CorsOrigins::List(origins) => origins.is_empty(),
            CorsOrigins::Patterns(patterns) => patterns.is_empty(),
            CorsOrigins::Any | CorsOrigins::Reflected | CorsOrigins::Rule(_) => false,
        }
    }

    /// Whether pages of this origin may read answers. It may call the application's code, so it
    /// must be called while no lock is held.
    pub(crate) fn fits(&self, origin: &str) -> bool {
        match &self.origins {
            CorsOrigins::Any | CorsOrigins::Reflected => true,
            CorsOrigins::List(origins) => origins.iter().any(|listed| listed.eq_ignore_ascii_case(origin)),
            CorsOrigins::Patterns(patterns) => patterns.iter().any(|pattern| pattern.fits(origin)),
            CorsOrigins::Rule(rule) => rule.accepts(origin),
        }
    }

    /// Whether browsers will understand the headers.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let is_token = |name: &str| !name.is_empty() && name.bytes().all(http::is_token_byte);
        let lists = [
            Some(&self.methods),
            self.allowed_headers.as_ref(),
            self.exposed_headers.as_ref(),
        ];
        let mut names = lists
            .into_iter()
            .flatten()
            .filter(|list| !list.is_empty())
            .flat_map(|list| list.split(','));
        if let Some(name) = names.find(|name| !is_token(name)) {
            return Err(ConfigError::CorsName(name.into()));
        }
        match &self.origins {
            CorsOrigins::Any if self.credentials => Err(ConfigError::CorsCredentials),
            CorsOrigins::Any | CorsOrigins::Reflected | CorsOrigins::Patterns(_) | CorsOrigins::Rule(_) => Ok(()),
            CorsOrigins::List(origins) => {
                let is_origin = |origin: &str| {
                    let is_one = origin
                        .parse::<OriginPattern>()
                        .is_ok_and(|pattern| pattern.fits(origin));
                    origin == "null" || is_one && origin.contains("://") && !origin.contains('*')
                };
                match origins.iter().find(|origin| !is_origin(origin)) {
                    Some(origin) => Err(ConfigError::CorsOrigin(origin.clone())),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Names as one list, in the form of a header field.
fn joined<'a>(names: impl IntoIterator<Item = &'a str>) -> ByteString {
    let mut list = String::new();
    for name in names {
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(name);
    }
    list.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    /// Hardening A16.
    #[test]
    fn credentials_for_any_page_have_to_be_meant() {
        let check = |cors| Config::default().cors(cors).validate().map(|_| ());
        assert_eq!(check(Cors::any()), Ok(()));
        assert_eq!(check(Cors::any().with_credentials()), Err(ConfigError::CorsCredentials));
        assert_eq!(check(Cors::any_with_credentials()), Ok(()));
        assert_eq!(check(Cors::list(["https://good.example"]).with_credentials()), Ok(()));
    }

    #[test]
    fn only_what_browsers_write_can_be_listed() {
        for (origin, is_one) in [
            ("https://good.example", true),
            ("http://good.example:8080", true),
            ("capacitor://localhost", true),
            ("file://", true),
            ("null", true),
            ("*", false),
            ("good.example", false),
            ("https://good.example/", false),
            ("https://*", false),
            ("https://good.example:*", false),
            ("https://a\r\nb", false),
            ("", false),
        ] {
            let checked = Config::default().cors(Cors::list([origin])).validate().map(|_| ());
            let expected = match is_one {
                true => Ok(()),
                false => Err(ConfigError::CorsOrigin(origin.into())),
            };
            assert_eq!(checked, expected, "{origin:?}");
        }
    }

    /// API: cors: a name that no header field can have is an error, so nobody can write a header
    /// field of his own through a name.
    #[test]
    fn names_are_names() {
        let check = |cors| Config::default().cors(cors).validate().map(|_| ());
        for name in ["", "a b", "a\r\nset-cookie: x=y", "a:b", "é"] {
            let error = Err(ConfigError::CorsName(name.into()));
            let with_other = ["x-a", name];
            assert_eq!(check(Cors::any().methods(with_other)), error, "{name:?}");
            assert_eq!(check(Cors::any().allowed_headers(with_other)), error, "{name:?}");
            assert_eq!(check(Cors::any().exposed_headers(with_other)), error, "{name:?}");
        }
        let none: [&str; 0] = [];
        assert_eq!(
            check(Cors::any().allowed_headers(none).exposed_headers(["x-a", "x-b"])),
            Ok(())
        );
    }

    /// API: cors: origin by pattern or function.
    #[test]
    fn origins_fit_patterns_and_rules() {
        let patterns = Cors::patterns(["https://*.good.example"]).unwrap();
        let rule = Cors::rule(|origin| origin.ends_with(".good.example"));
        for (origin, fits) in [
            ("https://a.good.example", true),
            ("https://a.b.good.example", true),
            ("https://good.example", false),
            ("https://evilgood.example", false),
            ("https://a.good.example.evil", false),
        ] {
            assert_eq!(patterns.fits(origin), fits, "{origin}");
            assert_eq!(rule.fits(origin), fits, "{origin}");
        }
        assert!(!patterns.is_open() && !rule.is_open() && !rule.is_nobody());
        assert!(Cors::patterns([]).unwrap().is_nobody());
        assert_ne!(rule, Cors::rule(|_| true));
    }
}
