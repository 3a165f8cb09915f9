//! The members of an object.

use super::scan::Scanner;

/// The members of an object that is valid JSON: the literal of each name, quotes included, and the
/// raw value. Names come in their order, and more than once if they stand there more than once.
/// `JSON.parse` takes the last value of such a name. Other JSON than an object has no members.
///
/// Text that is not valid yields slices without meaning, but does not panic.
#[must_use]
pub fn members(object: &str) -> Members<'_> {
    let raw = object.trim_ascii();
    let inside = raw.strip_prefix('{').and_then(|raw| raw.strip_suffix('}'));
    Members {
        raw: inside.unwrap_or_default(),
    }
}

/// Iterator over the members of an object, made by [`members`].
#[derive(Clone, Debug)]
pub struct Members<'a> {
    raw: &'a str,
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        let mut scanner = Scanner::new(self.raw);
        scanner.skip_whitespace();
        let start = scanner.position();
        if scanner.peek() != Some(b'"') {
            return None;
        }
        scanner.skip_valid_string();
        let name = self.raw.get(start..scanner.position())?;
        scanner.skip_whitespace();
        if !scanner.take(b':') {
            return None;
        }
        scanner.skip_whitespace();
        let start = scanner.position();
        scanner.skip_valid_value();
        let value = self.raw.get(start..scanner.position())?;
        scanner.skip_whitespace();
        scanner.take(b',');
        self.raw = self.raw.get(scanner.position()..).unwrap_or_default();
        Some((name, value))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn what_stands_in_an_object() {
        for (object, expected) in [
            ("{}", vec![]),
            (" { } ", vec![]),
            (r#"{"a":1}"#, vec![("\"a\"", "1")]),
            (
                " { \"a\" : [1,{\"b\":2}] ,\n\"a\":\"x,}\\\"\", \"é\\u0041\" : { } } ",
                vec![
                    ("\"a\"", "[1,{\"b\":2}]"),
                    ("\"a\"", "\"x,}\\\"\""),
                    ("\"é\\u0041\"", "{ }"),
                ],
            ),
            ("[1,2]", vec![]),
            ("\"{}\"", vec![]),
            ("null", vec![]),
        ] {
            assert_eq!(members(object).collect::<Vec<_>>(), expected, "{object}");
        }
    }

    #[test]
    fn text_without_meaning_ends() {
        for text in [
            "",
            "{",
            "{\"a\":}",
            "{1:2}",
            "{\"a\" 1}",
            "{\"a\":1 \"b\":2}",
            "{é}",
            "{\"a\":é}",
        ] {
            assert!(members(text).count() <= text.len(), "{text}");
        }
    }
}
