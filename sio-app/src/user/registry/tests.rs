use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;
use crate::tests::{Driven, server, text};
use crate::{Config, Io, Options, Refusal};

#[test]
fn patterns() {
    for (pattern, name, expected) in [
        ("/tenant-*", "/tenant-1", true),
        ("/tenant-*", "/tenant-", true),
        ("/tenant-*", "/tenant", false),
        ("/tenant-*", "/tenant-1/x", false),
        ("/*/x", "/é/x", true),
        ("/*/x", "/a/b/x", false),
        ("/a*b*c", "/axxbyyc", true),
        ("/a*b*c", "/abbc", true),
        ("/a*b*c", "/abb", false),
        ("/a*a", "/a", false),
        ("/a*b*b", "/ab", false),
        ("/a*b*b", "/abb", true),
        ("/*a*b*", "/bab", true),
        ("/*a*b*", "/bba", false),
        ("/**", "/x", true),
        ("*", "/", false),
        ("/*", "/", true),
        ("/*", "/x/", false),
        ("/a", "/a", true),
    ] {
        assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
    }
    assert_eq!(normalized("a"), "/a");
    assert_eq!(normalized("/a"), "/a");
}

/// Matches a pattern in the simplest way.
fn fits_naively(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) if fits_naively(rest, name) => true,
        (['*', ..], [first, others @ ..]) => *first != '/' && fits_naively(pattern, others),
        ([wanted, rest @ ..], [first, others @ ..]) => wanted == first && fits_naively(rest, others),
        _ => false,
    }
}

#[test]
fn all_short_patterns_mean_what_they_say() {
    let texts = |letters: &[char], longest: u32| -> Vec<String> {
        let base = letters.len();
        let of = |length: u32| (0..base.pow(length)).map(move |n| (length, n));
        (0..=longest)
            .flat_map(of)
            .map(|(length, n)| (0..length).map(|at| letters[n / base.pow(at) % base]).collect())
            .collect()
    };
    let names = texts(&['a', 'b', '/'], 5);
    for pattern in texts(&['a', 'b', '*', '/'], 4) {
        let letters: Vec<char> = pattern.chars().collect();
        for name in &names {
            let expected = fits_naively(&letters, &name.chars().collect::<Vec<_>>());
            assert_eq!(fits(&pattern, name), expected, "{pattern} {name}");
        }
    }
}

/// Hardening A16.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "it is about the time that the work really takes"
)]
fn a_pattern_is_matched_in_linear_time() {
    let name = format!("/{}", "ab".repeat(500_000));
    let start = Instant::now();
    for pattern in ["/*a*a*c", "/*ab*ab*ab*c", "/*b*a*b*a*d*"] {
        assert!(!fits(pattern, &name));
    }
    assert!(start.elapsed().as_millis() < 1_000, "{:?}", start.elapsed());
}

/// Connects a client, and returns whether it is let into the namespace.
fn lets_in(io: &Io, namespace: &str) -> bool {
    let mut client = Driven::connected(io);
    let _ = client.read(&text(&format!("40{namespace},")));
    let written = client.written();
    assert_eq!(
        written.contains(&format!("40{namespace},")),
        !written.contains("44"),
        "{namespace} {written:?}"
    );
    written.contains(&format!("40{namespace},"))
}

fn refuse(_: Socket) -> Result<(), Refusal> {
    Err(Refusal::new("locked"))
}

/// Hardening A18.
#[test]
fn addressing_a_namespace_does_not_switch_off_the_rule_that_covers_it() {
    let io = server(1);
    io.of_pattern("/locked-*").with(refuse);
    io.of_fn(|name, _| name.starts_with("/vault")).with(refuse);
    let _client = Driven::connected(&io);
    for name in ["/locked-1", "/vault-1", "/nowhere", "/a,b"] {
        let namespace = io.of(name);
        namespace.emit("news", 1);
        namespace.to("room").except("other").emit("news", 2);
        assert!(namespace.sockets().is_empty());
        namespace.all().join("room");
        namespace.all().disconnect();
        assert!(name.contains(',') || !lets_in(&io, name), "{name}");
    }
    assert_eq!(
        io.0.namespaces.registered.read().named.len(),
        1,
        "nothing is kept but the main namespace"
    );
}

