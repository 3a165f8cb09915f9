//! The rules that a malformed input breaks, and where the protocol's documents describe them.

use sio_proto::codec::PacketError;
use sio_proto::engine::{DecodeError as EngineError, PayloadError};
use sio_proto::http::HttpError;
use sio_proto::json::JsonError;
use sio_proto::legacy::envelope::EnvelopeError;
use sio_proto::legacy::framing::FramingError;
use sio_proto::legacy::legacy09::DecodeError as Packet09Error;
use sio_proto::legacy::legacy09::handshake::HandshakeError;
use sio_proto::legacy::legacy09::payload::PayloadError as Payload09Error;
use sio_proto::legacy::streaming::StreamError;
use sio_proto::socket::text::DecodeError as SocketError;
use sio_proto::websocket::Error as FrameError;

/// A rule, and its place in `docs/protocol`, or the number of an RFC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) says: &'static str,
    pub(super) page: &'static str,
    pub(super) section: &'static str,
}

const ENGINE: &str = "docs/protocol/engine-io.md";
const SOCKET: &str = "docs/protocol/socket-io.md";
const MSGPACK: &str = "docs/protocol/msgpack.md";
const V09: &str = "docs/protocol/legacy-0.9.md";
const V06: &str = "docs/protocol/legacy-0.6.md";
const STREAMING: &str = "docs/protocol/legacy-streaming.md";

const fn rule(page: &'static str, section: &'static str, says: &'static str) -> Rule {
    Rule { says, page, section }
}

pub(super) const UNKNOWN: Rule = rule(
    "docs/protocol/README.md",
    "",
    "a packet begins with the mark of its generation: a digit, ~m~, U+FFFD, [ or {",
);
pub(super) const CAPTURE: Rule = rule(
    "docs/captures.md",
    "The format",
    "a capture is one JSON object with `entries`",
);
pub(super) const TRANSCRIPT: Rule = rule(
    "docs/transcript.md",
    "The format",
    "a line is a time, a mark (> + * < = ~ !) and words",
);
pub(super) const HAR: Rule = rule("HAR 1.2", "", "a HAR file is one JSON object with `log.entries`");
pub(super) const ENGINE_OPEN: Rule = rule(
    ENGINE,
    "4.1",
    "the open packet is a JSON object with sid, upgrades, pingInterval and pingTimeout",
);
pub(super) const TEXT: Rule = rule(ENGINE, "2", "a text packet is UTF-8");
pub(super) const JSONP: Rule = rule(ENGINE, "4.6", "a JSONP POST is a form with one field `d`");

pub(super) fn engine(error: EngineError) -> Rule {
    match error {
        EngineError::Empty => rule(ENGINE, "2", "a packet has a type, so it is never empty"),
        EngineError::UnknownType(_) => rule(
            ENGINE,
            "2",
            "the first character is a type from 0 to 6, or b before base64",
        ),
        EngineError::BinaryNotMessage => rule(ENGINE, "2", "in revision 3, binary data is a message: its type is 4"),
        EngineError::InvalidBase64 => rule(ENGINE, "2", "what follows b is base64 in the standard alphabet"),
        EngineError::InvalidUtf8 => TEXT,
    }
}

pub(super) fn payload(error: PayloadError, revision_3: bool) -> Rule {
    match error {
        PayloadError::Packet(error) => engine(error),
        PayloadError::EmptyBody if revision_3 => rule(ENGINE, "3.2", "a payload has at least one packet, or is `0:`"),
        PayloadError::EmptyBody => rule(ENGINE, "3.1", "a payload has at least one packet"),
        PayloadError::TooManyPackets => rule(ENGINE, "9", "a payload has no more packets than the server allows"),
        PayloadError::InvalidLength => rule(
            ENGINE,
            "3.2",
            "each packet follows its length: at most ten digits and a colon",
        ),
        PayloadError::Truncated => rule(
            ENGINE,
            "3.2",
            "a length counts the UTF-16 units of its packet, all of which are there",
        ),
        PayloadError::CutPair => rule(
            ENGINE,
            "3.2",
            "a length counts UTF-16 units and never ends inside of a character",
        ),
        PayloadError::UnknownKind(_) => rule(
            ENGINE,
            "3.4",
            "a binary payload marks each packet with 0 (text) or 1 (binary)",
        ),
    }
}

