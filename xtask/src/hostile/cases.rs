//! All attacks, in the order of the rows of `docs/hardening.md`.

mod answers;
mod connections;
mod crossing;
mod frames;
mod handlers;
mod kept;
mod messages;
mod packets;
mod requests;
mod rules;
mod scripts;
mod sessions;
mod unread;

pub(super) use messages::join_msgpack;

use super::Case;
use super::rows::{self, Row};
use std::time::Duration;

/// Sessions of the conformance server end 2.5 s after their last heartbeat. Sessions of 0.9 end
/// after 10 s, and sessions of 0.6 after 7 s.
const SOON: Duration = Duration::from_secs(6);
const LATER: Duration = Duration::from_secs(15);

/// How many MiB of the process the allocator may keep after most attacks. It gives pages back to
/// the system only from the end of a heap, so one small value that lives keeps all that is before
/// it. Usual are 1 to 10 MiB.
const KEPT: u64 = 16;

/// As above, after an attack that has had many small values at once (the queues of hundreds of
/// sessions, or large tables), or values of nearly a megabyte: the allocator keeps twice the size
/// of the largest that it has given out, for each of the two threads.
const KEPT_OF_TABLES: u64 = 32;

/// As above, after an attack that has filled all queues: they are 48 MiB together, and there is the
/// allocator's part of each message.
const KEPT_OF_QUEUES: u64 = 56;

/// A case on the conformance server with its usual options.
const fn case(
    row: &'static str,
    name: &'static str,
    what: &'static str,
    settle: Duration,
    attack: fn(&super::Field) -> crate::failure::Outcome,
) -> Case {
    Case {
        name,
        row,
        what,
        options: &[],
        settle,
        attack,
        tables: &[],
        without: None,
        advisories: &[],
        kept: KEPT,
    }
}

/// A case that plays tables of malformed input.
const fn tables(name: &'static str, what: &'static str, tables: &'static [&'static [Row]]) -> Case {
    Case {
        name,
        row: "A20",
        what,
        options: &[],
        settle: LATER,
        attack: rows::attack,
        tables,
        without: None,
        advisories: &[],
        kept: KEPT,
    }
}

/// A case on a server with the rules of an application: the default settings, and a hook that
/// refuses requests.
const fn guarded(
    row: &'static str,
    name: &'static str,
    what: &'static str,
    settle: Duration,
    attack: fn(&super::Field) -> crate::failure::Outcome,
) -> Case {
    Case {
        name,
        row,
        what,
        options: &["--guarded"],
        settle,
        attack,
        tables: &[],
        without: None,
        advisories: &[],
        kept: KEPT,
    }
}

