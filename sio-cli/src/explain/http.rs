//! Requests and responses, and the payloads in their bodies.

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use sio_proto::ByteString;
use sio_proto::detect::{EngineIo, EngineVersion, Legacy06, Legacy09, RequestHead, Route, detect};
use sio_proto::engine::jsonp;
use sio_proto::http::{Event, HttpError, Limits, Method, Request, RequestDecoder, Response, ResponseDecoder};
use sio_proto::legacy::transports;

use super::conversation::Conversation;
use super::form::{Form, guess};
use super::rules;
use super::sheet::{Sheet, VALUE, count, shown};

/// The path under which servers are mounted.
pub(super) const PREFIX: &str = "/socket.io";

/// The header fields that decide something.
const FIELDS: &[(&str, &str)] = &[
    ("host", "the server that the client means"),
    ("origin", "the page that asks"),
    ("upgrade", "the protocol that the connection changes to"),
    ("connection", "what becomes of the connection"),
    ("content-type", "what the body is"),
    ("content-length", "how long the body is"),
    ("transfer-encoding", "how the body is cut"),
    ("content-encoding", "how the body is compressed"),
    ("sec-websocket-version", "the version of WebSocket"),
    ("sec-websocket-extensions", "compression, if it is agreed on"),
    ("sec-websocket-accept", "the answer to the key of the client"),
    ("access-control-allow-origin", "the pages that may read the answer"),
    ("access-control-allow-credentials", "whether pages may send cookies"),
    ("location", "where the client should ask instead"),
    ("retry-after", "how long the client should stay away"),
];

const LIMITS: Limits = Limits::DEFAULT.max_body_bytes(256 << 20).max_head_bytes(1 << 20);

/// Explains a request, a response, or the body of one.
pub(super) fn message(sheet: &mut Sheet, input: &Bytes, talk: &mut Conversation) {
    if input.starts_with(b"HTTP/") {
        return response(sheet, input, talk);
    }
    if input.starts_with(b"{") {
        return error_body(sheet, input);
    }
    if input.starts_with(b"___eio[") {
        return script(sheet, input, talk);
    }
    request(sheet, input, talk);
}

fn request(sheet: &mut Sheet, input: &Bytes, talk: &mut Conversation) {
    let mut bytes = BytesMut::from(&input[..]);
    let mut decoder = RequestDecoder::new();
    loop {
        match decoder.decode(&mut bytes, &LIMITS) {
            Ok(Some(Event::Request(request))) => {
                say_request(sheet, &request, talk);
                break;
            }
            Ok(Some(_)) => {}
            Ok(None) => match decoder.take_started() {
                Some(request) => {
                    say_request(sheet, &request, talk);
                    sheet.note("the body is not complete");
                    return;
                }
                None => return incomplete(sheet, input),
            },
            Err(error) => return broken(sheet, input, error),
        }
    }
    let left = bytes.len();
    if left > 0 {
        let at = input.len() - left;
        sheet.bytes(at, &input[at..], format!("{} behind the request", count(left, "byte")));
    }
}

fn incomplete(sheet: &mut Sheet, input: &Bytes) {
    sheet.part(
        0,
        &first_line(input),
        "the beginning of a message whose head or body is not complete",
    );
}

fn broken(sheet: &mut Sheet, input: &Bytes, error: HttpError) {
    sheet.part(0, &first_line(input), "the first line");
    sheet.problem(None, &error, rules::http(error));
}

fn first_line(input: &[u8]) -> String {
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).trim_end().to_owned()
}

fn say_request(sheet: &mut Sheet, request: &Request, talk: &mut Conversation) {
    let method = request.method.name().unwrap_or("?");
    let upgrade = request.is_upgrade("websocket");
    let version = request.headers.text("sec-websocket-version");
    let head = RequestHead {
        method,
        target: &request.target,
        upgrade,
        websocket_version: version.as_deref(),
        websocket_key: request.headers.get("sec-websocket-key").is_some(),
        websocket_key_pair: request.headers.get("sec-websocket-key1").is_some()
            && request.headers.get("sec-websocket-key2").is_some(),
    };
    let route = detect(PREFIX, &head);
    sheet.part(0, method, method_meaning(&request.method));
    sheet.part(method.len() + 1, &request.target, of_route(&route, method));
    fields(sheet, |name| request.headers.text(name).map(|value| value.into_owned()));
    match &request.body {
        Ok(body) if body.is_empty() => {}
        Ok(body) => {
            sheet.note(format!("the body, {}:", count(body.len(), "byte")));
            let binary = request.is_content_type("application/octet-stream");
            sheet.inside(None, |sheet| request_body(sheet, &route, body, binary, talk));
        }
        Err(_) => sheet.note("the body is too large to be read"),
    }
}

fn method_meaning(method: &Method) -> &'static str {
    match method {
        Method::Get => "the client opens a session, or asks for packets",
        Method::Post => "the client sends packets",
        Method::Options => "a browser asks whether a page of another origin may send the request",
        _ => "no method of these protocols",
    }
}