pub(super) const BINARY_LENGTH: Rule = rule(
    ENGINE,
    "3.4",
    "a length is one byte for each digit, 0 to 9, and ends with ff; it counts bytes that are all there",
);

pub(super) fn socket(error: SocketError) -> Rule {
    match error {
        SocketError::Empty | SocketError::UnknownType => rule(SOCKET, "1", "the first character is a type from 0 to 6"),
        SocketError::ConnectErrorFromClient => rule(SOCKET, "1", "only servers send type 4"),
        SocketError::IllegalAttachments => rule(
            SOCKET,
            "2.1",
            "types 5 and 6 announce one attachment or more (digits and -), and each placeholder names one of them",
        ),
        SocketError::AttachmentNamedTwice => rule(SOCKET, "2.1", "two placeholders never name one attachment"),
        SocketError::TooManyAttachments => rule(SOCKET, "2.1", "a packet has no more attachments than allowed (10)"),
        SocketError::AttachmentsTooLarge => rule(SOCKET, "2.1", "attachments are no larger than allowed"),
        SocketError::NamespaceTooLong => rule(SOCKET, "2", "a namespace is no longer than allowed"),
        SocketError::QueryTooLong => rule(SOCKET, "3.2", "the query of a namespace is no longer than allowed"),
        SocketError::AuthTooLong => rule(SOCKET, "3.1", "the auth of a CONNECT is no longer than allowed"),
        SocketError::IdTooLarge => rule(SOCKET, "2", "an id fits into 64 bits"),
        SocketError::MissingId => rule(
            SOCKET,
            "4",
            "a binary acknowledgement has the id of the event that it answers",
        ),
        SocketError::InvalidPayload => rule(
            SOCKET,
            "2",
            "CONNECT carries an object or nothing, DISCONNECT nothing, an event an array that begins with its name, \
             an acknowledgement an array",
        ),
        SocketError::InvalidJson(error) => json(error),
        SocketError::EventNameTooLong => rule(SOCKET, "4", "the name of an event is no longer than allowed"),
        SocketError::ReservedEvent => rule(
            SOCKET,
            "8.6",
            "connect, connect_error, disconnect and a few more are no event names",
        ),
        SocketError::TextInsteadOfAttachment => rule(SOCKET, "2.1", "attachments follow their packet at once"),
        SocketError::UnexpectedAttachment => rule(
            SOCKET,
            "2.1",
            "a binary message belongs to a packet that has announced it",
        ),
    }
}

fn json(error: JsonError) -> Rule {
    match error {
        JsonError::TooDeep => rule(SOCKET, "9", "JSON is not nested deeper than 128 levels"),
        JsonError::ControlCharacter => rule(SOCKET, "9", "control characters in JSON strings are escaped"),
        _ => rule(SOCKET, "2", "the payload is JSON, and nothing follows it"),
    }
}

pub(super) fn msgpack(error: &PacketError) -> Rule {
    match error {
        PacketError::InvalidNamespace => rule(MSGPACK, "Layout", "`nsp` is the namespace, a string that begins with /"),
        PacketError::MessagePack(_) => rule(
            MSGPACK,
            "Validation by the genuine decoder",
            "one message is one MessagePack map with string keys, complete, and with nothing behind it",
        ),
        _ => rule(
            MSGPACK,
            "Layout",
            "`type` is 0 to 4; `data` is a map for CONNECT, an array for events and acknowledgements",
        ),
    }
}

pub(super) fn packet_09(error: Packet09Error) -> Rule {
    match error {
        Packet09Error::Unparsable => rule(
            V09,
            "4",
            "a packet is TYPE:[ID[+]]:[ENDPOINT][:DATA], with two colons at least",
        ),
        Packet09Error::UnknownType => rule(V09, "4", "TYPE is one digit from 0 to 8"),
        Packet09Error::InvalidJson => rule(V09, "4", "the data of types 4 and 5 is JSON"),
        Packet09Error::NamelessEvent => rule(V09, "4.1", "an event is a JSON object with `name`, and perhaps `args`"),
        Packet09Error::InvalidAck => rule(
            V09,
            "4.3",
            "the data of an acknowledgement is ID, or ID+ and a JSON array",
        ),
    }
}

