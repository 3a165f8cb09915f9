//! `cargo xtask clients`: fetches the browser clients of every generation, as they were published,
//! into `clients/VERSION/`.
//!
//! The clients come from npm packages and are not part of the repository. Files that exist and look
//! right are not fetched again, so a second run does nothing and works offline.

use crate::arguments::{Arguments, assert_known};
use crate::failure::{Failure, Outcome, While};
use crate::programs::run as execute;
use crate::workspace::Workspace;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The client of one release.
struct Release {
    version: &'static str,
    /// The npm package that contains the client, and the folder in the package.
    package: &'static str,
    folder: &'static str,
    /// A text that occurs in this client, and not in another release.
    mark: &'static str,
    files: &'static [&'static str],
}

const FLASH: &[&str] = &[
    "socket.io.js",
    "socket.io.min.js",
    "WebSocketMain.swf",
    "WebSocketMainInsecure.swf",
];
const MODERN: &[&str] = &["socket.io.js", "socket.io.min.js", "socket.io.msgpack.min.js"];

const RELEASES: &[Release] = &[
    Release {
        version: "0.6.18",
        package: "socket.io",
        folder: "support/socket.io-client",
        // The client's own version differs from the version of the package.
        mark: "0.6.3",
        files: &["socket.io.js", "socket.io.min.js"],
    },
    Release {
        version: "0.7.11",
        package: CLIENT,
        folder: "dist",
        mark: "0.7.11",
        files: FLASH,
    },
    Release {
        version: "0.8.7",
        package: CLIENT,
        folder: "dist",
        mark: "0.8.7",
        files: FLASH,
    },
    Release {
        version: "0.9.17",
        package: CLIENT,
        folder: "dist",
        mark: "0.9.17",
        files: FLASH,
    },
    // The releases from 1.0 to 1.7 do not contain their version.
    Release {
        version: "1.7.4",
        package: CLIENT,
        folder: "dist",
        mark: "reconnect_attempt",
        files: &["socket.io.js", "socket.io.min.js"],
    },
    Release {
        version: "2.5.0",
        package: CLIENT,
        folder: "dist",
        mark: "Socket.IO v2.5.0",
        files: &["socket.io.js", "socket.io.slim.js"],
    },
    Release {
        version: "3.1.3",
        package: CLIENT,
        folder: "dist",
        mark: "Socket.IO v3.1.3",
        files: MODERN,
    },
    Release {
        version: "4.8.4",
        package: CLIENT,
        folder: "dist",
        mark: "Socket.IO v4.8.4",
        files: MODERN,
    },
];

const CLIENT: &str = "socket.io-client";
/// The least size of a genuine file, in bytes. An error page is smaller.
const MIN_BYTES: usize = 20_000;

pub(crate) fn run(tree: &Workspace, mut arguments: Arguments) -> Outcome {
    let only = arguments.take_list("--only");
    arguments.finish()?;
    let known: Vec<&str> = RELEASES.iter().map(|release| release.version).collect();
    assert_known("release", &only, &known)?;
    fetch(tree, &only.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Fetches the named releases that are not there yet. If none is named, it fetches all.
pub(crate) fn fetch(tree: &Workspace, only: &[&str]) -> Outcome {
    println!("{:<8} {:<26} {:>8}  origin", "release", "file", "bytes");
    for release in RELEASES
        .iter()
        .filter(|release| only.is_empty() || only.contains(&release.version))
    {
        let home = tree.root.join("clients").join(release.version);
        let there = release.inspect(&home).is_ok();
        if !there {
            release.download(tree, &home)?;
        }
        for (file, size) in release.inspect(&home)? {
            let origin = if there { "already here" } else { "npm" };
            println!(
                "{:<8} {file:<26} {size:>8}  {origin} {}@{}",
                release.version, release.package, release.version
            );
        }
    }
    Ok(())
}

impl Release {
    /// Returns the files and their sizes, if all files exist and look right.
    fn inspect(&self, home: &Path) -> Outcome<Vec<(&'static str, usize)>> {
        self.files
            .iter()
            .map(|file| {
                let bytes = fs::read(home.join(file)).when(format_args!("clients/{}/{file}", self.version))?;
                self.judge(file, &bytes)
                    .map_err(|why| Failure::new(format!("clients/{}/{file}: {why}", self.version)))?;
                Ok((*file, bytes.len()))
            })
            .collect()
    }

    fn judge(&self, file: &str, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() < MIN_BYTES {
            return Err(format!("{} bytes are too few", bytes.len()));
        }
        if file.ends_with(".swf") {
            let is_flash = matches!(bytes, [b'F' | b'C' | b'Z', b'W', b'S', ..]);
            return if is_flash {
                Ok(())
            } else {
                Err("no Flash file".to_owned())
            };
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "no UTF-8".to_owned())?;
        if text.contains(self.mark) {
            Ok(())
        } else {
            Err(format!("does not contain `{}`", self.mark))
        }
    }

    fn download(&self, tree: &Workspace, home: &Path) -> Outcome {
        let store = tree.target.join("npm");
        fs::create_dir_all(&store).when(store.display())?;
        let specification = format!("{}@{}", self.package, self.version);
        execute(Command::new("npm").current_dir(&store).args([
            "pack",
            "--silent",
            "--pack-destination",
            ".",
            &specification,
        ]))?;
        let archive = format!("{}-{}.tgz", self.package, self.version);
        let unpacked = store.join(format!("{}-{}", self.package, self.version));
        if unpacked.exists() {
            fs::remove_dir_all(&unpacked).when(unpacked.display())?;
        }
        fs::create_dir(&unpacked).when(unpacked.display())?;
        execute(Command::new("tar").current_dir(&unpacked).args([
            "--extract",
            "--gzip",
            "--file",
            &format!("../{archive}"),
        ]))?;
        fs::create_dir_all(home).when(home.display())?;
        for file in self.files {
            let from: PathBuf = unpacked.join("package").join(self.folder).join(file);
            fs::copy(&from, home.join(file)).when(format_args!("{file} of {specification}"))?;
        }
        fs::remove_dir_all(&unpacked).when(unpacked.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_right() {
        let release = RELEASES.iter().find(|release| release.version == "0.9.17").unwrap();
        let script = |text: &str| format!("{text}{}", " ".repeat(MIN_BYTES)).into_bytes();
        assert!(release.judge("socket.io.js", &script("io.version = '0.9.17'")).is_ok());
        assert!(release.judge("socket.io.js", &script("io.version = '0.9.16'")).is_err());
        assert!(release.judge("socket.io.js", b"0.9.17").is_err());
        assert!(release.judge("WebSocketMain.swf", &script("CWS\x0a")).is_ok());
        assert!(release.judge("WebSocketMain.swf", &script("<html>")).is_err());
    }

    #[test]
    fn every_release_has_the_file_that_pages_ask_for() {
        assert!(RELEASES.iter().all(|release| release.files.contains(&"socket.io.js")));
    }
}
