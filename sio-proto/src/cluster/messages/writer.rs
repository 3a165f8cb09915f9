//! A message as it is written: JSON or MessagePack. Both get the same calls.

use bytes::{BufMut as _, Bytes, BytesMut};
use bytestring::ByteString;

use crate::cluster::order::Emit;
use crate::cluster::seal::{self, Sealing};
use crate::codec::pieces;
use crate::digits::put_decimal;
use crate::json;
use crate::socket::Args;

/// The syntax of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Json,
    MessagePack,
}

/// About how many bytes a message without arguments has.
pub(super) const FEW_BYTES: usize = 256;

/// How deep arguments may be nested in a message of JSON: less than readers allow for the whole
/// message, because its members around the arguments are nested, too.
const DEEP: usize = json::MAX_DEPTH - 8;

/// About how many bytes an event takes, with what every message has around it.
pub(super) fn about(emit: &Emit) -> usize {
    let args = emit.args.bytes();
    [128, emit.name.len(), args, args / 8]
        .into_iter()
        .fold(0, usize::saturating_add)
}

/// About how many bytes a list of names takes.
pub(super) fn about_names<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.fold(0, |bytes, name| bytes.saturating_add(name.len()).saturating_add(5))
}

/// The number of members of an object: those that it always has, and those of the optional ones
/// that are there.
pub(super) fn members<const N: usize>(always: usize, optional: [bool; N]) -> usize {
    let there = optional.iter().filter(|is_there| **is_there).count();
    always.saturating_add(there)
}

/// Whether arguments are nested so deep that a message of JSON around them could not be read.
pub(super) fn is_deep(args: &Args) -> bool {
    let text = args.json.as_bytes();
    // Few texts have so many brackets, and only for them the scan is paid.
    text.len() > 2 * DEEP
        && text.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > DEEP
        && json::validate_elements(&args.json, DEEP + 1).is_err()
}

pub(super) struct Writer {
    out: BytesMut,
    syntax: Syntax,
    /// Whether the next value in JSON needs a comma before it.
    comma: bool,
}

impl Writer {
    /// Begins a message of about so many bytes.
    pub(super) fn new(syntax: Syntax, bytes: usize) -> Self {
        Self {
            out: BytesMut::with_capacity(bytes),
            syntax,
            comma: false,
        }
    }

    /// Ends a message that is a list.
    pub(super) fn finish_array(mut self, sealing: Option<Sealing<'_>>) -> Bytes {
        if let Some(sealing) = sealing {
            let token = sealing.token(&self.out);
            self.text(&token);
        }
        self.end_array();
        self.out.freeze()
    }

    /// Ends a message that is an object.
    pub(super) fn finish_object(mut self, sealing: Option<Sealing<'_>>) -> Bytes {
        if let Some(sealing) = sealing {
            let token = sealing.token(&self.out);
            self.key(seal::MEMBER).text(&token);
        }
        self.end_object();
        self.out.freeze()
    }

    /// Ends a value that is no message by itself.
    pub(super) fn finish(self) -> Bytes {
        self.out.freeze()
    }

    /// Begins an object of `len` members. In JSON, [`end_object`](Self::end_object) ends it.
    pub(super) fn object(&mut self, len: usize) {
        match self.syntax {
            Syntax::Json => self.open(b'{'),
            Syntax::MessagePack => pieces::put_map(&mut self.out, len),
        }
    }

    pub(super) fn end_object(&mut self) {
        self.close(b'}');
    }

    /// Begins an array of `len` values. In JSON, [`end_array`](Self::end_array) ends it.
    pub(super) fn array(&mut self, len: usize) {
        match self.syntax {
            Syntax::Json => self.open(b'['),
            Syntax::MessagePack => pieces::put_array(&mut self.out, len),
        }
    }

    pub(super) fn end_array(&mut self) {
        self.close(b']');
    }

