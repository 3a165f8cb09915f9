//! Short events that hold nothing but strings and attachments, found in one pass.
//!
//! ```text
//!   2 /admin, 12 [ "chat" , "hi" , "there" ]
//!   5 1- /admin, 12 [ "chat" , "hi" , {"_placeholder":true,"num":0} ]
//! ```
//! Most events that are small look like this. Their parts are found by position, so no part is cut
//! out of the text before all of it is known to be an event. Any other event is found by
//! [`event_at`](super::event_at) and [`decode_at`](super::decode_at), which also say what is wrong
//! with a text.

use super::Limits;
use super::event::{Places, Span};
use super::partial::Announced;
use crate::json::{end_of_plain_string, short_placeholder};
use crate::socket::is_reserved_event;

/// No longer text is looked at, because a text that is something else is looked at twice.
const SHORT: usize = 256;

/// An id of more digits may not fit into 64 bits.
const MAX_DIGITS: usize = 19;

/// The places of the parts of an event, whose type stands at byte `at` of the text. Returns `None`
/// for a text that is longer, is another event, or breaks a rule or a limit.
#[inline]
pub(crate) fn short_event_at(text: &str, at: usize, limits: &Limits) -> Option<Places> {
    let bytes = text.as_bytes();
    if bytes.len() > SHORT || limits.max_depth == 0 {
        return None;
    }
    step!(bulk bytes.len());
    let head = Head::at(bytes, at.wrapping_add(1), limits)?;
    let mut end = head.end;
    while bytes.get(end) == Some(&b',') {
        end = end_of_plain_string(bytes, end.wrapping_add(1))?;
    }
    head.places(text, end, limits)
}

/// Does what [`short_event_at`] does for an event with attachments, whose placeholders are plain
/// and have one digit. Also returns what the event says of its attachments.
#[inline]
pub(crate) fn short_partial_at(text: &str, at: usize, limits: &Limits) -> Option<(Places, Announced)> {
    let bytes = text.as_bytes();
    if bytes.len() > SHORT || limits.max_depth <= 1 {
        return None;
    }
    step!(bulk bytes.len());
    let mut begin = at.wrapping_add(1);
    let attachments = attachments_at(bytes, &mut begin, limits)?;
    let head = Head::at(bytes, begin, limits)?;
    let mut end = head.end;
    // How many placeholders there are, as long as each has its place as its number.
    let mut placeholders = Some(0u32);
    while bytes.get(end) == Some(&b',') {
        let at = end.wrapping_add(1);
        if let Some((number, behind)) = short_placeholder(bytes, at) {
            placeholders = placeholders.filter(|place| *place == number);
            placeholders = placeholders.map(|place| place.wrapping_add(1));
            end = behind;
        } else {
            end = end_of_plain_string(bytes, at)?;
        }
    }
    let announced = Announced {
        attachments,
        names_each: placeholders == Some(attachments),
    };
    Some((head.places(text, end, limits)?, announced))
}

/// What stands before the arguments.
struct Head {
    namespace: Span,
    id: Option<u64>,
    /// Where the name begins, behind its quotation mark.
    name_at: usize,
    /// The first byte behind the name and its quotation mark.
    end: usize,
}

impl Head {
    /// Reads the namespace, the id and the name. Returns `None` if there is more to decide.
    #[inline(always)]
    fn at(bytes: &[u8], mut begin: usize, limits: &Limits) -> Option<Self> {
        let mut namespace = Span::default();
        let mut id = None;
        if bytes.get(begin) != Some(&b'[') {
            namespace = namespace_at(bytes, &mut begin, limits)?;
            id = id_at(bytes, &mut begin)?;
            if bytes.get(begin) != Some(&b'[') {
                return None;
            }
        }
        Some(Self {
            namespace,
            id,
            name_at: begin.wrapping_add(2),
            end: end_of_plain_string(bytes, begin.wrapping_add(1))?,
        })
    }

