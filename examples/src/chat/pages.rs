//! The answers to requests that are not for Socket.IO: the pages, and the genuine clients if they
//! have been fetched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::json;
use sio_app::{ClientFiles, HttpRequest, HttpResponse, Method};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! asset {
    ($name:literal) => {
        include_bytes!(concat!("../../chat/assets/", $name))
    };
}

/// Each asset: its path, its content type and its bytes.
const ASSETS: &[(&str, &str, &[u8])] = &[
    ("/", HTML, asset!("index.html")),
    ("/generations", HTML, asset!("generations.html")),
    ("/frame", HTML, asset!("frame.html")),
    ("/assets/style.css", CSS, asset!("style.css")),
    ("/assets/icon.svg", SVG, asset!("icon.svg")),
    ("/assets/chat.js", SCRIPT, asset!("chat.js")),
    ("/assets/sio.js", SCRIPT, asset!("sio.js")),
    ("/assets/engine.js", SCRIPT, asset!("engine.js")),
    ("/assets/room.js", SCRIPT, asset!("room.js")),
    ("/assets/generations.js", SCRIPT, asset!("generations.js")),
    ("/assets/frame.js", SCRIPT, asset!("frame.js")),
];

/// The folder into which `cargo xtask clients` has put the genuine clients.
const CLIENTS: &str = "clients";

/// Everything that is served. The files are read once.
pub(crate) struct Pages {
    files: BTreeMap<String, (&'static str, Bytes)>,
}

impl Pages {
    /// Loads the embedded pages, and the scripts in `clients/VERSION/`.
    pub(crate) fn load() -> Self {
        let mut files = BTreeMap::new();
        for (path, kind, bytes) in ASSETS {
            files.insert((*path).to_owned(), (*kind, Bytes::from_static(bytes)));
        }
        let mut generations = Vec::new();
        for (version, scripts) in genuine_clients(Path::new(CLIENTS)) {
            for (name, bytes) in scripts {
                files.insert(format!("/clients/{version}/{name}"), (SCRIPT, bytes));
            }
            let script = format!("/clients/{version}/socket.io.js");
            generations.push(json!({ "generation": version, "kind": kind(&version), "script": script }));
        }
        let generations = Bytes::from(json!(generations).to_string().into_bytes());
        files.insert("/generations.json".to_owned(), ("application/json", generations));
        Self { files }
    }

    pub(crate) fn answer(&self, request: &HttpRequest<'_>) -> HttpResponse {
        let reads = matches!(request.method(), Method::Get | Method::Head);
        match self.files.get(request.path()) {
            Some(_) if !reads => HttpResponse::new(405).header("Allow", "GET, HEAD"),
            Some((kind, bytes)) => HttpResponse::new(200)
                .body(kind, bytes.clone())
                .header("X-Content-Type-Options", "nosniff")
                .header("Content-Security-Policy", "frame-ancestors 'self'")
                .header("Cache-Control", "no-cache"),
            None => HttpResponse::new(404),
        }
    }
}

/// Returns the genuine clients for the paths at which pages of their time look for them: the newest
/// client without a version in the path, and every client with its version.
pub(crate) fn client_files() -> Option<ClientFiles> {
    let folder = Path::new(CLIENTS);
    let versions = genuine_clients(folder);
    let newest = ClientFiles::load(folder.join(&versions.last()?.0)).ok()?;
    versions.iter().try_fold(newest, |files, (version, _)| {
        files.version(version, folder.join(version)).ok()
    })
}

/// Returns the versions in the folder, oldest first, each with its scripts.
fn genuine_clients(folder: &Path) -> Vec<(String, Vec<(String, Bytes)>)> {
    let mut versions: Vec<(String, PathBuf)> = list(folder)
        .into_iter()
        .filter(|(_, path)| path.join("socket.io.js").is_file())
        .collect();
    versions.sort_by_key(|(version, _)| {
        version
            .split('.')
            .map(|n| n.parse::<u32>().unwrap_or(0))
            .collect::<Vec<_>>()
    });
    let scripts = |path: &Path| {
        let names = list(path).into_iter().filter(|(name, _)| name.ends_with(".js"));
        names
            .filter_map(|(name, path)| Some((name, Bytes::from(std::fs::read(path).ok()?))))
            .collect()
    };
    versions
        .into_iter()
        .map(|(version, path)| (version, scripts(&path)))
        .collect()
}

fn list(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect()
}

/// Returns which of the frame page's adapters fits this version of the client.
fn kind(version: &str) -> &'static str {
    let mut parts = version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    match (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) {
        (0, 0..=6) => "0.6",
        (0, _) => "0.9",
        (1 | 2, _) => "2",
        _ => "4",
    }
}
