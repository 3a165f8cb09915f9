//! What clients send, and what has to come back: encoded before the measurement.

use crate::arguments::{Options, Scenario};
use crate::frames::{self, BINARY, TEXT};

/// One message.
pub(crate) struct Message {
    /// The frames of the client that sends it.
    pub(crate) sent: Vec<u8>,
    /// The frames that each recipient has to get, byte for byte.
    pub(crate) due: Vec<u8>,
}

/// Returns the two messages that take turns in a place. No two messages that are in flight at the
/// same time are equal.
pub(crate) fn of_place(options: &Options, room: usize, place: usize) -> [Message; 2] {
    [0, 1].map(|turn| message(options, room, 2 * place + turn))
}

fn message(options: &Options, room: usize, number: usize) -> Message {
    let data = data(number, options.bytes);
    let mut message = Message {
        sent: Vec::new(),
        due: Vec::new(),
    };
    let Message { sent, due } = &mut message;
    let mut text = |packet: String, answer: &str| {
        frames::masked(TEXT, packet.as_bytes(), sent);
        // A server without a protocol knows only the packet itself.
        let answer = if options.is_raw { &packet } else { answer };
        frames::plain(TEXT, answer.as_bytes(), due);
    };
    match options.scenario {
        Scenario::Ack => text(
            format!("42{number}[\"echo\",\"{data}\"]"),
            &format!("43{number}[\"{data}\"]"),
        ),
        Scenario::Cast => {
            let packet = format!("42[\"cast\",\"{data}\"]");
            text(packet.clone(), &packet);
        }
        Scenario::Rooms => text(
            format!("42[\"room\",\"{}\",\"{data}\"]", room_name(room)),
            &format!("42[\"room\",\"{data}\"]"),
        ),
        Scenario::Binary => {
            let packet = "451-[\"bin\",{\"_placeholder\":true,\"num\":0}]";
            text(packet.to_owned(), packet);
            frames::masked(BINARY, data.as_bytes(), sent);
            frames::plain(BINARY, data.as_bytes(), due);
        }
        _ => {
            let packet = format!("42[\"echo\",\"{data}\"]");
            text(packet.clone(), &packet);
        }
    }
    message
}

/// Returns the frame with which a client joins a room.
pub(crate) fn join(room: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    frames::masked(
        TEXT,
        format!("42[\"join\",\"{}\"]", room_name(room)).as_bytes(),
        &mut frame,
    );
    frame
}

fn room_name(room: usize) -> String {
    format!("room-{room}")
}

/// Returns a string of this length that is no other number's string.
pub(crate) fn data(number: usize, length: usize) -> String {
    let mut data = format!("{number:02}");
    data.extend((data.len()..length).map(|place| char::from(b'a' + (place % 26) as u8)));
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        let words = format!("{line} --port 1 --pid 1 --s 4");
        Options::parse(words.split(' ').map(str::to_owned)).expect("a good line")
    }

    #[test]
    fn messages_differ() {
        let options = options("echo");
        let mut all: Vec<Vec<u8>> = (0..32)
            .flat_map(|place| of_place(&options, 0, place).map(|message| message.due))
            .collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 64);
    }

    #[test]
    fn answers() {
        for (line, due) in [
            ("echo", r#"42["echo","03cd"]"#),
            ("ack", r#"433["03cd"]"#),
            ("rooms --n 10", r#"42["room","03cd"]"#),
            ("rooms --n 10 --raw", r#"42["room","room-5","03cd"]"#),
        ] {
            let [_, message] = of_place(&options(line), 5, 1);
            assert_eq!(message.due[..2], [0x81, due.len() as u8], "{line}");
            assert_eq!(String::from_utf8_lossy(&message.due[2..]), due, "{line}");
        }
    }
}
