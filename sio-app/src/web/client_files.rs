//! The files of the client, served at the paths where pages look for them:
//! `/socket.io/socket.io.js` and others (docs/protocol/detection.md §1 row 1).

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sio_proto::detect::is_client_file;
use sio_proto::http::{self, Method};

use crate::web::request::HttpResponse;

/// The folders, below the given folder, in which releases of the client have files.
const FOLDERS: [&str; 3] = ["", "static/flashsocket/", "lib/vendor/web-socket-js/"];

/// Files of the genuine clients, in memory
/// ([`Options::client_files`](crate::Options::client_files)).
///
/// The same path means a different client in each generation: a page of 2012 cannot use the
/// `socket.io.js` of 4.8. So the operator chooses the files:
///
/// | a page asks for | it gets |
/// |---|---|
/// | `socket.io.js`, `socket.io.min.js`, `socket.io.esm.min.js`, `socket.io.msgpack.min.js`, `*.map` | this file of the folder given to [`ClientFiles::load`], which has one version: the version that most pages need |
/// | `socket.io.v0.9.17.js` | this file of the folder, or `socket.io.js` of the folder given to [`ClientFiles::version`] for `0.9.17` |
/// | `socket.io+websocket+xhr-polling.js`, also with `.v0.9.17` | this file, or the whole client of the version, which can do more than the page asked for |
/// | `static/flashsocket/WebSocketMain.swf`, `WebSocketMain.swf`, `lib/vendor/web-socket-js/WebSocketMain.swf` | this file, at the same path in the folder |
/// | any other file, or a file that does not exist | the application's answer, or 404 if it has none |
///
/// All files are read once, when the operator gives the folders. No request causes access to the
/// disk, and the folders are searched for no names outside of this fixed set.
#[derive(Clone, Debug, Default)]
pub struct ClientFiles {
    /// The files by the path prefix under which they are served. The prefix is empty for the
    /// server's own path.
    sets: BTreeMap<String, BTreeMap<String, File>>,
    bytes: u64,
}

#[derive(Clone, Debug)]
struct File {
    content_type: &'static str,
    bytes: Bytes,
    /// The tag, with its quotes.
    etag: String,
}

/// Why client files could not be loaded.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ClientFilesError {
    /// A folder or file could not be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The folder contains no file of a client.
    #[error("{path}: no file of a client in it", path = .0.display())]
    Empty(PathBuf),
    /// The text cannot be the version in a file's name.
    #[error("{0:?} is no version")]
    Version(String),
    /// All files together are larger than [`ClientFiles::MAX_BYTES`].
    #[error("{path}: the files are more than {max} bytes together", path = .0.display(), max = ClientFiles::MAX_BYTES)]
    TooLarge(PathBuf),
}

crate::readable::says_why!(ClientFilesError);

impl ClientFiles {
    /// The most bytes of all files together: 32 MiB.
    pub const MAX_BYTES: u64 = 32 << 20;

