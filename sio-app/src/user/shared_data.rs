//! What other nodes see of a socket.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytestring::ByteString;
use serde::Serialize;
use sio_proto::http::Date;
use sio_proto::server::Handshake;

use crate::args::ArgsError;
use crate::turn::socket::SocketCell;
use crate::user::socket::Socket;

/// The data of a socket that other nodes see, as JSON.
struct SharedData(ByteString);

/// Sets the data that other nodes see beside a socket that is away.
#[cfg(feature = "redis")]
pub(super) fn set_shared_json(socket: &SocketCell, json: ByteString) {
    if let Some(values) = socket.data(true) {
        let _ = values.replace(Arc::new(SharedData(json)), |_| true);
    }
}

/// What other nodes see.
impl Socket {
    /// Sets the data that other nodes see beside this socket: `socket.data` of JavaScript. It
    /// replaces earlier data. Without a call, other nodes see `{}`.
    ///
    /// [`Socket::set_data`] keeps values by their types, which no other node knows. This data is
    /// JSON. It is sent to each node that asks for the socket
    /// ([`Emitter::fetch_sockets`](crate::Emitter::fetch_sockets)), so keep it small, and keep
    /// secrets out of it.
    ///
    /// ```
    /// # use sio_app::{Io, Socket};
    /// # fn register(io: &Io) {
    /// io.of("/").on("name", |socket: Socket, name: String| {
    ///     socket.set_shared_data(serde_json::json!({ "name": name }))
    /// });
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the data cannot be written as JSON.
    pub fn set_shared_data(&self, data: impl Serialize) -> Result<(), ArgsError> {
        let json = serde_json::to_string(&data).map_err(ArgsError::new)?;
        self.set_data(SharedData(json.into()));
        self.0.tell_record();
        Ok(())
    }

    /// Returns the data that other nodes see beside this socket, as JSON.
    #[must_use]
    pub fn shared_data_json(&self) -> ByteString {
        let data = self.data::<SharedData>();
        data.map_or_else(|| ByteString::from_static("{}"), |data| data.0.clone())
    }
}

/// The handshake as genuine nodes write it, without its last field, `auth`.
#[derive(Serialize)]
struct Written<'a> {
    headers: BTreeMap<String, Cow<'a, str>>,
    time: String,
    address: String,
    xdomain: bool,
    secure: bool,
    /// Milliseconds since the beginning of the year 1970.
    issued: u64,
    url: &'a str,
    query: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

/// Returns the handshake of a socket as a JSON object, with the fields of genuine nodes. It
/// contains the headers of the request, and what the client has sent as `auth`.
pub(super) fn handshake_json(socket: &Arc<SocketCell>) -> ByteString {
    let handshake = socket.handshake();
    let unix_time = handshake.unix_time().unwrap_or(0);
    let written = Written {
        headers: headers(handshake),
        time: javascript_date(unix_time),
        address: handshake
            .peer()
            .address
            .map_or_else(String::new, |peer| peer.ip().to_string()),
        xdomain: handshake.xdomain(),
        secure: handshake.peer().secure,
        issued: unix_time.saturating_mul(1000),
        url: handshake.target(),
        query: handshake.query_pairs().collect(),
    };
    // Texts and numbers can always be written.
    let mut json = serde_json::to_string(&written).unwrap_or_else(|_| "{}".to_owned());
    json.pop();
    // What the client has sent is JSON already.
    json.push_str(",\"auth\":");
    json.push_str(socket.auth_json().unwrap_or("{}"));
    json.push('}');
    json.into()
}

/// Returns the headers as Node has them: names in lower case, and the values of one name joined.
fn headers(handshake: &Handshake) -> BTreeMap<String, Cow<'_, str>> {
    let mut headers = BTreeMap::<String, Cow<'_, str>>::new();
    for (name, value) in handshake.headers() {
        let name = name.to_ascii_lowercase();
        let joint = if name == "cookie" { "; " } else { ", " };
        match headers.get_mut(&name) {
            Some(known) => *known = Cow::Owned([&**known, joint, value].concat()),
            None => drop(headers.insert(name, Cow::Borrowed(value))),
        }
    }
    headers
}

/// Returns a time as JavaScript writes a `Date` in UTC.
fn javascript_date(unix_time: u64) -> String {
    let date = Date::from_unix(unix_time);
    // `Sun, 06 Nov 1994 08:49:37 GMT`
    match date
        .as_str()
        .split([',', ' '])
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()[..]
    {
        [weekday, day, month, year, time, _] => {
            format!("{weekday} {month} {day} {year} {time} GMT+0000 (Coordinated Universal Time)")
        }
        _ => date.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Driven, server};

    /// The nine fields of a genuine node's handshake are there, in their order.
    #[test]
    fn a_handshake_is_written_as_genuine_nodes_write_it() {
        let io = server(1);
        let _client = Driven::connected(&io);
        let json = handshake_json(&io.sockets()[0].0);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["headers"]["host"], "x");
        assert_eq!(
            value["time"],
            "Sun Nov 06 1994 08:49:37 GMT+0000 (Coordinated Universal Time)"
        );
        assert_eq!(value["issued"], 784_111_777_000_u64);
        assert_eq!(value["url"], "/socket.io/?EIO=4&transport=websocket");
        assert_eq!(value["query"]["EIO"], "4");
        assert_eq!(value["auth"], serde_json::json!({}));
        assert_eq!((&value["xdomain"], &value["secure"]), (&false.into(), &false.into()));
        let names = [
            "headers", "time", "address", "xdomain", "secure", "issued", "url", "query", "auth",
        ];
        let places = names.map(|name| json.find(&format!("\"{name}\":")).unwrap());
        assert!(places.is_sorted(), "{json}");
    }

    #[test]
    fn data_for_other_nodes_is_json() {
        let io = server(1);
        let _client = Driven::connected(&io);
        let socket = &io.sockets()[0];
        assert_eq!(&*socket.shared_data_json(), "{}");
        socket.set_shared_data(("a", 1)).unwrap();
        assert_eq!(&*socket.shared_data_json(), r#"["a",1]"#);
    }
}
