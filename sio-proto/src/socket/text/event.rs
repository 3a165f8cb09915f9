//! An event as it came: its text, and where the parts stand in it.
//!
//! ```text
//!   4 2 /admin, 12 [ "chat" , {"text":"hi"},1 ]
//!       ──────        ────    ───────────────
//!       namespace     name    arguments           places in the one text
//! ```
//! A [`Packet`] has its parts as slices, each with a share of the buffer. An event that is handled
//! at once needs no such shares: it keeps its text, and gives out its parts when somebody asks.

use alloc::borrow::Cow;
use core::mem;

use bytes::Buf;
use bytestring::ByteString;

use crate::keep::{self, Source};
use crate::socket::{Args, Packet};

/// Up to this number of bytes, a text is checked once more rather than shared.
const SHORT: usize = 128;

/// An event whose name is written without escapes. Its JSON is checked. Its attachments, if it has
/// any, are kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextEvent {
    text: ByteString,
    /// Empty for the namespace `/`.
    namespace: Span,
    name: Span,
    args: Span,
    id: Option<u64>,
}

// Each packet that waits has room for one.
const _: () = assert!(size_of::<TextEvent>() <= 72);

/// The parts of an event, in the text in which they were found.
pub(crate) struct EventParts<'a> {
    pub(super) namespace: &'a str,
    /// It is borrowed if it stands in the text as it is.
    pub(super) name: Cow<'a, str>,
    pub(super) id: Option<u64>,
    pub(super) args: &'a str,
}

impl EventParts<'_> {
    /// The packet. Its parts share the memory of their text.
    pub(crate) fn packet(self, text: &ByteString) -> Packet {
        Packet::Event {
            namespace: shared_namespace(text, self.namespace),
            name: match self.name {
                Cow::Borrowed(name) => text.slice_ref(name),
                Cow::Owned(name) => ByteString::from(name),
            },
            id: self.id,
            args: Args::from(keep::slice_of(text, self.args)),
        }
    }
}

/// The name of a namespace, in memory that it shares with its text.
pub(super) fn shared_namespace(text: &ByteString, path: &str) -> ByteString {
    match path {
        "/" => ByteString::from_static("/"),
        path => text.slice_ref(path),
    }
}

/// The place of a part in its text, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    at: u32,
    len: u32,
}

impl Span {
    /// The place of a part of a short text.
    #[inline]
    pub(super) const fn new(at: usize, len: usize) -> Self {
        debug_assert!(at <= u32::MAX as usize && len <= u32::MAX as usize);
        Self {
            at: at as u32,
            len: len as u32,
        }
    }

    /// The place of `part` in `text`. `None` if it is no part of it, or if the place is too large a
    /// number.
    #[inline]
    fn of(part: &str, text: &str) -> Option<Self> {
        let at = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
        let end = at.checked_add(part.len())?;
        if end > text.len() {
            return None;
        }
        let (end, len) = (u32::try_from(end).ok()?, u32::try_from(part.len()).ok()?);
        let at = end.checked_sub(len)?;
        Some(Self { at, len })
    }

    #[inline]
    fn of_text(self, text: &str) -> &str {
        let at = self.at as usize;
        text.get(at..at.saturating_add(self.len as usize)).unwrap_or_default()
    }
}

/// The places of an event's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(super) namespace: Span,
    pub(super) name: Span,
    pub(super) args: Span,
    pub(super) id: Option<u64>,
}

impl Places {
    /// The places of parts that were found in `text`. `None` if the name stands there in another
    /// form, or if the text is longer than the places can say.
    #[inline]
    pub(crate) fn of(parts: &EventParts<'_>, text: &str) -> Option<Self> {
        let Cow::Borrowed(name) = &parts.name else {
            return None;
        };
        Some(Self {
            namespace: match parts.namespace {
                "/" => Span::default(),
                namespace => Span::of(namespace, text)?,
            },
            name: Span::of(name, text)?,
            args: Span::of(parts.args, text)?,
            id: parts.id,
        })
    }
}

impl TextEvent {
    /// The event of a text in which its parts were found.
    #[inline]
    pub(crate) const fn new(text: ByteString, places: Places) -> Self {
        let Places {
            namespace,
            name,
            args,
            id,
        } = places;
        Self {
            text,
            namespace,
            name,
            args,
            id,
        }
    }

