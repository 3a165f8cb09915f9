//! `GET /__stats`: the number of open sessions and more, answered outside of Socket.IO.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sio_app::{Count, HttpRequest, HttpResponse, Io, Method, Metrics};

/// The servers of this process.
#[derive(Default)]
pub(crate) struct Counted(Mutex<Vec<Io>>);

impl Counted {
    pub(crate) fn add(&self, io: &Io) {
        if let Ok(mut servers) = self.0.lock() {
            servers.push(io.clone());
        }
    }

    fn sessions(&self) -> usize {
        self.0
            .lock()
            .map_or(0, |servers| servers.iter().map(Io::sessions).sum())
    }

    /// Messages of which nobody knows whether they have arrived.
    fn unconfirmed(&self) -> u64 {
        let unconfirmed = |io: &Io| io.metrics().sessions.unconfirmed;
        self.0.lock().map_or(0, |servers| servers.iter().map(unconfirmed).sum())
    }

    /// Counts what the servers hold besides sessions.
    fn held(&self) -> serde_json::Value {
        let servers = self.0.lock().map(|servers| servers.clone()).unwrap_or_default();
        let metrics: Vec<_> = servers.iter().map(Io::metrics).collect();
        let sum = |count: fn(&Metrics) -> usize| metrics.iter().map(count).sum::<usize>();
        serde_json::json!({
            "connections": sum(|metrics| metrics.connections),
            "sockets": sum(|metrics| metrics.sockets),
            "rooms": sum(|metrics| metrics.rooms),
            "timers": sum(|metrics| metrics.timers),
            "recoverable": sum(|metrics| metrics.recoverable),
            "queued_bytes": sum(|metrics| metrics.queued_bytes),
        })
    }

    /// Counts the sockets that were recovered, and the clients that could not be, by the reason.
    fn recovery(&self) -> serde_json::Value {
        let servers = self.0.lock().map(|servers| servers.clone()).unwrap_or_default();
        let mut recovered = 0;
        let mut not_recovered = BTreeMap::<_, u64>::new();
        for server in &servers {
            let counts = server.metrics().recovery;
            recovered += counts.recovered;
            for (why, count) in counts.lost() {
                *not_recovered.entry(why).or_default() += count;
            }
        }
        serde_json::json!({ "recovered": recovered, "not_recovered": not_recovered })
    }

    /// How many nodes the cluster has, and how the broker is. Without a cluster there is one node.
    fn cluster(&self) -> (usize, serde_json::Value) {
        let servers = self.0.lock().map(|servers| servers.clone()).unwrap_or_default();
        let nodes = servers.iter().map(Io::nodes).max().unwrap_or(1);
        let clusters: Vec<_> = servers.iter().filter_map(|io| io.metrics().cluster).collect();
        let connected = !clusters.is_empty() && clusters.iter().all(|cluster| cluster.is_up);
        let dropped: u64 = clusters.iter().map(|cluster| cluster.dropped).sum();
        let relays = clusters.iter().filter_map(|cluster| cluster.relays);
        let (out, into, known) = relays.fold((0, 0, 0), |(out, into, known), relays| {
            (
                out + relays.outgoing.total,
                into + relays.incoming.total,
                known.max(relays.nodes),
            )
        });
        let relays = serde_json::json!({ "out": out, "in": into, "nodes": known });
        let pub_sub = serde_json::json!({ "connected": connected, "dropped": dropped, "relays": relays });
        (nodes, pub_sub)
    }

    /// Counts the present sessions by generation and transport.
    fn by_kind(&self) -> BTreeMap<String, u64> {
        self.kinds(|count| u64::from(count.current))
    }

    /// Counts the sessions that have been opened, by generation and transport.
    fn opened(&self) -> BTreeMap<String, u64> {
        self.kinds(|count| count.total)
    }

    fn kinds(&self, number: fn(Count) -> u64) -> BTreeMap<String, u64> {
        let mut kinds = BTreeMap::new();
        let servers = self.0.lock().map(|servers| servers.clone()).unwrap_or_default();
        for server in &servers {
            for (generation, transport, count) in server.metrics().sessions.iter() {
                *kinds.entry(format!("{generation} {transport}")).or_default() += number(count);
            }
        }
        kinds
    }
}

pub(crate) fn serve(io: &Io, counted: &Arc<Counted>) {
    let counted = Arc::clone(counted);
    io.on_request(move |request: &HttpRequest<'_>| {
        match (request.path(), request.method()) {
            ("/__stats", Method::Get | Method::Head) => {}
            ("/__stats", _) | (_, Method::Other) => return HttpResponse::new(405).header("Allow", "GET, HEAD"),
            _ => return HttpResponse::new(404),
        }
        let (nodes, pub_sub) = counted.cluster();
        let stats = serde_json::json!({
            "server": concat!("sio ", env!("CARGO_PKG_VERSION")),
            "pid": std::process::id(),
            "rss": resident_bytes(),
            "heap": heap_bytes(),
            "sessions": counted.sessions(),
            "by_kind": counted.by_kind(),
            "opened": counted.opened(),
            "unconfirmed": counted.unconfirmed(),
            "held": counted.held(),
            "recovery": counted.recovery(),
            "nodes": nodes,
            "pub_sub": pub_sub,
        });
        HttpResponse::json(&stats)
    });
}

/// The allocator of the system, which also counts.
#[cfg(feature = "counted-memory")]
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

/// Returns how many bytes this process has from the allocator now.
#[cfg(feature = "counted-memory")]
fn heap_bytes() -> Option<usize> {
    let stats = ALLOCATOR.stats();
    Some(stats.bytes_allocated.saturating_sub(stats.bytes_deallocated))
}

/// This program was built without the feature `counted-memory`, so nobody counts.
#[cfg(not(feature = "counted-memory"))]
const fn heap_bytes() -> Option<usize> {
    None
}

/// Returns the resident set size of this process in bytes, or 0 if the system does not say it.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
