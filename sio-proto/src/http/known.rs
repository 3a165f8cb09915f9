//! The header fields that the server itself asks for, and where they stand in a head.
//!
//! A request is asked for a dozen fields, and most of them are not there. So each name is compared
//! once, when the head is read, and every question afterwards looks at one byte.

use super::headers::Headers;

/// A field that the server asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Host,
    Connection,
    Upgrade,
    ContentLength,
    ContentType,
    TransferEncoding,
    Expect,
    Origin,
    Referer,
    SecFetchSite,
    SecWebSocketOrigin,
    SecWebSocketKey,
    SecWebSocketKey1,
    SecWebSocketKey2,
    SecWebSocketVersion,
    SecWebSocketProtocol,
}

/// How many such fields there are.
const COUNT: usize = 16;

impl Name {
    /// Which field has this name, without regard to case.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        let (first, last) = (name.first()? | 0x20, name.last()?);
        let (known, spelled): (Self, &str) = match (name.len(), first) {
            (4, b'h') => (Self::Host, "host"),
            (6, b'e') => (Self::Expect, "expect"),
            (6, b'o') => (Self::Origin, "origin"),
            (7, b'r') => (Self::Referer, "referer"),
            (7, b'u') => (Self::Upgrade, "upgrade"),
            (10, b'c') => (Self::Connection, "connection"),
            (12, b'c') => (Self::ContentType, "content-type"),
            (14, b'c') => (Self::ContentLength, "content-length"),
            (14, b's') => (Self::SecFetchSite, "sec-fetch-site"),
            (17, b's') => (Self::SecWebSocketKey, "sec-websocket-key"),
            (17, b't') => (Self::TransferEncoding, "transfer-encoding"),
            (18, b's') if *last == b'1' => (Self::SecWebSocketKey1, "sec-websocket-key1"),
            (18, b's') => (Self::SecWebSocketKey2, "sec-websocket-key2"),
            (20, b's') => (Self::SecWebSocketOrigin, "sec-websocket-origin"),
            (21, b's') => (Self::SecWebSocketVersion, "sec-websocket-version"),
            (22, b's') => (Self::SecWebSocketProtocol, "sec-websocket-protocol"),
            _ => return None,
        };
        name.eq_ignore_ascii_case(spelled.as_bytes()).then_some(known)
    }
}

/// Where a known field stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Absent,
    /// It is the field with this number, and comes once.
    At(usize),
    /// It comes several times, or behind very many others.
    Somewhere,
}

/// The places of the known fields of a head.
#[derive(Clone, Copy, Default)]
pub(super) struct Places {
    /// For each name: 0 if it is absent, or the number of its field, counted from 1.
    numbers: [u8; COUNT],
}

/// Stands for all numbers that are larger, and for a field that comes several times.
const SOMEWHERE: u8 = u8::MAX;

impl Places {
    /// Notes the name of the field with this number.
    pub(super) fn note(&mut self, at: usize, name: &[u8]) {
        if let Some(number) = Name::of(name).and_then(|known| self.numbers.get_mut(known as usize)) {
            *number = match *number {
                0 => u8::try_from(at.saturating_add(1)).unwrap_or(SOMEWHERE),
                _ => SOMEWHERE,
            };
        }
    }

    #[inline]
    pub(super) fn of(&self, name: Name) -> Place {
        match self.numbers.get(name as usize).copied().unwrap_or_default() {
            0 => Place::Absent,
            SOMEWHERE => Place::Somewhere,
            number => Place::At(usize::from(number).saturating_sub(1)),
        }
    }
}

/// What the fields `Connection` and `Upgrade` ask for. Each request is asked several times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
    /// `Upgrade` lists `websocket`.
    pub(crate) websocket: bool,
}

impl Asked {
    pub(super) fn of(headers: &Headers) -> Self {
        let mut asked = Self::default();
        for value in headers.all_known(Name::Connection) {
            step!(each value.len());
            for item in items(value) {
                match item.len() {
                    5 => asked.close |= item.eq_ignore_ascii_case(b"close"),
                    7 => asked.upgrade |= item.eq_ignore_ascii_case(b"upgrade"),
                    10 => asked.keep_alive |= item.eq_ignore_ascii_case(b"keep-alive"),
                    _ => {}
                }
            }
        }
        for value in headers.all_known(Name::Upgrade) {
            step!(each value.len());
            asked.websocket |= items(value).any(|item| item.eq_ignore_ascii_case(b"websocket"));
        }
        asked
    }

