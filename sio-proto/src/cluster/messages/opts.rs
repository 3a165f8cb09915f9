//! `opts`: for which sockets a message is, and how it is sent.

use core::time::Duration;

use super::Malformed;
use super::raw::{Raw, Values};
use super::writer::{Writer, members};
use crate::cluster::order::{Emit, Flags, Target};
use crate::socket::is_reserved_event;

/// The members of `opts` and their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// `rooms`, `except`: requests of the classic adapter.
    Bare,
    /// `rooms`, `except`, `flags`: all others.
    WithFlags,
    /// `rooms`, `flags`, `except`: broadcasts of the emitter.
    Emitter,
}

pub(super) fn write(out: &mut Writer, to: &Target, flags: Flags, members: Members) {
    out.key("opts");
    write_value(out, to, flags, members);
}

pub(super) fn write_value(out: &mut Writer, to: &Target, flags: Flags, members: Members) {
    out.object(if members == Members::Bare { 2 } else { 3 });
    out.key("rooms").names(&to.rooms);
    if members == Members::Emitter {
        write_flags(out, flags);
    }
    out.key("except").names(&to.except);
    if members == Members::WithFlags {
        write_flags(out, flags);
    }
    out.end_object();
}

fn write_flags(out: &mut Writer, flags: Flags) {
    let optional = [flags.volatile, !flags.compress, flags.timeout.is_some()];
    out.key("flags").object(members(0, optional));
    if flags.volatile {
        out.key("volatile").boolean(true);
    }
    if !flags.compress {
        out.key("compress").boolean(false);
    }
    if let Some(timeout) = flags.timeout {
        let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        out.key("timeout").number(milliseconds);
    }
    out.end_object();
}

/// Reads `opts`. Rooms, exceptions and flags may be missing, as in messages of old nodes.
pub(super) fn read<'a>(values: &mut Values<'a>, opts: Option<Raw<'a>>) -> Result<(Target, Flags), Malformed> {
    let opts = opts.ok_or(Malformed::Missing("opts"))?;
    let [rooms, except, flags] = opts.members(["rooms", "except", "flags"])?;
    let to = Target {
        rooms: values.names(rooms)?,
        except: values.names(except)?,
    };
    let Some(flags) = flags else {
        return Ok((to, Flags::default()));
    };
    let [volatile, compress, timeout] = flags.members(["volatile", "compress", "timeout"])?;
    let flags = Flags {
        volatile: volatile.and_then(Raw::boolean).unwrap_or(false),
        compress: compress.and_then(Raw::boolean).unwrap_or(true),
        timeout: timeout.and_then(Raw::number).map(Duration::from_millis),
    };
    Ok((to, flags))
}

/// Writes the packet of a broadcast. `namespace` is its last member, where it has one.
pub(super) fn write_packet(out: &mut Writer, emit: &Emit, namespace: Option<&str>) {
    out.object(members(2, [namespace.is_some()]));
    out.key("type").number(2);
    out.key("data").event(emit);
    if let Some(namespace) = namespace {
        out.key("nsp").text(namespace);
    }
    out.end_object();
}

/// Reads the packet of a broadcast and the namespace in it. Its type is 2, or 5 in messages of
/// `socket.io-redis` 5 and before whose arguments have bytes.
pub(super) fn read_packet<'a>(
    values: &Values<'a>,
    packet: Option<Raw<'a>>,
) -> Result<(Emit, Option<Raw<'a>>), Malformed> {
    let packet = packet.ok_or(Malformed::Missing("packet"))?;
    let [kind, data, namespace] = packet.members(["type", "data", "nsp"])?;
    match kind.and_then(Raw::number) {
        Some(2 | 5) => {}
        Some(other) => return Err(Malformed::UnknownType(other)),
        None => return Err(Malformed::Missing("packet.type")),
    }
    let (name, args) = values.event(data.ok_or(Malformed::Missing("packet.data"))?)?;
    if is_reserved_event(&name) {
        return Err(Malformed::ReservedName);
    }
    Ok((Emit { name, args }, namespace))
}
