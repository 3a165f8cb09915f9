//! The query of a request target, read in place.

use crate::percent;

/// A raw query string, without its question mark.
///
/// Pairs are separated by `&`; keys are compared decoded (`%XX`, and `+` for a space); of several equal keys the last
/// one counts, as in the genuine 4.x server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Takes what stands after the question mark.
    #[must_use]
    pub const fn new(raw: &'a str) -> Self {
        Self(raw)
    }

    /// The whole of it, as it stands in the target.
    #[must_use]
    pub const fn raw(self) -> &'a str {
        self.0
    }

    /// The value of `key`, as it stands in the target; empty if there is no `=`.
    #[must_use]
    pub fn value(self, key: &str) -> Option<&'a str> {
        self.0.rsplit('&').find_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            percent::stands_for(name.as_bytes(), key).then_some(value)
        })
    }

    /// Whether `key` is there, with or without a value.
    #[must_use]
    pub fn has(self, key: &str) -> bool {
        self.value(key).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    #[test]
    fn lookups() {
        for (raw, key, value) in [
            ("", "a", None),
            ("a", "a", Some("")),
            ("a=", "a", Some("")),
            ("a=1&b=2", "b", Some("2")),
            ("a=1&a=2", "a", Some("2")),
            ("aa=1", "a", None),
            ("a=b=c", "a", Some("b=c")),
            ("%73id=x", "sid", Some("x")),
            ("s%69%64=x", "sid", Some("x")),
            ("a+b=x", "a b", Some("x")),
            ("a+b=x", "a+b", None),
            ("%zz=x", "%zz", Some("x")),
            ("__proto__=x", "__proto__", Some("x")),
            ("a=%31", "a", Some("%31")),
        ] {
            assert_eq!(Query::new(raw).value(key), value, "{raw} {key}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(raw in any::<String>(), key in any::<String>()) {
            let _ = Query::new(&raw).value(&key);
        }
    }
}
