//! Where the input of `sio explain` comes from: arguments, a file, or the standard input; as text,
//! hexadecimal digits or base64.

use std::fs::File;
use std::io::Read;

use bytes::Bytes;

use super::engine::base64;
use crate::arguments::Explain;
use crate::ending::Failed;

/// The most bytes of one input.
const MAX_BYTES: u64 = 64 << 20;

/// Returns the inputs, each with a remark about how it was read.
pub(super) fn read(arguments: &Explain) -> Result<Vec<(Bytes, &'static str)>, Failed> {
    let mut inputs = Vec::new();
    for message in &arguments.messages {
        match message.as_str() {
            "-" => inputs.push(decoded(
                arguments,
                from(std::io::stdin().lock(), "the standard input")?,
            )?),
            text => inputs.push(decoded(arguments, text.as_bytes().to_vec())?),
        }
    }
    if let Some(path) = &arguments.file {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Failed::Usage(format!("{name}: {error}")))?;
        inputs.push(decoded(arguments, from(file, &name)?)?);
    }
    if inputs.is_empty() {
        let mut bytes = from(std::io::stdin().lock(), "the standard input")?;
        // The line end of `echo` belongs to the shell and not to the message.
        if bytes.last() == Some(&b'\n') && std::str::from_utf8(&bytes).is_ok_and(|text| text.lines().count() == 1) {
            bytes.pop();
        }
        inputs.push(decoded(arguments, bytes)?);
    }
    Ok(inputs)
}

fn from(source: impl Read, name: &str) -> Result<Vec<u8>, Failed> {
    let mut bytes = Vec::new();
    let read = source.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failed::Usage(format!("{name}: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Failed::Usage(format!("{name}: more than 64 MiB")));
    }
    Ok(bytes)
}

fn decoded(arguments: &Explain, bytes: Vec<u8>) -> Result<(Bytes, &'static str), Failed> {
    if !arguments.hex && !arguments.base64 {
        return Ok((bytes.into(), ""));
    }
    let text = String::from_utf8_lossy(&bytes);
    if arguments.hex {
        let decoded = from_hex(&text).ok_or_else(|| Failed::Usage("the input is not hexadecimal".into()))?;
        return Ok((decoded.into(), ", given in hexadecimal"));
    }
    let decoded = base64(&text).ok_or_else(|| Failed::Usage("the input is not base64".into()))?;
    Ok((decoded.into(), ", given in base64"))
}

/// Reads hexadecimal digits as people paste them: with white space, colons, commas or `0x`.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let plain = text.replace("0x", " ").replace("\\x", " ");
    let digits: Vec<u8> = plain
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, ':' | ','))
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// What an input that cannot be understood may have been meant to be.
pub(super) fn hint(text: &str) -> Option<&'static str> {
    let text = text.trim();
    if text.len() >= 4 && from_hex(text).is_some() {
        return Some("it looks like hexadecimal digits: try --hex");
    }
    if text.len() >= 8 && base64(text).is_some() {
        return Some("it looks like base64: try --base64");
    }
    None
}