    /// Reads the client's files in this folder. They are served under the server's path. This call
    /// blocks while it reads.
    ///
    /// # Errors
    /// If the folder cannot be read, contains no file of a client, or is too large.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self, ClientFilesError> {
        Self::default().mount("", folder)
    }

    /// Adds the `socket.io.js` in this folder as the file of a version: `socket.io.v0.9.17.js` for
    /// `0.9.17`. This call blocks while it reads.
    ///
    /// # Errors
    /// If the file cannot be read or is too large, or if the version cannot be part of a name.
    pub fn version(mut self, version: &str, folder: impl AsRef<Path>) -> Result<Self, ClientFilesError> {
        let name = format!("socket.io.v{version}.js");
        if version.is_empty() || !is_client_file(&name) {
            return Err(ClientFilesError::Version(version.to_owned()));
        }
        let file = self.read(&folder.as_ref().join("socket.io.js"), &name)?;
        self.sets.entry(String::new()).or_default().insert(name, file);
        Ok(self)
    }

    /// Reads the files in this folder, and serves them under the path of a mount
    /// ([`Legacy06::mounts`](sio_proto::Legacy06::mounts)), whose pages need their own client. This
    /// call blocks while it reads.
    ///
    /// # Errors
    /// The errors of [`ClientFiles::load`].
    pub fn mount(mut self, path: &str, folder: impl AsRef<Path>) -> Result<Self, ClientFilesError> {
        let root = folder.as_ref();
        let mut found = BTreeMap::new();
        for below in FOLDERS {
            let folder = root.join(below);
            let entries = match fs::read_dir(&folder) {
                Err(error) if !below.is_empty() && error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(|source| failed(&folder, source))?,
            };
            for entry in entries {
                let entry = entry.map_err(|source| failed(&folder, source))?;
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                let (name, path) = (format!("{below}{name}"), entry.path());
                if is_client_file(&name) && path.is_file() {
                    let file = self.read(&path, &name)?;
                    found.insert(name, file);
                }
            }
        }
        if found.is_empty() {
            return Err(ClientFilesError::Empty(root.to_owned()));
        }
        self.sets.entry(path.to_owned()).or_default().extend(found);
        Ok(self)
    }

    fn read(&mut self, path: &Path, name: &str) -> Result<File, ClientFilesError> {
        let read = |source| failed(path, source);
        // The size is checked before the file is in memory. This size is the one that counts.
        self.bytes += fs::metadata(path).map_err(read)?.len();
        if self.bytes > Self::MAX_BYTES {
            return Err(ClientFilesError::TooLarge(path.to_owned()));
        }
        let bytes = fs::read(path).map_err(read)?;
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        Ok(File {
            content_type: match name.rsplit('.').next() {
                Some("swf") => "application/x-shockwave-flash",
                Some("map") => "application/json",
                _ => "text/javascript; charset=utf-8",
            },
            etag: format!("\"{:x}-{:016x}\"", bytes.len(), hasher.finish()),
            bytes: bytes.into(),
        })
    }

    /// Returns the answer to a request for one of the files. `path` is the server's path.
    pub(crate) fn answer(&self, path: &str, request: &http::Request) -> Option<HttpResponse> {
        if !matches!(request.method, Method::Get | Method::Head) {
            return None;
        }
        self.sets.iter().find_map(|(prefix, files)| {
            let prefix = if prefix.is_empty() { path } else { prefix };
            let name = request.path().strip_prefix(prefix)?.strip_prefix('/')?;
            let file = find(files, name)?;
            Some(file.answer(name, request))
        })
    }
}

/// Finds the file for a name.
fn find<'a>(files: &'a BTreeMap<String, File>, name: &str) -> Option<&'a File> {
    files.get(name).or_else(|| {
        let transports = name.strip_prefix("socket.io+")?.strip_suffix(".js")?;
        let version = transports.find(".v").map_or("", |at| &transports[at..]);
        files.get(&format!("socket.io{version}.js"))
    })
}

impl File {
    fn answer(&self, name: &str, request: &http::Request) -> HttpResponse {
        let is_known = request
            .headers
            .get("if-none-match")
            .and_then(|tags| std::str::from_utf8(tags).ok())
            .is_some_and(|tags| self.is_among(tags));
        let answer = if is_known {
            HttpResponse::new(304)
        } else {
            HttpResponse::new(200).body(self.content_type, self.bytes.clone())
        };
        // The file of a name with a version never changes (docs/protocol/legacy-0.9.md §14).
        // Browsers ask for other files again.
        let age = if name.contains(".v") { "315360000" } else { "0" };
        answer
            .header("ETag", self.etag.clone())
            .header("Cache-Control", format!("public, max-age={age}"))
            .header("X-Content-Type-Options", "nosniff")
            // Every page may load these files. A page with `crossorigin` or COEP loads only files
            // with these headers.
            .header("Access-Control-Allow-Origin", "*")
            .header("Cross-Origin-Resource-Policy", "cross-origin")
    }

    /// Whether a list of tags contains this file's tag. The tag may be weak, and may have no
    /// quotes, as in 0.6 and 0.9.
    fn is_among(&self, tags: &str) -> bool {
        let plain = |tag: &str| {
            let tag = tag.trim();
            tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').to_owned()
        };
        let own = plain(&self.etag);
        tags.split(',').any(|tag| tag.trim() == "*" || plain(tag) == own)
    }
}

