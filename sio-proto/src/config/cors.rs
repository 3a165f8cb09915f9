//! CORS: which pages may read answers.

use alloc::string::String;
use alloc::vec::Vec;

use super::ConfigError;
use crate::OriginPattern;

/// CORS headers of polling and preflights (docs/protocol/engine-io.md §4.7). Pages that may read
/// answers may open sessions, too, as long as [`Config::origins`](crate::Config::origins) is not a
/// list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Whose pages may read answers.
    pub origins: CorsOrigins,
    /// Whether answers say `Access-Control-Allow-Credentials: true`, without which browsers keep
    /// them from a page that has sent cookies. Clients of 1.x and 2.x send them always when they
    /// poll from another origin; those of 3.x and 4.x with `withCredentials`.
    pub credentials: bool,
}

/// Whose pages may read answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CorsOrigins {
    /// All (`Access-Control-Allow-Origin: *`), if they send no credentials.
    Any,
    /// All: each is told its own origin, which browsers take where there are credentials, too.
    Reflected,
    /// Those of these origins, as `scheme://host[:port]` or `null`; an empty list is none.
    List(Vec<String>),
}

impl Cors {
    /// Any page may read answers, without credentials.
    #[must_use]
    pub const fn any() -> Self {
        Self {
            origins: CorsOrigins::Any,
            credentials: false,
        }
    }

    /// Any page may read answers, with credentials: what servers of 2.x do by default, and what
    /// their clients need that poll from another origin.
    ///
    /// **Any page that a user visits can then act in the user's name and read the answers**, as far
    /// as the server knows users by cookies, by certificates or by the network that they are in.
    /// Where sessions are known by a token that the page itself sends (`auth`), or by nothing, no
    /// harm is done. Prefer [`Cors::list`] with [`Cors::with_credentials`] where the pages are
    /// known.
    #[must_use]
    pub const fn any_with_credentials() -> Self {
        Self {
            origins: CorsOrigins::Reflected,
            credentials: true,
        }
    }

    /// Only pages of these origins may read answers. None at all, if the list is empty: no CORS
    /// headers are sent then.
    #[must_use]
    pub fn list<S: Into<String>>(origins: impl IntoIterator<Item = S>) -> Self {
        Self {
            origins: CorsOrigins::List(origins.into_iter().map(Into::into).collect()),
            credentials: false,
        }
    }

    /// Adds `Access-Control-Allow-Credentials: true`. With [`Cors::any`] that is an error of the
    /// config: browsers refuse `*` then, and whoever means all pages has to say so by
    /// [`Cors::any_with_credentials`].
    #[must_use]
    pub const fn with_credentials(mut self) -> Self {
        self.credentials = true;
        self
    }

    /// Whether all pages may read answers.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.origins, CorsOrigins::Any | CorsOrigins::Reflected)
    }

    /// Whether no page may read answers.
    pub(crate) const fn is_nobody(&self) -> bool {
        matches!(&self.origins, CorsOrigins::List(origins) if origins.is_empty())
    }

    /// Whether pages of this origin may read answers.
    pub(crate) fn fits(&self, origin: &str) -> bool {
        match &self.origins {
            CorsOrigins::Any | CorsOrigins::Reflected => true,
            CorsOrigins::List(origins) => origins.iter().any(|listed| listed.eq_ignore_ascii_case(origin)),
        }
    }

    /// Whether browsers will understand it.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match &self.origins {
            CorsOrigins::Any if self.credentials => Err(ConfigError::CorsCredentials),
            CorsOrigins::Any | CorsOrigins::Reflected => Ok(()),
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
}