    /// The places of the parts of an event with this head. Its arguments end at byte `end`. Returns
    /// `None` if the text does not end there, or if the name breaks a rule or a limit.
    #[inline(always)]
    fn places(self, text: &str, end: usize, limits: &Limits) -> Option<Places> {
        if text.as_bytes().get(end..) != Some(b"]") {
            return None;
        }
        let name = text.get(self.name_at..self.end.wrapping_sub(1))?;
        if name.len() > limits.max_event_name_bytes || is_reserved_event(name) {
            return None;
        }
        // The arguments begin behind the comma, if there is one.
        let args_at = self.end.wrapping_add(1).min(end);
        Some(Places {
            namespace: self.namespace,
            name: Span::new(self.name_at, name.len()),
            args: Span::new(args_at, end.wrapping_sub(args_at)),
            id: self.id,
        })
    }
}

/// Steps over the number of attachments and its hyphen. Returns `None` if there is more to decide.
#[inline]
fn attachments_at(bytes: &[u8], begin: &mut usize, limits: &Limits) -> Option<u32> {
    let number = bytes.get(*begin).map(|digit| digit.wrapping_sub(b'0'));
    let number = number.filter(|number| (1..=9).contains(number))?;
    *begin = begin.wrapping_add(1);
    if bytes.get(*begin) != Some(&b'-') || usize::from(number) > limits.max_attachments {
        return None;
    }
    *begin = begin.wrapping_add(1);
    Some(u32::from(number))
}

/// Steps over the namespace and its comma, if there is one. Returns `None` if there is more to
/// decide.
fn namespace_at(bytes: &[u8], begin: &mut usize, limits: &Limits) -> Option<Span> {
    if bytes.get(*begin) != Some(&b'/') {
        return Some(Span::default());
    }
    let len = memchr::memchr(b',', bytes.get(*begin..)?)?;
    if len > limits.max_namespace_bytes {
        return None;
    }
    let namespace = match len {
        1 => Span::default(),
        _ => Span::new(*begin, len),
    };
    *begin = begin.wrapping_add(len).wrapping_add(1);
    Some(namespace)
}