    /// The namespace.
    #[inline]
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self.namespace.len {
            0 => "/",
            _ => self.namespace.of_text(&self.text),
        }
    }

    /// The name.
    #[inline]
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.of_text(&self.text)
    }

    /// The number that the sender chose for the acknowledgement it wants.
    #[inline]
    #[must_use]
    pub const fn id(&self) -> Option<u64> {
        self.id
    }

    /// The arguments. They share the memory of the text, unless they are large and less than half
    /// of it.
    #[inline]
    #[must_use]
    pub fn args(&self) -> Args {
        Args::from(keep::slice_of(&self.text, self.args_json()))
    }

    /// The JSON of the arguments.
    #[inline]
    pub(crate) fn args_json(&self) -> &str {
        self.args.of_text(&self.text)
    }

    /// Takes the arguments out of the event. Afterwards only [`TextEvent::id`] and
    /// [`TextEvent::bytes`] say what they did: the namespace, the name and the arguments may be
    /// empty. A share of the text's memory is moved and not counted again, which costs less for a
    /// short text.
    #[inline]
    #[must_use]
    pub fn take_args(&mut self) -> Args {
        // The text is checked once more.
        if self.text.len() > SHORT {
            return self.args();
        }
        // Nothing keeps nothing.
        if self.args.len == 0 {
            return Args::default();
        }
        let mut text = mem::take(&mut self.text).into_bytes();
        let at = self.args.at as usize;
        text.truncate(at.saturating_add(self.args.len as usize));
        text.advance(at.min(text.len()));
        match ByteString::try_from(text) {
            Ok(json) => Args::from(json),
            Err(_) => {
                debug_assert!(false, "a part of a text is text");
                Args::default()
            }
        }
    }

    /// The name, in memory that it shares with the text.
    #[must_use]
    pub fn shared_name(&self) -> ByteString {
        self.text.slice_ref(self.name())
    }

    /// Number of bytes of the name and the arguments.
    #[inline]
    #[must_use]
    pub const fn bytes(&self) -> usize {
        (self.name.len as usize).saturating_add(self.args.len as usize)
    }

    /// The same event as a packet. The parts share the memory of the text.
    #[must_use]
    pub fn to_packet(&self) -> Packet {
        Packet::Event {
            namespace: match self.namespace.len {
                0 => ByteString::from_static("/"),
                _ => self.text.slice_ref(self.namespace()),
            },
            name: self.shared_name(),
            id: self.id,
            args: self.args(),
        }
    }

    /// Gives a small event memory of its own, so that it does not keep its read buffer alive.
    pub fn keep(&mut self) {
        self.keep_from(Source::Read);
    }

    /// Gives the event memory of its own, if it is to be copied.
    pub(crate) fn keep_from(&mut self, from: Source) {
        from.keep_text(&mut self.text);
    }

    /// Number of bytes of memory that it keeps, if it has memory of its own.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;
    use crate::json::Controls;
    use crate::socket::text::{Decoded, Limits, decode, event_at};
    use crate::socket::{Revision, Role};

    fn event(text: &str) -> Option<TextEvent> {
        let text = ByteString::from(text);
        let limits = Limits::default();
        let parts = event_at(&text, 0, Revision::Five, Controls::Unknown, &limits).ok()?;
        let places = Places::of(&parts, &text)?;
        Some(TextEvent::new(text, places))
    }

    /// An event is the packet of its text. Returns whether it is told by places.
    fn compare(text: &str) -> bool {
        let expected = decode(
            &ByteString::from(text),
            Revision::Five,
            Role::Server,
            &Limits::default(),
        );
        let Some(event) = event(text) else {
            return false;
        };
        let Ok(Decoded::Packet(packet)) = expected else {
            panic!("{text}: {expected:?}");
        };
        assert_eq!(event.to_packet(), packet, "{text}");
        let Packet::Event {
            namespace,
            name,
            id,
            args,
        } = packet
        else {
            panic!("{text}: {packet:?}");
        };
        assert_eq!((event.namespace(), event.name(), event.id()), (&*namespace, &*name, id));
        assert_eq!((event.args(), event.shared_name()), (args, name));
        assert_eq!(event.bytes(), event.name().len() + event.args().json.len());
        let mut kept = event.clone();
        kept.keep();
        assert_eq!(kept, event);
        assert_eq!(kept.take_args(), event.args());
        true
    }

    #[test]
    fn an_event_has_its_parts_in_its_text() {
        for text in [
            r#"2["chat","hi"]"#,
            r#"2[ "chat" , {"a":[1]} ,2 ] "#,
            r#"2/admin,12["chat"]"#,
            r#"2/,["x"]"#,
            "2[5,null]",
            r#"2["a name that is longer than most names are",1]"#,
            r#"2["grüße","é"]"#,
            r#"2[""]"#,
        ] {
            assert!(compare(text), "{text}");
        }
        for text in [r#"2["\u0061"]"#, r#"2["connect"]"#, "2[]", "2", r#"2["a""#, "2[null]"] {
            assert!(!compare(text), "{text}");
        }
    }

    /// An event without arguments gives out nothing that keeps its read buffer.
    #[test]
    fn no_arguments_keep_no_memory() {
        for (text, shares) in [(r#"2["x"]"#, false), (r#"2["x",1]"#, true)] {
            let buffer = bytes::Bytes::from(String::from(text));
            let text = ByteString::try_from(buffer.clone()).unwrap();
            let limits = Limits::default();
            let parts = event_at(&text, 0, Revision::Five, Controls::Unknown, &limits)
                .ok()
                .unwrap();
            let places = Places::of(&parts, &text).unwrap();
            let args = TextEvent::new(text, places).take_args();
            assert_eq!(!buffer.is_unique(), shares, "{args:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_like_an_event_is_its_packet(
            text in "2(/[a-zé?]{0,3},?)?[0-9]{0,22}\\[?[\\[\\]{}\",:\\\\0-9a-zé ]{0,12}[\\]}]?",
            name: String,
            id: Option<u64>,
            argument: String,
        ) {
            compare(&text);
            let id = id.map(|id| alloc::format!("{id}")).unwrap_or_default();
            let json = serde_json::to_string(&(&name, argument)).unwrap_or_default();
            compare(&alloc::format!("2{id}{json}"));
            compare(&alloc::format!("2/a,{id}{json}"));
        }
    }
}
