//! `sio explain`: says what each part of a message is, and which rule a malformed one breaks.
//!
//! The codecs of `sio-proto` decide what is right. This module only finds the places: it cuts the
//! input into the pieces that the codecs have read.

mod conversation;
mod engine;
mod form;
mod http;
mod input;
mod legacy06;
mod legacy09;
mod recording;
mod rules;
mod sheet;
mod socket;
mod streaming;
#[cfg(test)]
mod tests;
mod websocket;

use bytes::Bytes;
use serde_json::json;
use sio_proto::ByteString;
use sio_proto::engine::Revision;
use sio_proto::socket::{self as sio, Role};

use crate::arguments::{Explain, Side};
use crate::ending::{Ending, Failed};
use crate::output::Output;
use conversation::Conversation;
pub(crate) use form::Form;
pub(crate) use input::from_hex;
pub(crate) use sheet::shown;
use sheet::{Kind, Line, Sheet};

/// The explanation of one input.
struct Explanation {
    form: Option<Form>,
    why: String,
    sheet: Sheet,
}

/// Runs the command.
pub(crate) fn run(arguments: &Explain, out: &mut Output) -> Result<Ending, Failed> {
    let inputs = input::read(arguments)?;
    let mut talk = Conversation::new(match arguments.from {
        Some(Side::Client) => Role::Server,
        Some(Side::Server) | None => Role::Client,
    });
    talk.raw = arguments.raw;
    let mut problems = 0;
    for (index, (input, how)) in inputs.iter().enumerate() {
        let explanation = explanation(arguments.form, input, how, &mut talk);
        problems += explanation.sheet.problems();
        if arguments.json {
            out.json(&to_json(&explanation))?;
            continue;
        }
        if index > 0 {
            out.line("")?;
        }
        print(&explanation, out)?;
    }
    Ok(if problems == 0 { Ending::Good } else { Ending::Bad })
}

fn explanation(form: Option<Form>, input: &Bytes, how: &str, talk: &mut Conversation) -> Explanation {
    let mut sheet = Sheet::new();
    let found = match form {
        Some(form) => Some((form, "as you said")),
        None => form::guess(input),
    };
    let Some((form, why)) = found else {
        let text = String::from_utf8_lossy(input).into_owned();
        sheet.part(0, &text, "the whole input");
        let error = if input.is_empty() {
            "the input is empty"
        } else {
            "no generation has packets that begin so"
        };
        sheet.problem(0, &error, rules::UNKNOWN);
        if let Some(hint) = input::hint(&text) {
            sheet.note(hint);
        }
        let why = "it begins as nothing that these protocols know".to_owned();
        return Explanation { form: None, why, sheet };
    };
    explain(&mut sheet, form, input, talk);
    let why = format!("{why}{how}");
    let form = Some(form);
    Explanation { form, why, sheet }
}

/// Explains `input` as this form.
fn explain(sheet: &mut Sheet, form: Form, input: &Bytes, talk: &mut Conversation) {
    match form {
        Form::Websocket => return websocket::frames(sheet, input, talk),
        Form::Http => return http::message(sheet, input, talk),
        Form::File => return recording::file(sheet, input),
        Form::Msgpack => return talk.msgpack(sheet, input),
        _ => {}
    }
    let Some(text) = form::text(input) else {
        return match form {
            Form::Eio4 => engine::binary_packet(sheet, input, Revision::V4, talk),
            Form::Eio3 => engine::binary_packet(sheet, input, Revision::V3, talk),
            Form::Eio3Payload => engine::binary_payload_3(sheet, input, talk),
            Form::Sio4 | Form::Sio5 => talk.binary(sheet, input),
            _ => {
                let valid = std::str::from_utf8(input).map_or_else(|error| error.valid_up_to(), str::len);
                sheet.bytes(0, input, "bytes");
                sheet.problem(valid % input.len().max(1), &"no text, or invalid UTF-8", rules::TEXT);
            }
        };
    };
    match form {
        Form::Eio4 => engine::text_packet(sheet, &text, Revision::V4, talk),
        Form::Eio4Payload => engine::payload_4(sheet, &text, talk),
        Form::Eio3 => engine::text_packet(sheet, &text, Revision::V3, talk),
        Form::Eio3Payload => engine::payload_3(sheet, &text, talk),
        Form::Sio5 | Form::Sio4 => {
            let four = form == Form::Sio4;
            talk.revision = if four { sio::Revision::Four } else { sio::Revision::Five };
            socket::message(sheet, &text, talk);
        }
        Form::V09 => legacy09::packet(sheet, &text),
        Form::V09Payload => legacy09::payload(sheet, &text),
        Form::V09Handshake => legacy09::handshake(sheet, &text),
        Form::V06 => legacy06::payload(sheet, &text),
        Form::Streaming => streaming::packets(sheet, &text),
        Form::V04 => legacy06::envelope(sheet, &text),
        Form::Msgpack | Form::Websocket | Form::Http | Form::File => {}
    }
}

