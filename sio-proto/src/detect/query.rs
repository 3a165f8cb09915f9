//! The query of a request target: the values that matter to the protocol, found in one walk.

use super::Part;
use crate::percent;

/// The values of the keys that some generation knows, as they stand in the target. A value is empty
/// if there is no `=`.
///
/// Pairs are separated by `&`. Keys are compared decoded (`%XX`, and `+` for a space). If several
/// keys are equal, the last one counts, as in the genuine 4.x server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters<'a> {
    pub(super) eio: Option<&'a [u8]>,
    pub(super) transport: Option<&'a [u8]>,
    pub(super) sid: Option<&'a [u8]>,
    pub(super) j: Option<&'a [u8]>,
    pub(super) b64: Option<&'a [u8]>,
    pub(super) jsonp: Option<&'a [u8]>,
    pub(super) i: Option<&'a [u8]>,
    pub(super) disconnect: Option<&'a [u8]>,
}

/// The keys themselves.
const KEYS: [&str; 8] = ["EIO", "transport", "sid", "j", "b64", "jsonp", "i", "disconnect"];
/// A name that is longer than this cannot be one of the keys, even if each of its bytes is an
/// escape.
const LONGEST_ESCAPED: usize = 3 * "disconnect".len();

impl<'a> Parameters<'a> {
    /// Reads a query.
    ///
    /// Each byte is looked at once. A name of at most 30 bytes that has an escape is looked at once
    /// more for each key. At this point only the limit on the length of the target has been
    /// checked. Nothing is allocated.
    pub(super) fn of(query: &'a [u8]) -> Self {
        step!(each query.len());
        let (mut known, mut rest) = (Self::default(), query);
        loop {
            step!();
            // Names are short. Values may be long.
            let end = rest.iter().position(|byte| matches!(byte, b'=' | b'&'));
            let Some((name, behind)) = rest.split_at_checked(end.unwrap_or(rest.len())) else {
                return known;
            };
            let (value, behind) = match behind {
                [b'=', behind @ ..] => {
                    let end = memchr::memchr(b'&', behind).unwrap_or(behind.len());
                    (behind.get(..end), behind.get(end..))
                }
                _ => (behind.get(..0), Some(behind)),
            };
            known.note(name, value.unwrap_or_default());
            match behind {
                Some([b'&', next @ ..]) => rest = next,
                _ => return known,
            }
        }
    }

    /// Notes a pair.
    fn note(&mut self, name: &[u8], value: &'a [u8]) {
        if let Some(slot) = self.slot(name) {
            *slot = Some(value);
        }
    }

    /// Where the value of a key is kept, if the key is known.
    fn slot(&mut self, name: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        match name {
            b"EIO" => Some(&mut self.eio),
            b"transport" => Some(&mut self.transport),
            b"sid" => Some(&mut self.sid),
            b"j" => Some(&mut self.j),
            b"b64" => Some(&mut self.b64),
            b"jsonp" => Some(&mut self.jsonp),
            b"i" => Some(&mut self.i),
            b"disconnect" => Some(&mut self.disconnect),
            escaped if escaped.len() <= LONGEST_ESCAPED && escaped.contains(&b'%') => {
                let plain = KEYS.into_iter().find(|key| percent::stands_for(escaped, key))?;
                self.slot(plain.as_bytes())
            }
            _ => None,
        }
    }
}

/// The position of a value in `target`, if the value exists and is not empty.
pub(super) fn filled(target: &str, value: Option<&[u8]>) -> Option<Part> {
    let value = value.filter(|value| !value.is_empty())?;
    Some(Part::locate(target, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn lookups() {
        for (query, sid) in [
            ("", None),
            ("sid", Some("")),
            ("sid=", Some("")),
            ("sid=1&b=2", Some("1")),
            ("a=1&sid=2", Some("2")),
            ("sid=1&sid=2", Some("2")),
            ("sid=1&sid", Some("")),
            ("ssid=1", None),
            ("SID=1", None),
            ("sid=b=c", Some("b=c")),
            ("%73id=x", Some("x")),
            ("s%69%64=x", Some("x")),
            ("%73%69%64=x", Some("x")),
            ("sid%=x", None),
            ("+sid=x", None),
            ("sid=%31", Some("%31")),
            ("&&sid=x&&", Some("x")),
            ("=sid", None),
        ] {
            let target = alloc::format!("/?{query}");
            let found = Parameters::of(&target.as_bytes()[2..]).sid;
            assert_eq!(found, sid.map(str::as_bytes), "{query}");
        }
        assert_eq!(Parameters::of(b""), Parameters::default());
    }

    /// Each key has its own place, escaped or not.
    #[test]
    fn every_key_has_its_place() {
        for escaped in [false, true] {
            let mut target = String::from("/?");
            for (at, key) in KEYS.into_iter().enumerate() {
                for byte in key.bytes() {
                    match escaped {
                        true => target += &alloc::format!("%{byte:02x}"),
                        false => target.push(byte.into()),
                    }
                }
                target += &alloc::format!("={at}&");
            }
            let p = Parameters::of(&target.as_bytes()[2..]);
            let values = [p.eio, p.transport, p.sid, p.j, p.b64, p.jsonp, p.i, p.disconnect];
            let expected: Vec<_> = (0..KEYS.len()).map(|at| alloc::format!("{at}")).collect();
            assert!(
                values.into_iter().eq(expected.iter().map(|at| Some(at.as_bytes()))),
                "{target}"
            );
        }
    }

    proptest! {
        /// Hardening A15. The walk finds the same values as a search for each key.
        #[test]
        fn one_walk_finds_what_searches_find(query in "(sid|s%69d|EIO|j|i|&|=|%|a|\\+){0,12}") {
            let target = alloc::format!("/?{query}");
            let found = Parameters::of(&target.as_bytes()[2..]);
            for (key, value) in [("sid", found.sid), ("EIO", found.eio), ("j", found.j), ("i", found.i)] {
                let last = query.rsplit('&').find_map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    percent::stands_for(name.as_bytes(), key).then_some(value.as_bytes())
                });
                prop_assert_eq!(value, last, "{}", key);
            }
        }
    }
}