fn failed(path: &Path, source: io::Error) -> ClientFilesError {
    ClientFilesError::Read {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use bytes::BytesMut;
    use sio_proto::http::{Event, Limits, RequestDecoder};

    use super::*;

    /// A folder that is removed at the end of the test.
    struct Folder(PathBuf);

    impl Folder {
        fn with(files: &[(&str, &str)]) -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!(
                "sio-client-files-{}-{}",
                std::process::id(),
                NEXT.fetch_add(1, Ordering::Relaxed)
            );
            let folder = Self(std::env::temp_dir().join(name));
            fs::create_dir_all(&folder.0).unwrap();
            for (name, text) in files {
                let path = folder.0.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            folder
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn request(method: &str, target: &str, headers: &str) -> http::Request {
        let mut bytes = BytesMut::from(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n").as_bytes());
        let event = RequestDecoder::new().decode(&mut bytes, &Limits::default()).unwrap();
        let Some(Event::Request(request)) = event else {
            panic!("no request in {target}")
        };
        request
    }

    /// Returns the status, head and body of the answer. Returns `None` if the application has to
    /// answer.
    fn ask(files: &ClientFiles, method: &str, target: &str, headers: &str) -> Option<(u16, String, String)> {
        let request = request(method, target, headers);
        let mut response = files.answer("/socket.io", &request)?.0;
        response.exchange = request.exchange();
        let mut head = BytesMut::new();
        let (body, _) = response.encode(&mut head, None);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Some((response.status, text(&head), text(&body)))
    }

    fn body(files: &ClientFiles, target: &str) -> Option<String> {
        ask(files, "GET", target, "").map(|(_, _, body)| body)
    }

    fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
        head.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    #[test]
    fn every_conventional_path() {
        let modern = Folder::with(&[
            ("socket.io.js", "four"),
            ("socket.io.min.js", "min"),
            ("socket.io.esm.min.js", "esm"),
            ("socket.io.msgpack.min.js", "msgpack"),
            ("socket.io.min.js.map", "{}"),
            ("socket.io.v4.8.1.js", "four in full"),
            ("socket.io+websocket.js", "only websocket"),
            ("static/flashsocket/WebSocketMain.swf", "flash"),
            ("WebSocketMain.swf", "old flash"),
            ("lib/vendor/web-socket-js/WebSocketMain.swf", "older flash"),
            ("package.json", "secret"),
            ("static/flashsocket/other.txt", "secret"),
        ]);
        let old = Folder::with(&[("socket.io.js", "nine")]);
        let dev = Folder::with(&[("socket.io.js", "dev")]);
        let files = ClientFiles::load(&modern.0).unwrap();
        let files = files
            .version("0.9.17", &old.0)
            .unwrap()
            .mount("/streaming", &dev.0)
            .unwrap();
        for (target, expected, content_type) in [
            ("/socket.io/socket.io.js", "four", "text/javascript; charset=utf-8"),
            ("/socket.io/socket.io.js?v=3", "four", "text/javascript; charset=utf-8"),
            ("/socket.io/socket.io.min.js", "min", "text/javascript; charset=utf-8"),
            (
                "/socket.io/socket.io.esm.min.js",
                "esm",
                "text/javascript; charset=utf-8",
            ),
            (
                "/socket.io/socket.io.msgpack.min.js",
                "msgpack",
                "text/javascript; charset=utf-8",
            ),
            ("/socket.io/socket.io.min.js.map", "{}", "application/json"),
            (
                "/socket.io/socket.io.v4.8.1.js",
                "four in full",
                "text/javascript; charset=utf-8",
            ),
            (
                "/socket.io/socket.io.v0.9.17.js",
                "nine",
                "text/javascript; charset=utf-8",
            ),
            (
                "/socket.io/socket.io+websocket.js",
                "only websocket",
                "text/javascript; charset=utf-8",
            ),
            (
                "/socket.io/socket.io+htmlfile+xhr-polling.js",
                "four",
                "text/javascript; charset=utf-8",
            ),
            (
                "/socket.io/socket.io+xhr-polling.v0.9.17.js",
                "nine",
                "text/javascript; charset=utf-8",
            ),
            (
                "/socket.io/static/flashsocket/WebSocketMain.swf",
                "flash",
                "application/x-shockwave-flash",
            ),
            (
                "/socket.io/WebSocketMain.swf",
                "old flash",
                "application/x-shockwave-flash",
            ),
            (
                "/socket.io/lib/vendor/web-socket-js/WebSocketMain.swf",
                "older flash",
                "application/x-shockwave-flash",
            ),
            ("/streaming/socket.io.js", "dev", "text/javascript; charset=utf-8"),
        ] {
            let (status, head, body) = ask(&files, "GET", target, "").unwrap_or_else(|| panic!("{target}"));
            assert_eq!((status, &*body), (200, expected), "{target}");
            assert_eq!(header(&head, "Content-Type"), Some(content_type), "{target}");
            assert_eq!(header(&head, "Content-Length"), Some(&*expected.len().to_string()));
        }
        for target in [
            "/socket.io/package.json",
            "/socket.io/static/flashsocket/other.txt",
            "/socket.io/socket.io.v9.9.9.js",
            "/socket.io/socket.io+websocket.v9.9.9.js",
            "/socket.io/../package.json",
            "/socket.io/static/flashsocket/../../package.json",
            "/socket.io/%73ocket.io.js",
            "/socket.io//socket.io.js",
            "/socket.iosocket.io.js",
            "/streaming/socket.io.min.js",
            "/socket.io.js",
        ] {
            assert_eq!(body(&files, target), None, "{target}");
        }
        assert!(ask(&files, "POST", "/socket.io/socket.io.js", "Content-Length: 0\r\n").is_none());
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let folder = Folder::with(&[("socket.io.js", "one"), ("socket.io.v0.9.17.js", "two")]);
        let files = ClientFiles::load(&folder.0).unwrap();
        let (_, head, _) = ask(&files, "GET", "/socket.io/socket.io.js", "").unwrap();
        let etag = header(&head, "ETag").unwrap();
        assert_eq!(header(&head, "Cache-Control"), Some("public, max-age=0"));
        let plain = etag.trim_matches('"');
        // Hardening C2: a page of any origin may load the files.
        assert_eq!(header(&head, "Access-Control-Allow-Origin"), Some("*"));
        assert_eq!(header(&head, "Cross-Origin-Resource-Policy"), Some("cross-origin"));
        for (tags, status) in [
            (etag.to_owned(), 304),
            (format!("W/{etag}"), 304),
            (plain.to_owned(), 304), // 0.6 writes its tags like this.
            (format!("\"x\", {etag}"), 304),
            ("*".to_owned(), 304),
            ("0.6.3".to_owned(), 200),
            ("\"4.8.1\"".to_owned(), 200),
            (String::new(), 200),
            ("\"".to_owned(), 200),
        ] {
            let line = format!("If-None-Match: {tags}\r\n");
            let (got, head, body) = ask(&files, "GET", "/socket.io/socket.io.js", &line).unwrap();
            assert_eq!((got, body.is_empty()), (status, status == 304), "{tags}");
            assert_eq!(header(&head, "ETag"), Some(etag));
        }
        let (status, head, body) = ask(&files, "HEAD", "/socket.io/socket.io.v0.9.17.js", "").unwrap();
        assert_eq!((status, &*body), (200, ""));
        assert_eq!(header(&head, "Content-Length"), Some("3"));
        assert_eq!(header(&head, "Cache-Control"), Some("public, max-age=315360000"));
        assert_ne!(header(&head, "ETag"), Some(etag));
    }

    /// The server looks among its files first, and asks the application about all other requests.
    /// This is the same for requests that another HTTP server has read.
    #[test]
    fn files_come_before_the_application() {
        use crate::adapter::Driver;
        use crate::adapter::Exchanged;
        use crate::{Config, Io, Options, Peer};
        use sio_proto::server;
        let folder = Folder::with(&[("socket.io.js", "client")]);
        let options = Options::default()
            .shards(1)
            .client_files(ClientFiles::load(&folder.0).unwrap());
        let io = Io::new(Config::default(), options, crate::tests::RUNTIME).unwrap();
        io.on_request(|_| HttpResponse::text("application"));
        for (target, expected) in [
            ("/socket.io/socket.io.js", "client"),
            ("/socket.io/socket.io.min.js", "application"),
            ("/", "application"),
        ] {
            let request = request("GET", target, "");
            let exchanged = Driver::new(&io).exchange(request.clone(), Peer::default(), || None);
            assert_eq!(
                matches!(exchanged, Exchanged::Ours(_)),
                expected == "client",
                "{target}"
            );
            let mut answer =
                io.0.answer(&server::Request::new(io.0.config(), request, Peer::default()))
                    .0;
            assert_eq!(answer.take_body(&mut BytesMut::new()), expected, "{target}");
        }
    }

    #[test]
    fn folders_that_cannot_be_meant() {
        let empty = Folder::with(&[("readme.txt", "x")]);
        assert!(matches!(ClientFiles::load(&empty.0), Err(ClientFilesError::Empty(path)) if path == empty.0));
        let missing = empty.0.join("missing");
        assert!(
            matches!(ClientFiles::load(&missing), Err(ClientFilesError::Read { path, .. }) if path == missing.join(""))
        );
        for version in ["", "../x", "1/2", "1 2"] {
            let refused = ClientFiles::default().version(version, &empty.0);
            assert!(matches!(refused, Err(ClientFilesError::Version(text)) if text == version));
        }
        assert!(ClientFiles::default().version("0.9.17", &empty.0).is_err());
        // The file has this size, although nothing has been written to it.
        let large = Folder::with(&[("socket.io.js", "x"), ("socket.io.min.js", "")]);
        let file = fs::File::options()
            .write(true)
            .open(large.0.join("socket.io.min.js"))
            .unwrap();
        file.set_len(ClientFiles::MAX_BYTES).unwrap();
        assert!(matches!(
            ClientFiles::load(&large.0),
            Err(ClientFilesError::TooLarge(_))
        ));
    }
}