    /// Whether the connection stays open. `close` wins over `keep-alive`.
    pub(super) const fn keeps_alive(self, version_minor: u8) -> bool {
        !self.close && (version_minor >= 1 || self.keep_alive)
    }
}

/// The items of a comma-separated list, without the white space around them.
fn items(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(list);
    core::iter::from_fn(move || {
        let list = rest?;
        let (item, others) = match memchr::memchr(b',', list) {
            Some(at) => (list.get(..at)?, list.get(at.saturating_add(1)..)),
            None => (list, None),
        };
        rest = others;
        Some(item.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const NAMES: [&str; COUNT] = [
        "Host",
        "Connection",
        "Upgrade",
        "Content-Length",
        "Content-Type",
        "Transfer-Encoding",
        "Expect",
        "Origin",
        "Referer",
        "Sec-Fetch-Site",
        "Sec-WebSocket-Origin",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Key1",
        "Sec-WebSocket-Key2",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
    ];

    #[test]
    fn each_name_is_found_however_it_is_spelled() {
        for (at, name) in NAMES.into_iter().enumerate() {
            for spelled in [name.into(), name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
                let found = Name::of(spelled.as_bytes());
                assert_eq!(found.map(|known| known as usize), Some(at), "{spelled}");
            }
            for other in [format!("{name}s"), format!("x{name}"), name.replace('e', "i")] {
                let is_other = NAMES.into_iter().any(|known| known.eq_ignore_ascii_case(&other));
                assert_eq!(Name::of(other.as_bytes()).is_some(), is_other, "{other}");
            }
        }
        assert_eq!(Name::of(b""), None);
        assert_eq!(Name::of(b"sec-websocket-key3"), None);
    }

    /// A name that is known, one that is not, or one that looks like a known one.
    fn name() -> impl Strategy<Value = String> {
        let known = (0..COUNT, any::<bool>()).prop_map(|(at, lower)| match lower {
            true => NAMES[at].to_ascii_lowercase(),
            false => NAMES[at].into(),
        });
        let other = prop_oneof![Just("cookie"), Just("hose"), Just("x-a"), Just("Sec-WebSocket-Key9")];
        prop_oneof![3 => known, 1 => other.prop_map(String::from)]
    }

    fn value() -> impl Strategy<Value = String> {
        const ITEMS: [&str; 8] = [
            "close",
            "keep-alive",
            "UPGRADE",
            " websocket\t",
            "",
            "closed",
            "h2c",
            "upgrade ",
        ];
        proptest::collection::vec(0..ITEMS.len(), 0..3)
            .prop_map(|items| items.into_iter().map(|at| ITEMS[at]).collect::<Vec<_>>().join(","))
    }

    proptest! {
        #![proptest_config(crate::cases::usually(600))]

        /// Every question has the answer that a walk over all fields gives.
        #[test]
        fn places_answer_as_a_walk_does(
            few in proptest::collection::vec((name(), value()), 0..12),
            ahead in prop_oneof![4 => Just(0_usize), 1 => 250..260_usize],
        ) {
            let mut fields: Vec<(String, String)> = (0..ahead).map(|at| (format!("x{at}"), String::new())).collect();
            fields.extend(few);
            let headers: Headers = fields.iter().map(|(name, value)| (name, value)).collect();
            for asked in NAMES.into_iter().chain(["cookie", "x-a", "absent"]) {
                let of_name = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(asked));
                let walked: Vec<&[u8]> = of_name.map(|(_, value)| value.as_bytes()).collect();
                prop_assert_eq!(headers.get(asked), walked.first().copied());
                prop_assert!(headers.get_all(asked).eq(walked.iter().copied()), "{}", asked);
                if let Some(known) = Name::of(asked.as_bytes()) {
                    prop_assert_eq!(headers.known(known), walked.first().copied());
                    prop_assert!(headers.all_known(known).eq(walked.iter().copied()), "{}", asked);
                    prop_assert!(walked.len() < 2 || !headers.comes_once_at_most(known));
                }
            }
            let asked = headers.asked();
            prop_assert_eq!(asked.close, headers.has_token("connection", "close"));
            prop_assert_eq!(asked.keep_alive, headers.has_token("connection", "keep-alive"));
            prop_assert_eq!(asked.upgrade, headers.has_token("connection", "upgrade"));
            prop_assert_eq!(asked.websocket, headers.has_token("upgrade", "websocket"));
        }
    }
}
