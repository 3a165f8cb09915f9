//! Valid JSON, token by token, for code that writes it in another form.

use super::scan::Scanner;

/// A step through JSON. Strings and keys are literals, quotes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// `{` or `[`.
    Open {
        /// Whether it is `{`.
        object: bool,
    },
    /// `}` or `]`.
    Close,
    Key(&'a str),
    String(&'a str),
    /// A number, `true`, `false` or `null`, as written.
    Word(&'a str),
}

/// The tokens of valid JSON values joined by commas. Text that is not valid yields tokens without
/// meaning, but does not panic.
pub(crate) fn tokens(raw: &str) -> Tokens<'_> {
    Tokens {
        raw,
        scanner: Scanner::new(raw),
    }
}

/// Iterator over tokens, made by [`tokens`].
pub(crate) struct Tokens<'a> {
    raw: &'a str,
    scanner: Scanner<'a>,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let start = self.scanner.position();
            let byte = self.scanner.peek()?;
            match byte {
                b'{' | b'[' => {
                    self.scanner.take(byte);
                    return Some(Token::Open { object: byte == b'{' });
                }
                b'}' | b']' => {
                    self.scanner.take(byte);
                    return Some(Token::Close);
                }
                b'"' => {
                    self.scanner.skip_valid_string();
                    let literal = self.raw.get(start..self.scanner.position())?;
                    self.scanner.skip_whitespace();
                    return Some(match self.scanner.take(b':') {
                        true => Token::Key(literal),
                        false => Token::String(literal),
                    });
                }
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => {
                    self.scanner.take(byte);
                }
                _ => {
                    while let Some(byte) = self.scanner.peek()
                        && !b",]}[{\": \t\n\r".contains(&byte)
                    {
                        self.scanner.take(byte);
                    }
                    return self.raw.get(start..self.scanner.position()).map(Token::Word);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn every_token_once() {
        use Token::{Close, Key, Open, String, Word};
        let (object, array) = (Open { object: true }, Open { object: false });
        for (raw, expected) in [
            ("", &[][..]),
            (
                r#" 1 , "a:\"b" ,{"k" : [null,true]},[]"#,
                &[
                    Word("1"),
                    String(r#""a:\"b""#),
                    object,
                    Key("\"k\""),
                    array,
                    Word("null"),
                    Word("true"),
                    Close,
                    Close,
                    array,
                    Close,
                ],
            ),
            ("-1.5e3", &[Word("-1.5e3")]),
        ] {
            assert_eq!(tokens(raw).collect::<Vec<_>>(), expected, "{raw}");
        }
    }
}
