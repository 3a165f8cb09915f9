//! `--bench`: the events of the load generator. Nothing is logged, and arguments are forwarded as
//! they came.

use std::time::Duration;

use sio_app::{Ack, Binary, Config, Generations, Io, Raw, RawArgs, RecoveryConfig, Socket};

pub(crate) fn config() -> Config {
    Config::default()
        .ping_interval(Duration::from_secs(25))
        .ping_timeout(Duration::from_secs(20))
        .generations(Generations::modern())
        // A load generator opens all its connections from one address.
        .max_sessions_per_address(usize::MAX)
        .max_kept_bytes_per_address(usize::MAX)
}

/// `--recovery`. All its clients come from one address.
pub(crate) fn recovery() -> RecoveryConfig {
    RecoveryConfig::default().max_away_per_address(usize::MAX)
}

pub(crate) fn register(io: &Io) {
    io.of("/")
        .on("echo", |socket: Socket, args: RawArgs, ack: Ack| {
            if ack.is_wanted() {
                ack.send(args);
            } else {
                // If a client does not take its echo, its queue is full, and it loses only its own
                // events.
                let _ = socket.emit("echo", args);
            }
        })
        .on("bin", |socket: Socket, bytes: Binary| {
            let _ = socket.emit("bin", bytes);
        })
        .on("cast", |socket: Socket, args: RawArgs| {
            if let Some(io) = socket.io() {
                io.emit("cast", args);
            }
        })
        .on("join", |socket: Socket, room: String| {
            let _ = socket.join(room);
        })
        .on("room", |socket: Socket, (room, data): (String, Raw)| {
            if let Some(io) = socket.io() {
                io.to(room).emit("room", data);
            }
        });
}