pub(super) fn payload_09(_: Payload09Error) -> Rule {
    rule(
        V09,
        "5",
        "several packets: each follows U+FFFD, its length in UTF-16 units, and U+FFFD",
    )
}

pub(super) fn handshake_09(_: HandshakeError) -> Rule {
    rule(
        V09,
        "2.2",
        "the answer to a handshake is SID:HEARTBEAT:CLOSE:TRANSPORTS",
    )
}

pub(super) fn framing(error: FramingError) -> Rule {
    match error {
        FramingError::Truncated | FramingError::CutPair => rule(
            V06,
            "2.1",
            "LEN counts UTF-16 units of the body, all of which are there",
        ),
        _ => rule(V06, "2", "a frame is ~m~LEN~m~BODY"),
    }
}

pub(super) const JSON_06: Rule = rule(V06, "2", "what follows ~j~ is one JSON value");

pub(super) fn envelope(_: EnvelopeError) -> Rule {
    rule(
        V06,
        "15",
        "a server sends one object with `messages`, a client an array of messages",
    )
}

pub(super) fn streaming(error: StreamError) -> Rule {
    match error {
        StreamError::InvalidAnnotation => rule(
            STREAMING,
            "2",
            "a message has lines KEY or KEY:VALUE, then a colon and its data",
        ),
        StreamError::MissingComma => rule(STREAMING, "4", "a comma stands behind LEN units of content"),
        _ => rule(
            STREAMING,
            "2",
            "a packet is TYPE:LEN:CONTENT and a comma, with one digit for TYPE",
        ),
    }
}

pub(super) const STREAMING_JSON: Rule = rule(
    STREAMING,
    "6",
    "the data of a message with the annotation j is one JSON value",
);

pub(super) fn frame(error: FrameError) -> Rule {
    let (section, says) = match error {
        FrameError::NotMasked | FrameError::Masked => ("5.1", "clients mask their frames, servers do not"),
        FrameError::FragmentedControl | FrameError::ControlTooLong => (
            "5.5",
            "close, ping and pong have at most 125 bytes, and are not fragmented",
        ),
        FrameError::UnexpectedContinuation | FrameError::ExpectedContinuation | FrameError::TooManyFragments => (
            "5.4",
            "the fragments of a message follow each other: the first one has its opcode, the others are continuations",
        ),
        FrameError::CloseLength | FrameError::CloseReason => (
            "5.5.1",
            "a close frame is empty, or has a status code of two bytes and perhaps a reason in UTF-8",
        ),
        FrameError::CloseCode(_) => (
            "7.4",
            "status codes on the wire are 1000 to 1014 without 1004 to 1006, and 3000 to 4999",
        ),
        FrameError::InvalidUtf8 => ("8.1", "a text message is UTF-8"),
        FrameError::ReservedOpcode(_) => ("5.2", "opcodes are 0, 1, 2, 8, 9 and a"),
        FrameError::ReservedBits => ("5.2", "the reserved bits are 0 unless an extension uses them"),
        _ => (
            "5.2",
            "a length is written in its shortest form, and a frame is no longer than allowed",
        ),
    };
    rule("RFC 6455", section, says)
}

pub(super) fn http(_: HttpError) -> Rule {
    rule("RFC 9112", "", "HTTP/1.1 messages, read strictly")
}

pub(super) const FORM_06: Rule = rule(V06, "5.1", "a POST is a form with one field `data`");
pub(super) const ERROR_BODY: Rule = rule(ENGINE, "4.5", "an error is a JSON object with `code` and `message`");
pub(super) const JSONP_ANSWER: Rule = rule(ENGINE, "4.6", "the answer to a JSONP poll is ___eio[INDEX](STRING);");
