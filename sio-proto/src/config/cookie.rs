//! The cookie on the handshake response.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::ConfigError;
use super::setters::setters;
use crate::http::Date;

/// `Set-Cookie` on the handshake response of polling (docs/protocol/engine-io.md §4.7).
///
/// `Secure` is added automatically where the link is encrypted
/// ([`Peer::secure`](crate::server::Peer::secure),
/// [`Config::behind_tls`](crate::Config::behind_tls)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Default `io`. If the name begins with `__Secure-` or `__Host-`, the other attributes are
    /// checked against the rules that browsers have for these prefixes.
    pub name: String,
    /// Default `/`.
    pub path: String,
    /// The domain below which the cookie is sent. Default none: it is sent to the server's own host
    /// only.
    pub domain: Option<String>,
    /// How long browsers keep it, in whole seconds. Default none: until the browser is closed.
    pub max_age: Option<Duration>,
    /// The date until which browsers keep it. It is for browsers that do not know
    /// [`Cookie::max_age`]; if both are set, `max_age` counts. Default none. The server does not
    /// compare it with the current date: a date in the past makes browsers drop the cookie.
    pub expires: Option<Date>,
    /// Whether scripts cannot read it. Default true.
    pub http_only: bool,
    /// Whether it is sent over TLS only, even if the server itself cannot see TLS. Default false:
    /// then it is `Secure` only where the link is encrypted. Browsers discard a cookie that is
    /// `Secure` and comes over plain HTTP from a host other than `localhost`.
    pub secure: bool,
    /// Default [`SameSite::Lax`].
    pub same_site: SameSite,
    /// Whether each site that embeds a page of this host has its own cookie. Default false. It
    /// needs [`Cookie::secure`].
    pub partitioned: bool,
    /// Which cookies browsers drop first when there are too many. Default none, which browsers
    /// treat as medium.
    pub priority: Option<Priority>,
}

impl Default for Cookie {
    fn default() -> Self {
        Self {
            name: "io".to_owned(),
            path: "/".to_owned(),
            domain: None,
            max_age: None,
            expires: None,
            http_only: true,
            secure: false,
            same_site: SameSite::Lax,
            partitioned: false,
            priority: None,
        }
    }
}

/// The `SameSite` attribute of the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// `SameSite=Strict`.
    Strict,
    /// `SameSite=Lax`.
    Lax,
    /// `SameSite=None`, which needs [`Cookie::secure`]: browsers discard such a cookie without
    /// `Secure`.
    None,
}

/// The `Priority` attribute of the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// `Priority=Low`.
    Low,
    /// `Priority=Medium`.
    Medium,
    /// `Priority=High`.
    High,
}

setters! {
    Cookie {
        name: &str,
        path: &str,
        domain: String,
        max_age: Duration,
        expires: Date,
        http_only: bool,
        secure: bool,
        same_site: SameSite,
        partitioned: bool,
        priority: Priority,
    }
}