/// Steps over the id, if there is one. Returns `None` if it may be too large.
fn id_at(bytes: &[u8], begin: &mut usize) -> Option<Option<u64>> {
    let mut id = 0u64;
    let mut digits = 0usize;
    while let Some(digit @ b'0'..=b'9') = bytes.get(*begin) {
        digits = digits.wrapping_add(1);
        if digits > MAX_DIGITS {
            return None;
        }
        // So many digits are less than 2^64.
        id = id.wrapping_mul(10).wrapping_add(u64::from(digit.wrapping_sub(b'0')));
        *begin = begin.wrapping_add(1);
    }
    Some((digits > 0).then_some(id))
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec::Vec;

    use bytestring::ByteString;
    use proptest::prelude::*;

    use super::super::{Decoded, PartialEvent, TextEvent, decode, event_at};
    use super::*;
    use crate::json::{Controls, named_attachments};
    use crate::socket::{Revision, Role};

    /// What is found in one pass is what is found in the general way. Returns whether anything is
    /// found.
    fn compare(text: &str, limits: &Limits) -> bool {
        let Some(found) = short_event_at(text, 0, limits) else {
            return false;
        };
        let shared = ByteString::from(text);
        let parts = event_at(&shared, 0, Revision::Five, Controls::Unknown, limits);
        let general = parts.ok().and_then(|parts| Places::of(&parts, &shared));
        assert_eq!(Some(found), general, "{text}");
        true
    }

    #[test]
    fn short_events_are_found() {
        for text in [
            r#"2["chat"]"#,
            r#"2["chat","hi"]"#,
            r#"2["","",""]"#,
            r#"20["grüße","é"]"#,
            r#"2/admin,["chat","hi"]"#,
            r#"2/,17["chat","hi"]"#,
            r#"2/admin,0017["chat","hi"]"#,
            r#"29999999999999999999["x"]"#,
        ] {
            assert!(compare(text, &Limits::default()), "{text}");
        }
    }

    #[test]
    fn anything_else_is_left_to_the_general_way() {
        for text in [
            r#"2["chat",1]"#,
            r#"2["chat", "hi"]"#,
            r#"2["chat","hi"] "#,
            r#"2["chat","hi"],"#,
            r#"2["chat",]"#,
            r#"2["ch\u0061t"]"#,
            r#"2["connect"]"#,
            r#"2/admin["chat"]"#,
            r#"2-1["chat"]"#,
            r#"210000000000000000000["x"]"#,
            "2[]",
            "2[",
            "2",
            "2[\"a\nb\"]",
        ] {
            assert!(!compare(text, &Limits::default()), "{text}");
        }
        let long = alloc::format!("2[\"{}\"]", "x".repeat(SHORT - 4));
        assert!(!compare(&long, &Limits::default()));
    }

    #[test]
    fn limits_are_those_of_the_general_way() {
        let limits = Limits {
            max_namespace_bytes: 3,
            max_event_name_bytes: 2,
            ..Limits::default()
        };
        assert!(compare(r#"2/ab,["ab"]"#, &limits));
        assert!(!compare(r#"2/abc,["ab"]"#, &limits));
        assert!(!compare(r#"2/ab,["abc"]"#, &limits));
        let flat = Limits {
            max_depth: 0,
            ..Limits::default()
        };
        assert!(!compare(r#"2["ab"]"#, &flat));
    }

    /// The same for an event with attachments, in each revision.
    fn compare_partial(text: &str, limits: &Limits) -> bool {
        let Some((places, announced)) = short_partial_at(text, 0, limits) else {
            return false;
        };
        let shared = ByteString::from(text);
        let event = PartialEvent::new(TextEvent::new(shared.clone(), places), announced);
        for revision in [Revision::Three, Revision::Four, Revision::Five] {
            let general = decode(&shared, revision, Role::Server, limits);
            assert_eq!(general, Ok(Decoded::Partial(event.to_partial())), "{text}");
        }
        let count = event.attachments();
        let named = named_attachments(&event.event().args().json, count);
        let names_each = named.is_ok_and(|named| (0..count).all(|number| named.contains(number)));
        assert!(names_each || !event.names_each(), "{text}");
        true
    }

    #[test]
    fn short_events_with_attachments_are_found() {
        for (text, names_each) in [
            (r#"51-["bin",{"_placeholder":true,"num":0}]"#, true),
            (
                r#"52-/admin,17["bin","x",{"_placeholder":true,"num":0},"",{"_placeholder":true,"num":1},"y"]"#,
                true,
            ),
            // These are events, and whoever joins their attachments has more to look at.
            (
                r#"52-["bin",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#,
                false,
            ),
            (
                r#"51-["bin",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#,
                false,
            ),
            (
                r#"51-["bin",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
                false,
            ),
            (r#"51-["bin",{"_placeholder":true,"num":1}]"#, false),
            (r#"52-["bin",{"_placeholder":true,"num":0}]"#, false),
            (r#"51-["bin"]"#, false),
            (r#"51-["bin","{_"]"#, false),
        ] {
            assert!(compare_partial(text, &Limits::default()), "{text}");
            let found = short_partial_at(text, 0, &Limits::default());
            assert_eq!(
                found.map(|(_, announced)| announced.names_each),
                Some(names_each),
                "{text}"
            );
        }
    }

    #[test]
    fn any_other_text_with_attachments_is_left_to_the_general_way() {
        for text in [
            "5",
            "51",
            "51-",
            "51-[",
            "51-[]",
            r#"5["bin",{"_placeholder":true,"num":0}]"#,
            r#"50-["bin"]"#,
            r#"501-["bin",{"_placeholder":true,"num":0}]"#,
            r#"510-["bin",{"_placeholder":true,"num":0}]"#,
            r#"5-1-["bin",{"_placeholder":true,"num":0}]"#,
            r#"51-["connect",{"_placeholder":true,"num":0}]"#,
            r#"51-["bin",{"num":0,"_placeholder":true}]"#,
            r#"51-["bin",{"_placeholder":true,"num":10}]"#,
            r#"51-["bin",{"_placeholder":true,"num":-1}]"#,
            r#"51-["bin",{"_placeholder":true,"num":0},1]"#,
            r#"51-["bin",{"_placeholder":true,"num":0}"#,
            r#"51-["bin",{"_placeholder":true,"num":0},]"#,
            r#"51-["bin",{"_placeholder":true,"num":0}]]"#,
            r#"51-["bin",[{"_placeholder":true,"num":0}]]"#,
            r#"51- ["bin",{"_placeholder":true,"num":0}]"#,
            r#"51-[{"_placeholder":true,"num":0},"bin"]"#,
        ] {
            assert!(!compare_partial(text, &Limits::default()), "{text}");
        }
        let long = alloc::format!("51-[\"{}\"]", "x".repeat(SHORT - 6));
        assert!(!compare_partial(&long, &Limits::default()));
    }

    #[test]
    fn limits_of_attachments_are_those_of_the_general_way() {
        let limits = Limits {
            max_attachments: 2,
            max_namespace_bytes: 3,
            max_event_name_bytes: 2,
            ..Limits::default()
        };
        assert!(compare_partial(r#"52-/ab,["ab"]"#, &limits));
        for text in [r#"53-/ab,["ab"]"#, r#"52-/abc,["ab"]"#, r#"52-/ab,["abc"]"#] {
            assert!(!compare_partial(text, &limits), "{text}");
        }
        for max_depth in [0, 1, 2] {
            let limits = Limits {
                max_depth,
                ..Limits::default()
            };
            let found = compare_partial(r#"51-["ab",{"_placeholder":true,"num":0}]"#, &limits);
            assert_eq!(found, max_depth == 2);
        }
    }

    #[test]
    fn texts_of_few_parts_are_found_in_the_same_way() {
        let parts = [
            "[", "]", ",", "\"", "\"a\"", "\"\"", "/", "/a,", "7", "\\", " ", "é", "-",
        ];
        let mut texts: Vec<String> = Vec::from([String::from("2")]);
        for _ in 0..4 {
            texts = texts
                .iter()
                .flat_map(|text| parts.map(|part| alloc::format!("{text}{part}")))
                .collect();
            texts.iter().for_each(|text| _ = compare(text, &Limits::default()));
            texts.retain(|text| text.len() < 7);
        }
    }

    #[test]
    fn texts_of_few_parts_with_attachments_are_found_in_the_same_way() {
        let parts = [
            "[",
            "]",
            ",",
            "1-",
            "\"a\"",
            "[\"a\"",
            "/a,",
            "2",
            ",{\"_placeholder\":true,\"num\":0}",
            ",{\"_placeholder\":true,\"num\":1}",
            ",{\"_placeholder\":true,\"num\":",
            "}",
        ];
        let mut texts: Vec<String> = Vec::from([String::from("5")]);
        let (mut found, mut named) = (0, 0);
        for _ in 0..5 {
            texts = texts
                .iter()
                .flat_map(|text| parts.map(|part| alloc::format!("{text}{part}")))
                .collect();
            for text in &texts {
                found += usize::from(compare_partial(text, &Limits::default()));
                let announced = short_partial_at(text, 0, &Limits::default());
                named += usize::from(announced.is_some_and(|(_, announced)| announced.names_each));
            }
            // Nothing is found behind these beginnings.
            texts.retain(|text| {
                ["51-", "52-", "51", "52", "5"]
                    .iter()
                    .any(|begin| text.starts_with(begin))
            });
            texts.retain(|text| !text.contains(",,") && !text.contains("]]") && !text.starts_with("5["));
            texts.truncate(20_000);
        }
        assert!(found > 20 && named > 2, "{found} {named}");
    }

    proptest! {
        #[test]
        fn any_event_of_strings_is_found_in_the_same_way(
            namespace in "(/[a-zé]{0,5},)?",
            id in "[0-9]{0,21}",
            strings in proptest::collection::vec("[ -~é]{0,30}", 1..5),
        ) {
            let json = serde_json::to_string(&strings).unwrap_or_default();
            let is_plain = strings.iter().all(|text| !text.contains(['"', '\\']));
            let text = alloc::format!("2{namespace}{id}{json}");
            let found = compare(&text, &Limits::default());
            let is_usual = is_plain && id.len() <= MAX_DIGITS && text.len() <= SHORT;
            prop_assert_eq!(found, is_usual && !is_reserved_event(&strings[0]), "{}", text);
        }
    }
}