fn fields(sheet: &mut Sheet, value: impl Fn(&str) -> Option<String>) {
    for (name, meaning) in FIELDS {
        if let Some(value) = value(name) {
            sheet.note(format!("{name}: {} ({meaning})", shown(&value, 60)));
        }
    }
    for name in ["cookie", "set-cookie", "authorization"] {
        if let Some(value) = value(name) {
            let names = value.split(';').next().unwrap_or_default();
            let name_only = names.split(['=', ' ']).next().unwrap_or_default();
            sheet.note(format!(
                "{name}: {}=… (not shown: it may be a secret)",
                shown(name_only, 30)
            ));
        }
    }
}

/// The generation and the transport of a request, in words.
fn of_route(route: &Route, method: &str) -> String {
    match route {
        Route::EngineIo(engine) => of_engine(engine, method),
        Route::Legacy09(Legacy09::Handshake { .. }) => "the handshake of Socket.IO 0.7 to 0.9".into(),
        Route::Legacy09(Legacy09::Transport { transport, .. }) => {
            format!("Socket.IO 0.7 to 0.9 over {}, for an open session", transport.name())
        }
        Route::Legacy09(Legacy09::Disconnect { .. }) => "Socket.IO 0.7 to 0.9: the client ends a session".into(),
        Route::Legacy09(Legacy09::Preflight) => "Socket.IO 0.7 to 0.9: a preflight of CORS".into(),
        Route::Legacy09(Legacy09::Malformed) => "malformed for Socket.IO 0.7 to 0.9, answered with 400".into(),
        Route::Legacy06(Legacy06 { transport, session, .. }) => {
            let session = if session.is_some() {
                "for an open session"
            } else {
                "a new session"
            };
            format!("Socket.IO 0.3 to 0.6 over {}, {session}", transport.name())
        }
        Route::Static(_) => "a script of the client".into(),
        Route::NotAProtocolRequest => "the path of Socket.IO without a transport".into(),
        Route::UnknownProtocol => "an unknown revision of Socket.IO 0.x".into(),
        Route::Foreign => "not a path of Socket.IO (its usual path is /socket.io/)".into(),
    }
}

fn of_engine(engine: &EngineIo, method: &str) -> String {
    let version = match engine.version {
        EngineVersion::V4 => "Engine.IO 4 (Socket.IO 3 and 4)",
        EngineVersion::V3 => "Engine.IO 3 (Socket.IO 1 and 2)",
        EngineVersion::V2 => "Engine.IO 2 (Socket.IO 1.0)",
        EngineVersion::Ancient => "Engine.IO without a version, which servers refuse",
        EngineVersion::Unsupported => "an unsupported version of Engine.IO",
    };
    let what = match (engine.sid.is_some(), engine.upgrade.is_some(), method) {
        (false, false, _) => "handshake",
        (false, true, _) => "handshake on a websocket",
        (true, true, _) => "upgrade of an open session",
        (true, false, "POST") => "packets for an open session",
        (true, false, _) => "poll of an open session",
    };
    let jsonp = if engine.jsonp.is_some() { ", JSONP" } else { "" };
    format!("{version}: {what} (transport {}{jsonp})", name(engine))
}

const fn name(engine: &EngineIo) -> &'static str {
    use sio_proto::detect::EngineTransport;
    match engine.transport {
        EngineTransport::Polling => "polling",
        EngineTransport::Websocket => "websocket",
        EngineTransport::Webtransport => "webtransport",
        EngineTransport::Flashsocket => "flashsocket",
        EngineTransport::Unknown => "unknown",
    }
}

fn request_body(sheet: &mut Sheet, route: &Route, body: &Bytes, binary: bool, talk: &mut Conversation) {
    let form = match route {
        Route::EngineIo(engine) if engine.jsonp.is_some() => {
            return match jsonp::decode_post(body) {
                Some(payload) => super::explain(sheet, Form::Eio3Payload, &payload.into_bytes(), talk),
                None => sheet.problem(0, &"no form with one field d", rules::JSONP),
            };
        }
        Route::EngineIo(engine) if engine.version == EngineVersion::V4 => Form::Eio4Payload,
        Route::EngineIo(_) => Form::Eio3Payload,
        Route::Legacy09(_) => Form::V09Payload,
        Route::Legacy06(_) => {
            return match transports::read_data_form(body) {
                Ok(data) => unknown(sheet, &data.into_bytes(), talk),
                Err(error) => sheet.problem(0, &error, rules::FORM_06),
            };
        }
        _ => return unknown(sheet, body, talk),
    };
    if form == Form::Eio3Payload && binary {
        return super::engine::binary_payload_3(sheet, body, talk);
    }
    super::explain(sheet, form, body, talk);
}

/// Explains a body whose form nothing tells.
fn unknown(sheet: &mut Sheet, body: &Bytes, talk: &mut Conversation) {
    match guess(body) {
        // A body is no message inside of a message.
        Some((Form::Http | Form::File, _)) if !body.starts_with(b"{") && !body.starts_with(b"___eio[") => {
            sheet.part(0, &first_line(body), "text");
        }
        Some((Form::Http, _)) => message(sheet, body, talk),
        Some((form, why)) => {
            sheet.note(format!("{}: {why}", form.title()));
            super::explain(sheet, form, body, talk);
        }
        None => sheet.part(0, &first_line(body), "no packet: a text or a page"),
    }
}