pub(super) const CASES: &[Case] = &[
    guarded(
        "A1",
        "refused-routes",
        "clients that the hook refuses, on every route",
        SOON,
        answers::refused_routes,
    ),
    case(
        "A2",
        "unread-pings",
        "pings whose pongs nobody reads",
        SOON,
        unread::pings,
    ),
    case(
        "A2",
        "unread-probes",
        "probes of an upgrade whose answers nobody reads",
        SOON,
        unread::probes,
    ),
    case(
        "A2",
        "unread-echoes",
        "events whose echoes nobody reads",
        SOON,
        unread::echoes,
    ),
    case(
        "A2",
        "trickling-reader",
        "pings whose pongs are read in sips",
        SOON,
        unread::trickles,
    ),
    case(
        "A2",
        "unread-replies",
        "heartbeats and refusals that the server answers by itself, unread",
        LATER,
        unread::replies,
    ),
    case(
        "A2",
        "unfetched-replies",
        "the same in POSTs, and no GET",
        SOON,
        unread::polled_replies,
    )
    .keeping(KEPT_OF_QUEUES),
    case(
        "A2",
        "unread-responses",
        "pipelined requests whose responses nobody reads",
        SOON,
        unread::responses,
    ),
    case(
        "A3",
        "placeholders-17",
        "17 placeholders of one attachment",
        LATER,
        messages::placeholders_17,
    ),
    case(
        "A3",
        "placeholders-800",
        "800 placeholders of one attachment",
        LATER,
        messages::placeholders_800,
    ),
    case(
        "A3",
        "placeholders-15000",
        "15,000 placeholders of one attachment",
        LATER,
        messages::placeholders_15000,
    ),
    case(
        "A3",
        "placeholders-msgpack",
        "800 placeholders that arrive as MessagePack",
        SOON,
        messages::placeholders_msgpack,
    ),
    guarded(
        "A4",
        "stolen-secrets",
        "the secret of a websocket of 0.9 or 0.6 that lives, used from another address",
        LATER,
        answers::stolen_secrets,
    ),
    case(
        "A5",
        "connects-engine3",
        "CONNECTs with a query of 8 KB, Engine.IO 3",
        SOON,
        sessions::connects_engine3,
    ),
    case(
        "A5",
        "connects-09",
        "CONNECTs with a query of 8 KB, 0.9",
        LATER,
        sessions::connects_09,
    ),
    guarded(
        "A6",
        "silent-scripts",
        "scripts that do not say where they come from",
        LATER,
        answers::silent_scripts,
    ),
    guarded(
        "A7",
        "handshakes",
        "handshakes of one address, pipelined",
        SOON,
        sessions::handshakes,
    ),
    guarded(
        "A7",
        "large-handshakes",
        "handshakes of one address whose heads are large",
        SOON,
        sessions::large_handshakes,
    )
    .keeping(KEPT_OF_TABLES),
    guarded(
        "A7",
        "handshakes-09",
        "handshakes of 0.9 of one address, pipelined",
        LATER,
        sessions::handshakes_09,
    )
    .keeping(KEPT_OF_TABLES),
    case(
        "A8",
        "blind-pongs",
        "websockets that answer heartbeats without reading them",
        SOON,
        unread::blind_pongs,
    )
    .keeping(KEPT_OF_QUEUES),
    case(
        "A8",
        "blind-posts",
        "polling sessions that only POST",
        SOON,
        unread::blind_posts,
    )
    .keeping(KEPT_OF_TABLES),
    case(
        "A8",
        "blind-heartbeats-09",
        "the same on websockets of 0.9",
        LATER,
        unread::blind_09,
    )
    .keeping(KEPT_OF_QUEUES),
    case(
        "A8",
        "blind-heartbeats-06",
        "the same on websockets of 0.6",
        LATER,
        unread::blind_06,
    ),
    case(
        "A10",
        "middlewares",
        "CONNECT and DISCONNECT in turn, to a slow middleware",
        SOON,
        handlers::middlewares,
    ),
    case(
        "A10",
        "gone-handlers",
        "handlers that wait for sockets that have gone",
        LATER,
        handlers::gone,
    )
    .keeping(KEPT_OF_TABLES),
    case(
        "A15",
        "casts",
        "few bytes that are sent on to hundreds",
        SOON,
        handlers::casts,
    )
    .keeping(KEPT_OF_TABLES),
    case(
        "A11",
        "missing-bodies",
        "small heads of POSTs whose bodies do not come",
        SOON,
        kept::bodies,
    ),
    case(
        "A11",
        "missing-attachments",
        "small packets whose attachments do not come",
        LATER,
        kept::attachments,
    ),
    case(
        "A11",
        "waiting-arguments",
        "small arguments of handlers that wait",
        LATER,
        kept::arguments,
    ),
    case(
        "A12",
        "frames-in-texts",
        "a text that looks like a frame of 0.6",
        LATER,
        answers::frames_in_texts,
    ),
    guarded(
        "A13",
        "foreign-hosts",
        "pages whose name points to this server",
        SOON,
        answers::foreign_hosts,
    ),
    case(
        "A14",
        "room-names",
        "rooms whose names are nearly a megabyte",
        SOON,
        kept::rooms,
    )
    .keeping(KEPT_OF_TABLES),
    case(
        "A14",
        "large-auth",
        "authentication data of a megabyte, as MessagePack",
        SOON,
        kept::auth,
    )
    .keeping(KEPT_OF_TABLES),
    case(
        "A15",
        "ampersands",
        "queries of 8 KB that are all separators",
        SOON,
        sessions::ampersands,
    ),
    case(
        "A17",
        "malformed-posts",
        "malformed POSTs, and nothing after them",
        SOON,
        sessions::malformed_posts,
    ),
    case(
        "A18",
        "pattern-names",
        "namespaces of a pattern, one after the other",
        SOON,
        sessions::pattern_names,
    ),
    case(
        "A14",
        "half-heads",
        "heads that come byte by byte",
        LATER,
        connections::half_heads,
    ),
    case(
        "A14",
        "half-frames",
        "frames that do not end",
        SOON,
        connections::half_frames,
    ),
    case(
        "A14",
        "half-bodies",
        "bodies of a megabyte whose end does not come",
        SOON,
        connections::half_bodies,
    ),
    case(
        "A14",
        "half-messages",
        "messages of a megabyte whose end does not come",
        SOON,
        connections::half_messages,
    ),
    case(
        "A7",
        "idle-connections",
        "connections that say nothing",
        SOON,
        connections::idle,
    ),
    case(
        "A7",
        "passing-connections",
        "connections that come and go",
        SOON,
        connections::passing,
    ),
    tables(
        "requests",
        "requests that are too large, or that can be read in two ways, with a request behind them",
        &[requests::OVERSIZE, requests::SMUGGLING],
    )
    .without("axum", "hyper reads the requests, by rules of its own"),
    tables(
        "routes",
        "requests that no client sends, and header fields in them",
        &[requests::ROUTES],
    ),
    tables(
        "frames",
        "frames of websockets that are forbidden, too large, or unusual and right",
        &[frames::VIOLATIONS, frames::UNUSUAL],
    ),
    tables(
        "packets",
        "packets of 1.x to 4.x that no client sends, and packets before CONNECT",
        &[packets::PACKETS, packets::ENGINE],
    ),
    tables("packets-09", "the same of 0.7 to 0.9", &[packets::COLONS]),
    tables("packets-06", "the same of 0.6", &[packets::TILDES]),
    tables("packets-msgpack", "the same in MessagePack", &[packets::MESSAGE_PACK]),
    case(
        "A4",
        "stolen-ids",
        "public and secret ids of clients of 1.x to 4.x, used from another address",
        SOON,
        crossing::stolen_ids,
    ),
    case(
        "A4",
        "guessed-ids",
        "ids that differ from a known one in one character",
        LATER,
        crossing::guessed_ids,
    )
    .from(&["CVE-2017-16031"]),
    guarded(
        "A6",
        "foreign-origins",
        "pages of other sites that ask for this server by its right name",
        SOON,
        answers::foreign_origins,
    )
    .from(&["CVE-2020-28481"]),
    case(
        "A6",
        "scripts",
        "callbacks that are scripts, and messages that end the script in which they are answered",
        LATER,
        scripts::all,
    ),
    guarded(
        "A9",
        "values",
        "values that ask the server when they are dropped",
        SOON,
        rules::values,
    ),
    case(
        "A16",
        "answered-questions",
        "questions of the server that are answered",
        SOON,
        rules::questions,
    ),
    guarded(
        "A16",
        "starred-names",
        "names that nearly match a pattern with many stars",
        LATER,
        rules::starred,
    ),
    case(
        "A16",
        "varying-answers",
        "pages that may read answers and pages that may not, behind one cache",
        LATER,
        answers::varying,
    ),
    guarded(
        "A18",
        "locked-names",
        "names under a pattern that refuses, used by the application itself",
        LATER,
        rules::locked,
    ),
    case(
        "A20",
        "second-requests",
        "a second GET or POST on a session",
        LATER,
        crossing::second_requests,
    ),
    case(
        "A20",
        "second-websockets",
        "a second websocket on a session",
        SOON,
        crossing::second_websockets,
    ),
    case(
        "A20",
        "endless-upgrades",
        "sessions in an upgrade that never ends",
        SOON,
        crossing::endless_upgrades,
    ),
    case(
        "A20",
        "aborted-upgrades",
        "upgrades whose connection is reset",
        SOON,
        crossing::aborted_upgrades,
    )
    .from(&["CVE-2022-41940"]),
    case(
        "A20",
        "early-frames",
        "a forbidden frame in the write of the handshake",
        SOON,
        crossing::early_frames,
    )
    .from(&["CVE-2022-21676"]),
];
