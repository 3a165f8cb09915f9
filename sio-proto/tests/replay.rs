//! The clients of recordings talk to our server. Our server's bytes are compared, byte by byte,
//! with the bytes of the recorded server.
//!
//! Every difference is listed with its reason in `captures/differences.txt`, and every listed
//! difference occurs. docs/captures.md says how to read this list and how to extend it.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod replay {
    pub mod application;
    pub mod capture;
    pub mod differences;
    pub mod player;
    pub mod said;
    pub mod stage;
}

use replay::capture::Capture;
use replay::differences::{Difference, List};

macro_rules! captures {
    ($($test:ident: $name:literal,)*) => {
        const NAMES: &[&str] = &[$($name),*];
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*
    };
}

captures! {
    v4_polling: "4.8.4-polling",
    v4_upgrade: "4.8.4-upgrade",
    v4_websocket: "4.8.4-websocket",
    v3_polling: "3.1.2-polling",
    v3_upgrade: "3.1.2-upgrade",
    v3_websocket: "3.1.2-websocket",
    lifecycle: "lifecycle-4.8.4",
    heartbeat_polling: "heartbeat-4.8.4-polling",
    heartbeat_websocket: "heartbeat-4.8.4-websocket",
    http_errors: "http-errors-4.8.4",
    http_features: "http-features-4.8.4",
    payloads: "payloads-4.8.4",
    malformed: "malformed-4.8.4",
    upgrade_races: "upgrade-races-4.8.4",
    acks: "acks-4.8.4-websocket",
    retries: "retries-4.8.4-websocket",
    v2_refused_polling: "cross-server4.8.4-noEIO3-client2.5.0-polling",
    v2_refused_websocket: "cross-server4.8.4-noEIO3-client2.5.0-websocket",
    v2_polling: "2.5.1-polling",
    v2_upgrade: "2.5.1-upgrade",
    v2_websocket: "2.5.1-websocket",
    v1_polling: "1.7.4-polling",
    v1_upgrade: "1.7.4-upgrade",
    v1_websocket: "1.7.4-websocket",
    v2_payloads: "payloads-2.5.1",
    v1_payloads: "payloads-1.7.4",
    v1_malformed: "malformed-1.7.4",
    v1_http_errors: "http-errors-1.7.4",
    v2_http_errors: "http-errors-2.5.1",
    v2_heartbeat_polling: "heartbeat-2.5.1-polling",
    v2_heartbeat_websocket: "heartbeat-2.5.1-websocket",
    v2_upgrade_races: "upgrade-races-2.5.1",
    v1_server_v2_client: "cross-server1.7.4-client2.5.0-polling",
    v2_server_v1_client: "cross-server2.5.1-client1.7.4-polling",
    v2_server_v4_client: "cross-server2.5.1-client4.8.4-polling",
    v3_server_v2_client: "cross-server3.1.2-allowEIO3-client2.5.0-upgrade",
    v4_server_v1_client: "cross-server4.8.4-allowEIO3-client1.7.4-upgrade",
    v4_server_v2_client_polling: "cross-server4.8.4-allowEIO3-client2.5.0-polling",
    v4_server_v2_client_upgrade: "cross-server4.8.4-allowEIO3-client2.5.0-upgrade",
    v2_malformed: "malformed-2.5.1",
    msgpack_polling: "msgpack-4.8.4-polling",
    msgpack_websocket: "msgpack-4.8.4-websocket",
    tilde_websocket: "sio-0.6.18-websocket",
    tilde_polling: "sio-0.6.18-xhr-polling",
    tilde_jsonp: "sio-0.6.18-jsonp-polling",
    tilde_cross_origin: "cors-0.6.18-xhr-polling",
    old_tilde_websocket: "sio-0.6.1-websocket",
    old_tilde_polling: "sio-0.6.1-xhr-polling",
    old_tilde_jsonp: "sio-0.6.1-jsonp-polling",
    v07_websocket: "sio-0.7.11-websocket",
    v07_polling: "sio-0.7.11-xhr-polling",
    v07_jsonp: "sio-0.7.11-jsonp-polling",
    v08_websocket: "sio-0.8.7-websocket",
    v08_polling: "sio-0.8.7-xhr-polling",
    v08_jsonp: "sio-0.8.7-jsonp-polling",
    v09_websocket: "sio-0.9.17-websocket",
    v09_polling: "sio-0.9.17-xhr-polling",
    v09_jsonp: "sio-0.9.17-jsonp-polling",
    v09_server_v07_client: "sio-0.7.11-vs-0.9.19-websocket",
    v07_cross_origin: "cors-0.7.11-xhr-polling",
    v09_cross_origin: "cors-0.9.17-xhr-polling",
    tilde_htmlfile: "sio-0.6.18-htmlfile",
    v09_htmlfile: "sio-0.9.17-htmlfile",
    streaming_websocket: "sio-dev-websocket",
    streaming_polling: "sio-dev-xhr-polling",
    streaming_jsonp: "sio-dev-jsonp-polling",
    envelope_websocket: "sio-0.4.1-websocket",
    envelope_polling: "sio-0.4.1-xhr-polling",
    tilde_probes: "probe-0.6.18-server",
    old_tilde_probes: "probe-0.6.1-server",
    v07_probes: "probe-0.7.11-server",
    v08_probes: "probe-0.8.7-server",
    v09_probes: "probe-0.9.19-server",
    v09_cross_origin_jsonp: "cors-0.9.17-jsonp-polling",
}

fn replayed(name: &str) -> Vec<Difference> {
    replay::player::replay(&Capture::load(name))
}

/// Replays one capture; no difference may be without a reason.
#[track_caller]
fn check(name: &str) {
    let list = List::load();
    let unlisted = replayed(name).into_iter().filter(|difference| !list.has(difference));
    let lines: Vec<String> = unlisted.map(|d| format!("{d}   <- {}", d.place)).collect();
    assert!(
        lines.is_empty(),
        "{} differences without a reason (capture | section | what | genuine | ours):\n{}",
        lines.len(),
        lines.join("\n")
    );
}

#[test]
fn every_listed_difference_occurs() {
    let list = List::load();
    for difference in NAMES.iter().flat_map(|name| replayed(name)) {
        list.has(&difference);
    }
    let unused: Vec<String> = list.unused().collect();
    assert!(unused.is_empty(), "listed, but gone:\n{}", unused.join("\n"));
}

#[test]
fn every_capture_is_replayed() {
    let directory = format!("{}/tests/captures", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().file_name());
    for file in files.filter_map(|f| f.into_string().ok()) {
        if let Some(name) = file.strip_suffix(".json") {
            assert!(NAMES.contains(&name), "{file} is replayed by no test");
        }
    }
}
