//! A wire that the user wrote, beside the wires of genuine clients: what the server does for it,
//! and what the server does not permit.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::*;
use sio_proto::codec::{
    Framing, MessageCodec, MessageDecoder, MessageLimits, PayloadError, PlainEvent, PlainMessage, Received,
};
use sio_proto::{ByteString, BytesMut, Config, LinkId};

/// Words. `+` adds a word to the buffer and yields no message, `!` cannot be read, `?` ends the
/// session.
#[derive(Clone, Default)]
struct Words {
    /// How often messages have been encoded.
    encoded: Arc<AtomicUsize>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no word")]
struct NoWord(String);

impl MessageCodec for Words {
    fn name(&self) -> &'static str {
        "words"
    }

    fn encode_session_id(&self, sid: &str, out: &mut BytesMut) {
        out.extend_from_slice(format!("I {sid} ").as_bytes());
    }

    fn encode_heartbeat(&self, number: u32, out: &mut BytesMut) {
        out.extend_from_slice(format!("H{number} ").as_bytes());
    }

    fn encode_messages(&self, messages: &[PlainMessage<'_>], out: &mut BytesMut) {
        self.encoded.fetch_add(1, Ordering::Relaxed);
        for message in messages {
            let text = message.text().unwrap_or_else(|| message.json().into());
            out.extend_from_slice(format!("{text} ").as_bytes());
        }
    }

    fn encode_event(&self, event: &PlainEvent<'_>, out: &mut BytesMut) {
        out.extend_from_slice(format!("{}={}+{} ", event.name, event.args, event.attachments.len()).as_bytes());
    }

    fn encode_goodbye(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"bye ");
    }

    fn decoder(&self, _: MessageLimits) -> Box<dyn MessageDecoder> {
        Box::new(Reader(0))
    }

    fn recognizes(&self, payload: &str) -> bool {
        payload.ends_with(' ')
    }
}

/// How many bytes the decoder claims to hold back.
struct Reader(usize);

impl MessageDecoder for Reader {
    fn decode(&mut self, payload: &ByteString, _: bool, out: &mut Vec<Received>) -> Result<(), PayloadError> {
        for word in payload.split(' ').filter(|word| !word.is_empty()) {
            match word.as_bytes() {
                [b'+', more @ ..] => self.0 += more.len(),
                [b'!', ..] => return Err(PayloadError::rest(NoWord(word.into()))),
                [b'?', ..] => return Err(PayloadError::session(NoWord(word.into()))),
                [b'H', number @ ..] => {
                    out.push(Received::Heartbeat(String::from_utf8_lossy(number).into_owned().into()))
                }
                [b'{', ..] => out.push(Received::Json(word.into())),
                b"bye" => out.push(Received::Goodbye),
                _ => out.push(Received::Text(word.into())),
            }
        }
        Ok(())
    }

    fn buffered_bytes(&self) -> usize {
        self.0
    }
}

fn world(words: &Words) -> World {
    let mut config = Config::default();
    config.legacy06 = config.legacy06.mount("/words", words.clone()).mount("/again", Framing);
    config.legacy06.max_messages_per_payload = 3;
    config.legacy06.max_buffered_bytes = 10;
    World::new(config)
}

fn open(world: &mut World, path: &str) -> LinkId {
    let link = world.open();
    world.send(link, &upgrade(&format!("{path}/websocket")));
    assert_eq!(world.frames(link).len(), 1, "the id goes alone");
    world.heard();
    link
}

#[test]
fn a_broadcast_is_encoded_once_for_all_of_a_wire() {
    let words = Words::default();
    let mut world = world(&words);
    let ours: Vec<LinkId> = (0..5).map(|_| open(&mut world, "/words")).collect();
    let tildes = [open(&mut world, "/socket.io"), open(&mut world, "/again")];
    world.broadcast(&[], "message", "\"hi\",{\"a\":1}");
    for link in &ours {
        assert_eq!(world.frames(*link), ["hi {\"a\":1} "]);
    }
    for link in tildes {
        assert_eq!(world.frames(link), ["~m~2~m~hi~m~10~m~~j~{\"a\":1}"]);
    }
    assert_eq!(words.encoded.load(Ordering::Relaxed), 1);
    world.broadcast(&[], "news", "1,2");
    assert_eq!(world.frames(ours[0]), ["news=1,2+0 "]);
    // Without clients, the codec costs nothing.
    for link in ours {
        world.send(link, &text("bye"));
        assert_eq!(world.frames(link).last().unwrap(), "close");
    }
    world.broadcast(&[], "message", "\"hi\"");
    assert_eq!(words.encoded.load(Ordering::Relaxed), 1);
}

#[test]
fn errors_cost_what_the_codec_says() {
    let mut world = world(&Words::default());
    let link = open(&mut world, "/words");
    world.send(link, &text("one !two three"));
    world.send(link, &text("four !five"));
    assert_eq!(world.heard(), ["event message \"one\"", "event message \"four\""]);
    assert_eq!(world.garbled, ["words not nothing: \"!two\" is no word"], "told once");
    world.send(link, &text("six ?seven eight"));
    assert_eq!(world.heard(), ["event message \"six\"", "disconnect parse error"]);
    assert_eq!(world.frames(link), ["bye ", "close"]);
}

/// The limits hold even for a codec that ignores them.
#[test]
fn limits_hold_whatever_the_codec_does() {
    let mut world = world(&Words::default());
    let link = open(&mut world, "/words");
    world.send(link, &text("1 2 3 4 5"));
    assert_eq!(
        world.heard(),
        ["event message \"1\"", "event message \"2\"", "event message \"3\""]
    );
    world.send(link, &text("{bad {\"a\":1}"));
    assert_eq!(
        world.heard(),
        ["event message {\"a\":1}"],
        "JSON is checked by the server"
    );
    world.send(link, &text("+12345 +12345"));
    assert_eq!(world.heard(), [""; 0]);
    world.send(link, &text("+1"));
    assert_eq!(world.heard(), ["disconnect parse error"]);
    assert_eq!(world.garbled, ["words not nothing: too many messages in one payload"]);
}

#[test]
fn its_heartbeats_are_kept_and_its_wire_is_recognised() {
    let mut world = world(&Words::default());
    let link = open(&mut world, "/words");
    world.pass(10_000);
    assert_eq!(world.frames(link), ["H1 "]);
    world.send(link, &text("H1"));
    world.pass(10_000);
    assert_eq!(world.frames(link), ["H2 "]);
    world.pass(8_000);
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
    let link = open(&mut world, "/again");
    world.send(link, &text("hello "));
    assert_eq!(world.garbled, ["~m~ not words: frame without delimiter"]);
}
