//! The payload of a CONNECT from a server of revision 5.

use alloc::string::String;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Number;

/// What a server says when it lets a client in, or confirms events.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Welcome {
    pub(super) sid: Option<String>,
    pub(super) pid: Option<String>,
    pub(super) confirmed: Confirmed,
}

/// How many events a server says to have had, in the member `sio.confirmed`
/// (docs/protocol/extensions.md §2).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Confirmed {
    Nothing,
    Events(u64),
    /// Something that is no such number.
    Other,
}

#[derive(Deserialize)]
struct Members<C> {
    sid: Option<String>,
    pid: Option<String>,
    #[serde(rename = "sio.confirmed")]
    confirmed: Option<C>,
}

impl Welcome {
    /// Reads the payload. `None` if it is no object (or list of these three), or a member has
    /// another type.
    pub(super) fn read(payload: &str) -> Option<Self> {
        step!(bulk payload.len());
        if let Ok(Members { sid, pid, confirmed }) = serde_json::from_str::<Members<Number>>(payload) {
            let confirmed = match confirmed.map(|number| number.as_u64()) {
                None => Confirmed::Nothing,
                Some(Some(events)) => Confirmed::Events(events),
                Some(None) => Confirmed::Other,
            };
            return Some(Self { sid, pid, confirmed });
        }
        // What is no number is passed over and not kept: values take many times the bytes of their
        // text.
        step!(bulk payload.len());
        let Members { sid, pid, confirmed } = serde_json::from_str::<Members<IgnoredAny>>(payload).ok()?;
        let confirmed = confirmed.map_or(Confirmed::Nothing, |_| Confirmed::Other);
        Some(Self { sid, pid, confirmed })
    }
}

impl Confirmed {
    pub(super) const fn events(&self) -> Option<u64> {
        match self {
            Self::Events(events) => Some(*events),
            Self::Nothing | Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_and_anything_else_is_no_number() {
        for (text, expected) in [
            ("null", Confirmed::Nothing),
            ("0", Confirmed::Events(0)),
            ("18446744073709551615", Confirmed::Events(u64::MAX)),
            ("18446744073709551616", Confirmed::Other),
            ("-1", Confirmed::Other),
            ("1.0", Confirmed::Other),
            ("1e999", Confirmed::Other),
            ("true", Confirmed::Other),
            ("\"1\"", Confirmed::Other),
            ("\"\\u0031\"", Confirmed::Other),
            ("[1,[{\"a\":2}]]", Confirmed::Other),
            ("{\"a\":[1],\"b\":{}}", Confirmed::Other),
        ] {
            let payload = alloc::format!("{{\"sid\":\"s\",\"sio.confirmed\":{text}}}");
            let welcome = Welcome::read(&payload).unwrap();
            assert_eq!(
                (welcome.sid.as_deref(), welcome.confirmed),
                (Some("s"), expected),
                "{text}"
            );
        }
        let alone = Welcome::read("{}").unwrap();
        assert_eq!(
            (alone.sid, alone.pid, alone.confirmed),
            (None, None, Confirmed::Nothing)
        );
        for payload in ["{\"sio.confirmed\":[1}", "{\"sid\":1}", "[1,2", "\"\""] {
            assert_eq!(Welcome::read(payload), None, "{payload}");
        }
    }
}
