//! `--conformance`: what the official Engine.IO and Socket.IO test suites expect on one port.

use std::time::Duration;

use sio_app::{Ack, Config, Cors, EngineMessage, EngineSocket, Io, Origins, RawArgs, Socket};

pub(crate) fn config() -> Config {
    let mut config = Config::default()
        .ping_interval(Duration::from_millis(300))
        .ping_timeout(Duration::from_millis(200))
        .connect_timeout(Duration::from_millis(1000))
        .max_payload(1_000_000)
        .cors(Cors::any())
        .origins(Origins::Any);
    config.engine_path = Some("/engine.io".to_owned());
    config
}

pub(crate) fn register(io: &Io) {
    io.on_engine(|session: &EngineSocket, message: EngineMessage| {
        let _ = session.send(message);
    });
    for name in ["/", "/custom"] {
        io.of(name)
            .on_connect(async |socket: Socket| {
                let auth = socket
                    .auth::<serde_json::Value>()
                    .unwrap_or_else(|| serde_json::json!({}));
                // The suites listen for one frame at a time. They lose a frame that arrives in one
                // read together with the answer to CONNECT.
                socket.sleep(Duration::from_millis(10)).await;
                let _ = socket.emit("auth", auth);
            })
            .on("message", |socket: Socket, args: RawArgs| {
                let _ = socket.emit("message-back", args);
            })
            .on("message-with-ack", |_: Socket, args: RawArgs, ack: Ack| ack.send(args));
    }
}
