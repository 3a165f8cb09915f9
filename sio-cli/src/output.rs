//! The standard output: lines, in colours if somebody can see them.

use std::env;
use std::io::{self, IsTerminal as _, Write};

use serde_json::Value;

use crate::arguments::Colour;
use crate::ending::Failed;

/// Whether a terminal does something for this character, or shows others in another order for it.
pub(crate) fn is_obeyed(c: char) -> bool {
    let changes_direction = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || changes_direction || c == '\u{feff}'
}

/// Where lines go, and whether they have colours.
pub(crate) struct Output {
    sink: Box<dyn Write + Send>,
    colours: bool,
}

impl Output {
    /// The standard output.
    pub(crate) fn standard(colour: Colour) -> Self {
        let colours = match colour {
            Colour::Always => true,
            Colour::Never => false,
            // https://no-color.org: any value that is not empty.
            Colour::Auto => {
                let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
                !refused && !dumb && io::stdout().is_terminal()
            }
        };
        Self::new(Box::new(io::stdout()), colours)
    }

    /// An output of its own.
    pub(crate) fn new(sink: Box<dyn Write + Send>, colours: bool) -> Self {
        Self { sink, colours }
    }

    pub(crate) const fn has_colours(&self) -> bool {
        self.colours
    }

    /// Writes a line.
    ///
    /// # Errors
    /// If nobody reads any more.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failed> {
        let mut line = String::with_capacity(text.len() + 1);
        line.push_str(text);
        line.push('\n');
        self.sink.write_all(line.as_bytes())?;
        self.sink.flush()?;
        Ok(())
    }

    /// Writes a value as a line of JSON. Characters that a terminal obeys, or that hide others, are
    /// escaped: JSON itself escapes only those below U+0020.
    ///
    /// # Errors
    /// If nobody reads any more.
    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Failed> {
        let mut line = String::new();
        for c in value.to_string().chars() {
            match is_obeyed(c) {
                // All of them are in the first plane, and stand inside of strings.
                true => line.push_str(&format!("\\u{:04x}", u32::from(c))),
                false => line.push(c),
            }
        }
        self.line(&line)
    }

    pub(crate) fn bold(&self, text: &str) -> String {
        self.in_style("1", text)
    }

    pub(crate) fn dim(&self, text: &str) -> String {
        self.in_style("2", text)
    }

    pub(crate) fn red(&self, text: &str) -> String {
        self.in_style("31", text)
    }

    pub(crate) fn green(&self, text: &str) -> String {
        self.in_style("32", text)
    }

    pub(crate) fn yellow(&self, text: &str) -> String {
        self.in_style("33", text)
    }

    pub(crate) fn cyan(&self, text: &str) -> String {
        self.in_style("36", text)
    }

    fn in_style(&self, style: &str, text: &str) -> String {
        if self.colours && !text.is_empty() {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