fn response(sheet: &mut Sheet, input: &Bytes, talk: &mut Conversation) {
    let mut bytes = BytesMut::from(&input[..]);
    let mut decoder = ResponseDecoder::new();
    let decoded = match decoder.decode(Method::Get, &mut bytes, &LIMITS) {
        Ok(None) => decoder.decode_end(&bytes),
        other => other,
    };
    match decoded {
        Ok(Some(response)) => say_response(sheet, &response, talk),
        Ok(None) | Err(HttpError::Truncated) => incomplete(sheet, input),
        Err(error) => return broken(sheet, input, error),
    }
    let left = bytes.len();
    if left > 0 {
        let at = input.len() - left;
        sheet.bytes(at, &input[at..], format!("{} behind the response", count(left, "byte")));
    }
}

fn say_response(sheet: &mut Sheet, response: &Response, talk: &mut Conversation) {
    let line = format!("{} {}", response.status, response.reason);
    sheet.part(9, &line, status(response.status));
    fields(sheet, |name| {
        response.headers.text(name).map(|value| value.into_owned())
    });
    if response.body.is_empty() {
        return;
    }
    sheet.note(format!("the body, {}:", count(response.body.len(), "byte")));
    let is_html = response.headers.has_token("content-type", "text/html") && response.body.starts_with(b"<");
    sheet.inside(None, |sheet| match response.status {
        _ if is_html => sheet.part(
            0,
            &first_line(&response.body),
            "an HTML page: no server of Socket.IO answers so",
        ),
        200 if &response.body[..] == b"ok" => sheet.part(0, "ok", "the server has taken the packets"),
        200 if &response.body[..] == b"1" => sheet.part(0, "1", "the server has taken the packets (0.7 to 0.9)"),
        _ => unknown(sheet, &response.body, talk),
    });
}

const fn status(status: u16) -> &'static str {
    match status {
        101 => "the connection is a websocket from now on",
        200 => "the server answers",
        204 => "the preflight is answered",
        301 | 302 | 303 | 307 | 308 => "the server sends the client somewhere else",
        400 => "the server refuses the request; the body says why",
        401 | 403 | 407 => "the server, or a proxy, does not let the client in",
        404 => "nobody serves this path",
        413 => "the body is larger than maxPayload",
        426 => "the server wants a websocket",
        429 | 503 => "the server is full, or ends; the client may come again later",
        502 | 504 => "a proxy does not reach the server",
        _ => "",
    }
}

/// The body of an error of Engine.IO: `{"code":1,"message":"Session ID unknown"}`.
fn error_body(sheet: &mut Sheet, input: &Bytes) {
    let text = ByteString::try_from(input.clone()).unwrap_or_default();
    let Ok(Value::Object(fields)) = serde_json::from_str(&text) else {
        sheet.part(0, &text, "no JSON object");
        return sheet.problem(0, &"the input is no JSON object", rules::ERROR_BODY);
    };
    if let Some(code) = fields.get("code").and_then(Value::as_u64) {
        let meaning = match code {
            0 => "the transport is not known or not served",
            1 => "the session is not known: it has ended, or it lives in another process (sticky sessions!)",
            2 => "a handshake is a GET",
            3 => "the request is malformed, for example by its method or its origin",
            4 => "the application does not allow the request",
            5 => "the server does not speak this version of Engine.IO",
            _ => "a code that servers of Engine.IO do not use",
        };
        sheet.part(0, &format!("code {code}"), meaning);
    }
    if let Some(message) = fields.get("message").and_then(Value::as_str) {
        sheet.part(0, &shown(message, VALUE), "the message of the server");
    }
    if !fields.contains_key("code") {
        sheet.part(0, &text, "a JSON object without `code`: no error of Engine.IO");
    }
}

/// The answer to a poll of JSONP: `___eio[0]("…");`.
fn script(sheet: &mut Sheet, input: &Bytes, talk: &mut Conversation) {
    let text = String::from_utf8_lossy(input).into_owned();
    let index = text.trim_start_matches("___eio[").split(']').next().unwrap_or_default();
    sheet.part(
        0,
        &format!("___eio[{index}]"),
        format!("a script for the JSONP poll {}", shown(index, 20)),
    );
    let start = text.find('(').map_or(text.len(), |at| at + 1);
    let end = text.rfind(')').unwrap_or(text.len());
    let Some(Ok(payload)) = text.get(start..end).map(serde_json::from_str::<String>) else {
        return sheet.problem(start, &"no string between the parentheses", rules::JSONP_ANSWER);
    };
    let payload = ByteString::from(payload);
    sheet.inside(None, |sheet| {
        super::explain(sheet, Form::Eio3Payload, &payload.into_bytes(), talk)
    });
}