/// Explains what is inside of something else, as the form that it seems to have.
fn guessed(sheet: &mut Sheet, input: &Bytes, talk: &mut Conversation) {
    match form::guess(input) {
        // A file is never inside of a file.
        Some((Form::File, _)) | None => {
            sheet.part(0, &String::from_utf8_lossy(input), "nothing that these protocols know");
        }
        Some((form, _)) => explain(sheet, form, input, talk),
    }
}

/// Explains a text message of a websocket.
fn text_message(sheet: &mut Sheet, text: &ByteString, talk: &mut Conversation) {
    if text.is_empty() {
        return sheet.note("an empty message");
    }
    guessed(sheet, &text.clone().into_bytes(), talk);
}

/// Explains a binary message of a websocket.
fn binary_message(sheet: &mut Sheet, bytes: &Bytes, talk: &mut Conversation) {
    // In Engine.IO 3 the type stands before the data, and the packet before has told the revision.
    let revision = match talk.revision {
        sio::Revision::Five => Revision::V4,
        sio::Revision::Four | sio::Revision::Three => Revision::V3,
    };
    engine::binary_packet(sheet, bytes, revision, talk);
}

fn to_json(explanation: &Explanation) -> serde_json::Value {
    json!({
        "form": explanation.form.and_then(form_name),
        "why": explanation.why,
        "valid": explanation.sheet.problems() == 0,
        "lines": explanation.sheet.to_json(),
    })
}

fn form_name(form: Form) -> Option<String> {
    let value = clap::ValueEnum::to_possible_value(&form)?;
    Some(value.get_name().to_owned())
}

fn print(explanation: &Explanation, out: &mut Output) -> Result<(), Failed> {
    let title = explanation.form.map_or("nothing known", Form::title);
    let title = out.bold(title);
    out.line(&format!("{title}{}", out.dim(&format!(": {}", explanation.why))))?;
    let lines = &explanation.sheet.lines;
    let columns = lines.iter().map(width).max().unwrap_or(0).min(sheet::PIECE + 10);
    for line in lines {
        print_line(line, columns, out)?;
    }
    match explanation.sheet.left_out() {
        0 => {}
        left_out => out.line(&out.dim(&format!("{} left out", sheet::count(left_out, "line"))))?,
    }
    let verdict = match explanation.sheet.problems() {
        0 => out.green("valid"),
        problems => out.red(&format!("malformed: {}", sheet::count(problems, "problem"))),
    };
    out.line(&verdict)
}

/// The width of the columns for depth and piece.
fn width(line: &Line) -> usize {
    match &line.kind {
        Kind::Part { piece, .. } => 2 * line.depth.min(8) + piece.chars().count(),
        _ => 0,
    }
}

fn print_line(line: &Line, columns: usize, out: &mut Output) -> Result<(), Failed> {
    let at = line.at.map_or_else(String::new, |at| at.to_string());
    let indent = "  ".repeat(line.depth.min(8));
    match &line.kind {
        Kind::Part { piece, meaning } => {
            let used = indent.chars().count() + piece.chars().count();
            let fill = " ".repeat(columns.saturating_sub(used));
            let piece = out.cyan(piece);
            let at = out.dim(&format!("{at:>6}"));
            out.line(format!("{at}  {indent}{piece}{fill}  {meaning}").trim_end())
        }
        Kind::Note(note) => out.line(&format!("        {indent}{note}")),
        Kind::Problem { error, rule } => {
            let error = out.red(&format!("✗ {error}"));
            out.line(&format!("{at:>6}  {indent}{error}"))?;
            let section = match (rule.section, rule.section.starts_with(|c: char| c.is_ascii_digit())) {
                ("", _) => String::new(),
                (section, true) => format!(" §{section}"),
                (section, false) => format!(", {section}"),
            };
            out.line(&format!(
                "        {indent}  rule: {} ({}{section})",
                rule.says, rule.page
            ))
        }
    }
}