/// Hardening A18.
#[test]
fn what_is_registered_for_a_covered_name_is_added_to_the_rule() {
    let io = server(1);
    // This name is registered before the rule, so it is a separate namespace.
    io.of("/tenant-admin").create();
    let tenants = io
        .of_pattern("/tenant-*")
        .with(|socket: Socket| match socket.auth::<String>() {
            Some(_) => Err("no"),
            None if socket.namespace() == "/tenant-3" => Err("locked"),
            None => Ok(()),
        });
    tenants
        .on("who", |socket: Socket| socket.emit("rule", ()))
        .on("what", |socket: Socket| socket.emit("rule", ()));
    let own = io.of("/tenant-1").on("who", |socket: Socket| socket.emit("own", ()));
    io.of("/tenant-3").on("who", || ());
    assert!(lets_in(&io, "/tenant-admin") && lets_in(&io, "/tenant-1") && !lets_in(&io, "/tenant-3"));

    let mut client = Driven::connected(&io);
    let _ = client.read(&text("40/tenant-1,"));
    let _ = client.read(&[text(r#"42/tenant-1,["who"]"#), text(r#"42/tenant-1,["what"]"#)].concat());
    let written = client.written();
    assert!(
        written.contains(r#"42/tenant-1,["own"]"#) && written.contains(r#"42/tenant-1,["rule"]"#),
        "{written}"
    );
    // The namespace is one of the rule's, and gets what is sent to all of them.
    tenants.emit("all", ());
    assert!(client.written().contains(r#"42/tenant-1,["all"]"#));
    // The namespace's own middleware is asked as well.
    own.with(refuse);
    assert!(!lets_in(&io, "/tenant-1"));
}

/// Hardening A18.
#[test]
fn names_that_clients_choose_leave_nothing_behind() {
    let io = server(2);
    let rule = io.of_pattern("/tenant-*");
    let names = |io: &Io| {
        let registered = io.0.namespaces.registered.read();
        let of_rules = registered.rules.iter().map(|rule| rule.behaviour.names.all().len());
        (registered.named.len(), of_rules.sum::<usize>())
    };
    let mut clients: Vec<_> = (0..4).map(|_| Driven::connected(&io)).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        for n in 0..20 {
            let _ = client.read(&text(&format!("40/tenant-{}", n * (at % 2 + 1))));
        }
        io.of(&format!("/tenant-{at}")).emit("x", ());
    }
    assert_eq!(names(&io), (1, 30));
    let _ = clients[0].read(&text("41/tenant-0"));
    assert_eq!(rule.sockets().len(), 79);
    drop(clients);
    assert_eq!(names(&io), (1, 0));
}

/// Hardening C12.
#[test]
fn a_handle_of_a_rule_reaches_all_namespaces_of_the_rule() {
    let io = server(2);
    let pattern = io
        .of_pattern("/tenant-*")
        .on("hush", |socket: Socket| socket.join("quiet"));
    let function = io.of_fn(|name, _| name.starts_with("/room"));
    let elsewhere = io.of("/elsewhere").create();
    let mut clients: Vec<_> = (0..4).map(|_| Driven::connected(&io)).collect();
    let namespaces = ["/tenant-1", "/tenant-2", "/room", "/elsewhere"];
    for (client, namespace) in clients.iter_mut().zip(namespaces) {
        let _ = client.read(&text(&format!("40{namespace},")));
        client.written();
    }
    let mut heard = || {
        let mut heard = clients.iter_mut().zip(namespaces).map(|(client, namespace)| {
            let written = client.written();
            let all = written.matches("42/").count();
            assert_eq!(
                all,
                written.matches(&format!("42{namespace},[\"news\"")).count(),
                "{written}"
            );
            all
        });
        [(); 4].map(|()| heard.next().unwrap())
    };
    pattern.emit("news", 1);
    assert_eq!(heard(), [1, 1, 0, 0]);
    function.emit("news", 1);
    assert_eq!(heard(), [0, 0, 1, 0]);
    assert_eq!([&pattern, &function, &elsewhere].map(|n| n.sockets().len()), [2, 1, 1]);
    io.of("/tenant-1").all().join("quiet");
    pattern.except("quiet").emit("news", 2);
    assert_eq!(heard(), [0, 1, 0, 0]);
    pattern.to("quiet").volatile().emit("news", 3);
    assert_eq!(heard(), [1, 0, 0, 0]);
    pattern.all().join("both");
    pattern.all().leave("quiet");
    pattern.to("quiet").emit("news", 4);
    pattern.to("both").emit("news", 5);
    assert_eq!(heard(), [1, 1, 0, 0]);
    pattern.to("both").disconnect();
    assert_eq!((pattern.sockets().len(), function.sockets().len()), (0, 1));
}

#[test]
fn rules_are_asked_in_their_order_and_only_by_clients() {
    let asked = Arc::new(AtomicUsize::new(0));
    let io = Io::new(Config::default(), Options::default().shards(1), crate::tests::RUNTIME).unwrap();
    let count = Arc::clone(&asked);
    io.of_fn(move |name, socket| {
        count.fetch_add(1, Ordering::Relaxed);
        assert_eq!(name, socket.namespace());
        name == "/a"
    })
    .with(refuse);
    io.of_pattern("/*").create();
    io.of("/a").emit("x", ());
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    assert!(!lets_in(&io, "/a"));
    assert!(lets_in(&io, "/b"));
    assert_eq!(
        asked.load(Ordering::Relaxed),
        2,
        "the main namespace is nobody's but its own"
    );
}

/// Without members, the rule of a namespace is the first pattern that covers it, if the pattern was
/// registered before the name.
#[cfg(feature = "redis")]
#[test]
fn servers_are_answered_through_the_pattern_that_covers_the_name() {
    let io = server(1);
    io.of("/t-first").create();
    io.of_fn(|_, _| panic!("only clients ask"))
        .on_server_side("ask", |_| ());
    io.of_pattern("/t-*").on_server_side("ask", |_| ());
    io.of("/t-last").create();
    let handlers = |name: &str| io.0.namespaces.server_side(name, "ask").len();
    let known = ["/t-1", "/t-last", "/t-first", "/x"].map(handlers);
    assert_eq!(known, [1, 1, 0, 0]);
    assert_eq!(io.0.namespaces.server_side("/t-1", "tell").len(), 0);
}