    pub(super) fn key(&mut self, name: &str) -> &mut Self {
        self.text(name);
        if self.syntax == Syntax::Json {
            self.out.put_u8(b':');
            self.comma = false;
        }
        self
    }

    pub(super) fn text(&mut self, text: &str) {
        match self.syntax {
            Syntax::Json => {
                self.separate();
                json::write_string(&mut self.out, text);
            }
            Syntax::MessagePack => pieces::put_text(&mut self.out, text),
        }
    }

    pub(super) fn number(&mut self, number: u64) {
        match self.syntax {
            Syntax::Json => self.plain(&alloc::format!("{number}")),
            Syntax::MessagePack => pieces::put_unsigned(&mut self.out, number),
        }
    }

    pub(super) fn boolean(&mut self, value: bool) {
        match self.syntax {
            Syntax::Json => self.plain(if value { "true" } else { "false" }),
            Syntax::MessagePack => pieces::put_bool(&mut self.out, value),
        }
    }

    /// Bytes of MessagePack that are always the same.
    pub(super) fn packed(&mut self, bytes: &[u8]) {
        debug_assert!(self.syntax == Syntax::MessagePack);
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn names(&mut self, names: &[ByteString]) {
        self.array(names.len());
        for name in names {
            self.text(name);
        }
        self.end_array();
    }

    /// A JSON value, or `{}` if there is none.
    pub(super) fn json(&mut self, text: &str) {
        let text = if text.is_empty() { "{}" } else { text };
        match self.syntax {
            Syntax::Json => self.plain(text),
            Syntax::MessagePack => pieces::put_json(&mut self.out, text, &[]),
        }
    }

    /// The name and the arguments of an event as an array.
    pub(super) fn event(&mut self, Emit { name, args }: &Emit) {
        match self.syntax {
            Syntax::Json => {
                self.open(b'[');
                self.text(name);
                if !args.is_empty() {
                    self.args(args);
                }
                self.close(b']');
            }
            Syntax::MessagePack => pieces::put_event(&mut self.out, name, args),
        }
    }

    /// The first argument as a value, or null if there is none.
    pub(super) fn argument(&mut self, args: &Args) {
        let first = args.iter().next().unwrap_or("null");
        match (self.syntax, args.exact.get(0)) {
            (Syntax::Json, _) => {
                let only = Args {
                    json: first.into(),
                    attachments: args.attachments.clone(),
                    ..Args::default()
                };
                self.args(&only);
            }
            (Syntax::MessagePack, Some(exact)) => self.out.extend_from_slice(exact),
            (Syntax::MessagePack, None) => pieces::put_json(&mut self.out, first, &args.attachments),
        }
    }

    /// Arguments in JSON. Bytes are written as `JSON.stringify` writes a `Buffer`.
    fn args(&mut self, args: &Args) {
        self.separate();
        self.comma = true;
        if args.attachments.is_empty() {
            return self.out.extend_from_slice(args.json.as_bytes());
        }
        json::replace_placeholders(&mut self.out, &args.json, |out, number| {
            out.put_slice(b"{\"type\":\"Buffer\",\"data\":[");
            let bytes = args.attachments.get(number).map_or(&[][..], |bytes| bytes);
            for (at, byte) in bytes.iter().enumerate() {
                if at > 0 {
                    out.put_u8(b',');
                }
                put_decimal(u64::from(*byte), out);
            }
            out.put_slice(b"]}");
        });
    }

    fn plain(&mut self, text: &str) {
        self.separate();
        self.out.extend_from_slice(text.as_bytes());
    }

    fn open(&mut self, bracket: u8) {
        self.separate();
        self.out.put_u8(bracket);
        self.comma = false;
    }

    fn close(&mut self, bracket: u8) {
        if self.syntax == Syntax::Json {
            self.out.put_u8(bracket);
            self.comma = true;
        }
    }

    /// The comma between two values.
    fn separate(&mut self) {
        if core::mem::replace(&mut self.comma, true) {
            self.out.put_u8(b',');
        }
    }
}
