//! Genuine Redis servers on loopback, for tests.

use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// A server that ends with its value.
pub(super) struct Redis {
    pub(super) port: u16,
    directory: PathBuf,
    arguments: Vec<String>,
    child: Child,
}

/// A port that is free at the moment. The port plus 10000 is free, too: the bus of a cluster takes
/// it. Each port is given out once, and both are below the ports that a system takes for outgoing
/// connections, so a server can also begin on it later.
pub(super) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..PORTS.len() {
        // Test binaries that run side by side begin at different places.
        let number = NEXT.fetch_add(1, Ordering::Relaxed) as u32 + std::process::id() * 97;
        let port = PORTS.start + (number % PORTS.len() as u32) as u16;
        let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
    panic!("no port is free");
}

const PORTS: std::ops::Range<u16> = 12_000..22_000;

/// Leads connections to a server, and later ones to another.
pub(super) struct Proxy {
    pub(super) port: u16,
    /// The port of the server. Nobody is led to 0: then the proxy ends.
    to: Arc<AtomicU16>,
}

impl Proxy {
    pub(super) fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let to = Arc::new(AtomicU16::new(to));
        let leads = Arc::clone(&to);
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                match leads.load(Ordering::Relaxed) {
                    0 => return,
                    port => lead(client, port),
                }
            }
        });
        Self { port, to }
    }

    /// Later connections come to this port.
    pub(super) fn lead_to(&self, port: u16) {
        self.to.store(port, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.lead_to(0);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Copies in both directions, until one of the two ends.
fn lead(client: TcpStream, port: u16) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
        return;
    };
    let ways = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
    for (from, to) in ways {
        let (mut from, mut to) = (from.expect("a socket"), to.expect("a socket"));
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        });
    }
}

impl Redis {
    pub(super) fn start(arguments: &[&str]) -> Self {
        Self::start_on(free_port(), arguments)
    }

    pub(super) fn start_on(port: u16, arguments: &[&str]) -> Self {
        Self::start_in(port, |_| arguments.iter().map(|text| (*text).to_owned()).collect())
    }

    /// Starts a server with settings about files in its directory. With a certificate, it speaks
    /// TLS only.
    pub(super) fn start_in(port: u16, arguments: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let directory = std::env::temp_dir().join(format!("sio-redis-{}-{port}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let arguments = arguments(&directory);
        let child = Self::spawn(port, &directory, &arguments);
        let mut redis = Self {
            port,
            directory,
            arguments,
            child,
        };
        redis.wait();
        redis
    }

    /// Starts three masters that have a third of all slots each.
    pub(super) fn start_cluster() -> Vec<Self> {
        let settings = ["cluster-enabled yes", "cluster-node-timeout 2000"];
        let servers: Vec<Self> = (0..3).map(|_| Self::start(&settings)).collect();
        let addresses: Vec<String> = servers
            .iter()
            .map(|redis| format!("127.0.0.1:{}", redis.port))
            .collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(addresses.iter().map(String::as_str));
        create.push("--cluster-yes");
        let created = servers[0].cli(&create);
        assert!(created.contains("All 16384 slots covered"), "{created}");
        servers
    }

    /// Starts a master called `main`, its replica, and a sentinel that knows both.
    pub(super) fn start_with_sentinel() -> (Self, Self, Self) {
        let master = Self::start(&[]);
        let replica = Self::start(&[&format!("replicaof 127.0.0.1 {}", master.port)]);
        let until = |what: &str, is_so: &dyn Fn() -> bool| {
            let started = Instant::now();
            while !is_so() {
                assert!(started.elapsed() < Duration::from_secs(20), "no {what}");
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        until("replication", &|| {
            replica.cli(&["INFO", "replication"]).contains("master_link_status:up")
        });
        let sentinel = Self::start(&[
            "--sentinel",
            &format!("sentinel monitor main 127.0.0.1 {} 1", master.port),
            "sentinel down-after-milliseconds main 500",
            "sentinel failover-timeout main 2000",
        ]);
        // The sentinel asks the master for its replicas every ten seconds.
        until("replica", &|| {
            sentinel.cli(&["SENTINEL", "REPLICAS", "main"]).contains("127.0.0.1")
        });
        (master, replica, sentinel)
    }

    fn spawn(port: u16, directory: &PathBuf, arguments: &[String]) -> Child {
        let mut command = Command::new("redis-server");
        // A sentinel writes its file anew. So does a server that is made a replica.
        let file = directory.join("redis.conf");
        let is_sentinel = arguments.iter().any(|text| text == "--sentinel");
        let mut settings = fs::File::create(&file).expect("a file of settings");
        let mut set = |text: &str| writeln!(settings, "{text}").expect("a setting");
        match arguments.iter().any(|text| text.starts_with("tls-cert-file")) {
            true => set(&format!("port 0\ntls-port {port}")),
            false => set(&format!("port {port}")),
        }
        set("bind 127.0.0.1");
        if is_sentinel {
            arguments
                .iter()
                .filter(|text| *text != "--sentinel")
                .for_each(|text| set(text));
            command.arg(&file).arg("--sentinel");
        } else {
            set("save \"\"");
            set("repl-diskless-sync-delay 0");
            arguments.iter().for_each(|text| set(text));
            command.arg(&file);
        }
        command
            .current_dir(directory)
            .stdout(Stdio::null())
            .stdin(Stdio::null());
        let why = "redis-server cannot be started: install it (apt-get install redis-server)";
        command.spawn().expect(why)
    }

    /// Waits until the server listens. Its port was free a moment ago, and may have become the own
    /// port of somebody's connection: then the server has ended, and is started again.
    fn wait(&mut self) {
        let started = Instant::now();
        while !self.listens() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "redis-server does not listen"
            );
            std::thread::sleep(Duration::from_millis(10));
            if self.child.try_wait().expect("a process").is_some() {
                self.child = Self::spawn(self.port, &self.directory, &self.arguments);
            }
        }
    }

    /// Whether a connection reaches the server, and not itself: one to a port that nobody listens
    /// on may have this port for its own.
    fn listens(&self) -> bool {
        let stream = TcpStream::connect(("127.0.0.1", self.port));
        stream.is_ok_and(|stream| stream.local_addr().ok() != stream.peer_addr().ok())
    }

    /// Ends the process at once, as `kill -9` does.
    pub(super) fn kill(&mut self) {
        self.child.kill().expect("a process");
        self.child.wait().expect("its end");
    }

    pub(super) fn start_again(&mut self) {
        self.child = Self::spawn(self.port, &self.directory, &self.arguments);
        self.wait();
    }

    /// `STOP` or `CONT`.
    pub(super) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let done = Command::new("kill").args([format!("-{name}"), id]).status();
        assert!(done.expect("kill").success());
    }

    /// What `redis-cli` answers.
    pub(super) fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(arguments).output();
        let output = output.expect("redis-cli");
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
