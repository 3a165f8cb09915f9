//! Ids of sockets that the application makes.
//!
//! All of them begin with one prefix, and no id that a server draws has a character of it. So a
//! name shows by itself whether it is such an id: no table is asked, and a client that may choose
//! the name of a room can neither take the id of another socket nor learn whether it is in use.

use super::{Config, ConfigError};

/// The characters that only ids of the application have. Every prefix has one of them.
const MARKS: [char; 4] = ['.', ':', '@', '~'];

/// Why a text is no id for a socket ([`Config::socket_id_prefix`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SocketIdError {
    /// It does not begin with the prefix, or has nothing behind it.
    #[error("an id begins with `socket_id_prefix`, and goes on behind it")]
    Prefix,
    /// It has more bytes than [`Config::max_socket_id_bytes`].
    #[error("an id of {0} bytes is longer than `max_socket_id_bytes`")]
    TooLong(usize),
    /// It has a character other than ASCII letters, digits, and `-_.:@~`.
    #[error("an id consists of ASCII letters, digits, and `-_.:@~`")]
    Character,
}

fn is_clean(text: &str) -> bool {
    let mut chars = text.chars();
    chars.all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_' || MARKS.contains(&c))
}

impl Config {
    /// Whether a name is kept for ids of sockets: it begins with [`Config::socket_id_prefix`].
    #[inline]
    #[must_use]
    pub fn keeps_for_ids(&self, name: &str) -> bool {
        let prefix = self.socket_id_prefix.as_deref();
        prefix.is_some_and(|prefix| name.starts_with(prefix))
    }

    /// Checks an id that the application has made for a socket.
    ///
    /// # Errors
    /// [`SocketIdError`] says what is wrong.
    pub fn check_socket_id(&self, id: &str) -> Result<(), SocketIdError> {
        if id.len() > self.max_socket_id_bytes {
            return Err(SocketIdError::TooLong(id.len()));
        }
        let prefix = self.socket_id_prefix.as_deref();
        let rest = prefix.and_then(|prefix| id.strip_prefix(prefix));
        if rest.is_none_or(str::is_empty) {
            return Err(SocketIdError::Prefix);
        }
        is_clean(id).then_some(()).ok_or(SocketIdError::Character)
    }

    /// Checks the prefix of such ids.
    pub(super) fn check_socket_id_prefix(&self) -> Result<(), ConfigError> {
        let Some(prefix) = self.socket_id_prefix.as_deref() else {
            return Ok(());
        };
        let is_good = prefix.contains(MARKS) && is_clean(prefix) && prefix.len() < self.max_socket_id_bytes;
        is_good
            .then_some(())
            .ok_or_else(|| ConfigError::SocketIdPrefix(prefix.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn an_id_has_its_prefix_few_characters_and_a_length() {
        let config = Config::default().socket_id_prefix("user:").max_socket_id_bytes(12);
        let config = config.validate().unwrap();
        for (id, checked) in [
            ("user:42", Ok(())),
            ("user:a-b_.@~", Ok(())),
            ("user:1234567", Ok(())),
            ("user:12345678", Err(SocketIdError::TooLong(13))),
            ("user:", Err(SocketIdError::Prefix)),
            ("user", Err(SocketIdError::Prefix)),
            ("bot:42", Err(SocketIdError::Prefix)),
            ("", Err(SocketIdError::Prefix)),
            ("user:\"", Err(SocketIdError::Character)),
            ("user:\\", Err(SocketIdError::Character)),
            ("user:a,b", Err(SocketIdError::Character)),
            ("user:a/b", Err(SocketIdError::Character)),
            ("user:#", Err(SocketIdError::Character)),
            ("user: ", Err(SocketIdError::Character)),
            ("user:é", Err(SocketIdError::Character)),
        ] {
            assert_eq!(config.check_socket_id(id), checked, "{id}");
        }
        assert!(config.keeps_for_ids("user:") && config.keeps_for_ids("user:\""));
        assert!(!config.keeps_for_ids("user") && !config.keeps_for_ids("a user:"));
        let none = Config::default();
        assert!(!none.keeps_for_ids("") && !none.keeps_for_ids("user:42"));
        assert_eq!(none.check_socket_id("user:42"), Err(SocketIdError::Prefix));
    }

    #[test]
    fn a_prefix_cannot_be_the_beginning_of_an_id_that_is_drawn() {
        for prefix in [
            "",
            "user",
            "user-",
            "a_b",
            "us er:",
            "u/:",
            "u#:",
            "u\":",
            &":".repeat(64),
        ] {
            let refused = Config::default().socket_id_prefix(prefix).validate();
            assert_eq!(
                refused.unwrap_err(),
                ConfigError::SocketIdPrefix(prefix.to_string()),
                "{prefix:?}"
            );
        }
        for prefix in [":", "u.", "@me", "~"] {
            assert!(
                Config::default().socket_id_prefix(prefix).validate().is_ok(),
                "{prefix}"
            );
        }
    }
}