impl Cookie {
    /// Whether browsers keep the cookie. `secure` says whether it is always `Secure`.
    pub(super) fn check(&self, secure: bool) -> Result<(), ConfigError> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let label = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
        let is_domain = |domain: &String| !domain.is_empty() && domain.bytes().all(label);
        if self.name.is_empty()
            || !self.name.bytes().all(token)
            || !self.path.starts_with('/')
            || !self.path.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b';')
            || !self.domain.as_ref().is_none_or(is_domain)
        {
            return Err(ConfigError::Cookie);
        }
        let needs = |needs: bool, what| match needs {
            true => Err(ConfigError::CookieLost(what)),
            false => Ok(()),
        };
        needs(
            self.same_site == SameSite::None && !secure,
            "`SameSite=None` without `secure`",
        )?;
        needs(self.partitioned && !secure, "`partitioned` without `secure`")?;
        let prefixed = |prefix: &str| {
            let start = self.name.get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        needs(
            prefixed("__Secure-") && !secure,
            "a name with `__Secure-` without `secure`",
        )?;
        let is_host = secure && self.path == "/" && self.domain.is_none();
        needs(
            prefixed("__Host-") && !is_host,
            "a name with `__Host-` without `secure` and the path `/`, or with a domain",
        )
    }

    /// The value of `Set-Cookie`. `secure` says whether the link is encrypted.
    pub(crate) fn write(&self, value: impl core::fmt::Display, secure: bool) -> String {
        let mut text = format!("{}={value}; Path={}", self.name, self.path);
        if let Some(domain) = &self.domain {
            text += &format!("; Domain={domain}");
        }
        if let Some(age) = self.max_age {
            text += &format!("; Max-Age={}", age.as_secs());
        }
        if let Some(date) = &self.expires {
            text += &format!("; Expires={}", date.as_str());
        }
        if self.http_only {
            text += "; HttpOnly";
        }
        if secure || self.secure {
            text += "; Secure";
        }
        text += match self.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        };
        if self.partitioned {
            text += "; Partitioned";
        }
        text += match self.priority {
            None => "",
            Some(Priority::Low) => "; Priority=Low",
            Some(Priority::Medium) => "; Priority=Medium",
            Some(Priority::High) => "; Priority=High",
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    /// Hardening B2. API: `SameSite=None` without `Secure` is an error of the config.
    #[test]
    fn cookies_that_browsers_throw_away_are_errors() {
        let none = || Cookie::default().same_site(SameSite::None);
        for (cookie, error) in [
            (Cookie::default(), None),
            (none(), Some("`SameSite=None` without `secure`")),
            (none().secure(true), None),
            (
                Cookie::default().partitioned(true),
                Some("`partitioned` without `secure`"),
            ),
            (none().secure(true).partitioned(true), None),
            (
                Cookie::default().name("__secure-io"),
                Some("a name with `__Secure-` without `secure`"),
            ),
            (
                Cookie::default().name("__Host-io").secure(true).path("/x"),
                Some("a name with `__Host-` without `secure` and the path `/`, or with a domain"),
            ),
            (Cookie::default().name("__Host-io").secure(true), None),
        ] {
            let what = format!("{cookie:?}");
            let checked = Config::default().cookie(cookie).validate().map(|_| ());
            assert_eq!(
                checked,
                error.map_or(Ok(()), |e| Err(ConfigError::CookieLost(e))),
                "{what}"
            );
        }
        // Behind a proxy that speaks TLS, every cookie is `Secure`.
        assert!(Config::default().cookie(none()).behind_tls(true).validate().is_ok());
        for cookie in [
            Cookie::default().name("a;b"),
            Cookie::default().path("/;x"),
            Cookie::default().path("x"),
            Cookie::default().domain("a\r\nb".into()),
            Cookie::default().domain(String::new()),
        ] {
            let checked = Config::default().cookie(cookie).validate();
            assert_eq!(checked.unwrap_err(), ConfigError::Cookie);
        }
    }

    /// API: cookie.
    #[test]
    fn every_attribute_is_written() {
        let cookie = Cookie::default()
            .name("sid")
            .path("/chat")
            .domain("example.org".into())
            .max_age(Duration::from_millis(90_500))
            .expires(Date::from_unix(784_111_777))
            .http_only(false)
            .same_site(SameSite::None)
            .secure(true)
            .partitioned(true)
            .priority(Priority::High);
        assert_eq!(
            cookie.write("x", false),
            "sid=x; Path=/chat; Domain=example.org; Max-Age=90; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Secure; SameSite=None; Partitioned; Priority=High"
        );
        assert_eq!(
            Cookie::default().write("x", false),
            "io=x; Path=/; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            Cookie::default().write("x", true),
            "io=x; Path=/; HttpOnly; Secure; SameSite=Lax"
        );
    }
}
