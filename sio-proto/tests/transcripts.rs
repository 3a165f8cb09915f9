//! A server's transcript is written, read by people, and run again.
//!
//! The transcripts in `tests/transcripts` come from `stories`. `SIO_WRITE_TRANSCRIPTS=1`
//! writes them anew. Read the difference before you commit it.

mod common;
mod stories;

use std::fs;
use std::path::PathBuf;

use common::*;
use sio_proto::server::transcript::{Detail, Limits, Problem, RecorderOptions, ReplayError, Replayed, replay};
use sio_proto::server::{Budget, Cause, LocalQuota, QuotaLimits, Shard};
use sio_proto::{Config, Cookie};
use stories::{STORIES, Story};

fn recorded(config: Config, detail: Detail) -> World {
    let mut world = World::new(config);
    let options = RecorderOptions::default().detail(detail);
    world.shard(|shard, _| shard.start_transcript(options));
    world
}

fn taken(world: &mut World) -> String {
    world.shard(|shard, _| shard.take_transcript())
}

fn file(name: &str) -> PathBuf {
    [
        env!("CARGO_MANIFEST_DIR"),
        "tests",
        "transcripts",
        &format!("{name}.txt"),
    ]
    .iter()
    .collect()
}

fn committed(name: &str) -> String {
    fs::read_to_string(file(name)).expect("the transcript of the story is committed")
}

fn replayed(text: &str) -> Result<Replayed, ReplayError> {
    replay(text, Config::default(), &Limits::default())
}

#[test]
fn every_story_is_as_it_was_committed() {
    for (name, config, story) in STORIES {
        let mut world = recorded(config(), Detail::Full);
        story(&mut world);
        let text = taken(&mut world);
        if std::env::var_os("SIO_WRITE_TRANSCRIPTS").is_some() {
            fs::write(file(name), &text).expect("a writable file");
        }
        let committed = committed(name);
        let differs = text
            .lines()
            .zip(committed.lines())
            .enumerate()
            .find(|(_, (now, then))| now != then);
        assert_eq!(differs, None, "{name}");
        assert_eq!(text.lines().count(), committed.lines().count(), "{name}");
    }
}

#[test]
fn every_committed_transcript_is_replayed() {
    for (name, ..) in STORIES {
        let text = committed(name);
        let replayed = replayed(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            replayed.inputs,
            text.lines().filter(|line| line.contains(" > ")).count(),
            "{name}"
        );
    }
}

/// A server with a transcript works exactly as a server without one.
#[test]
fn a_transcript_changes_nothing() {
    for (name, config, story) in STORIES {
        let mut plain = World::new(config());
        story(&mut plain);
        for detail in [Detail::Short, Detail::Full] {
            let mut watched = recorded(config(), detail);
            story(&mut watched);
            assert_eq!(watched.sent, plain.sent, "{name}");
            assert_eq!(watched.heard(), plain_heard(config, story), "{name}");
        }
    }
}

fn plain_heard(config: fn() -> Config, story: Story) -> Vec<String> {
    let mut plain = World::new(config());
    story(&mut plain);
    plain.heard()
}

/// The transcript for people.
#[test]
fn a_short_transcript_is_for_reading() {
    let mut world = recorded(Config::default(), Detail::Short);
    let link = world.join();
    world.send(
        link,
        &text("42[\"chat\",\"a rather long text that nobody wants to read in a log\"]"),
    );
    world.pass(25_000);
    world.send(link, &text("3"));
    world.cut(link, Cause::Closed);
    assert_eq!(taken(&mut world), SHORT);
}

const SHORT: &str = r#"sio-transcript 1 short
shard 0 … 0
0.000000 > request 0.0 GET "/socket.io/?EIO=4&transport=websocket" 1 - plain allowed unprepared body "" 5
0.000000 < upgrade 0.0 "…+xOo=" "Engine4" 0
0.000000 ~ 25.000000 Ping 0.0 -
0.000000 > flush 64
0.000000 < frame 0.0 text "0{\"sid\":\"…"…+87
0.000000 > packets 0.0
0.000000 + socket connect "/" - -
0.000000 < connect 0.0 0.0 "/" … - 4.x websocket Engine4 -
0.000000 > accept 0.0 - -
0.000000 = true
0.000000 > flush 64
0.000000 < frame 0.0 text "40{\"sid\":\"…\"}"
0.000000 > packets 0.0
0.000000 + socket event "/" "chat" - "\"a rather long text that nobody "…+23 0 0
0.000000 < event 0.0 "chat" - "\"a rather long text that nobody "…+23 0 0
25.000000 > timeout
25.000000 ~ 45.000000 Pong 0.0 -
25.000000 > flush 64
25.000000 < frame 0.0 text "2"
25.000000 > packets 0.0
25.000000 + pong ""
25.000000 ~ 45.000000 Nothing 0.0 -
25.000000 > closed 0.0 closed
25.000000 < disconnect 0.0 "transport close" - connected 0
25.000000 ~ 45.000000 Nothing - -
"#;

/// A short transcript shows nothing that lets a reader act as a client.
#[test]
fn a_short_transcript_has_no_secrets() {
    for (name, config, story) in STORIES {
        let mut world = recorded(config(), Detail::Short);
        story(&mut world);
        let text = taken(&mut world);
        let longest = text
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
            .map(str::len)
            .max();
        assert!(longest < Some(32), "{name}: {text}");
        for secret in ["a very secret one", "secret", "dGhlIHNhbXBsZSBub25jZQ", "of=today"] {
            assert!(!text.contains(secret), "{name}: {secret} in {text}");
        }
        assert!(text.bytes().all(|byte| byte == b'\n' || byte >= b' '), "{name}");
    }
}

/// An error names the mistake in a transcript and its line.
#[test]
fn a_malformed_transcript_is_an_error_with_its_line() {
    let good = committed("engine4");
    let head: String = good.lines().take(2).map(|line| format!("{line}\n")).collect();
    let with = |lines: &str| format!("{head}{lines}");
    let cases = [
        (String::new(), 1, "this is no transcript of version 1"),
        (
            "sio-transcript 2 full\n".into(),
            1,
            "this is no transcript of version 1",
        ),
        (good.replacen("full", "short", 1), 1, "cannot be replayed"),
        ("sio-transcript 1 full\n".into(), 2, "the line of the shard is missing"),
        ("sio-transcript 1 full\nshard 0 07 0\n".into(), 2, "the key is expected"),
        (head.replacen("07 0\n", "07 3\n", 1), 2, "cannot be replayed"),
        (head.replacen("07 0\n", "07 0 0\n", 1), 2, "too long by some words"),
        (
            good.replacen("full", "long", 1),
            1,
            "this is no transcript of version 1",
        ),
        (with("set max_payload many\n"), 3, "the value of a setting is expected"),
        (with("set colour blue\n"), 3, "the name of a setting is expected"),
        (with("set parser \"Some(Mine)\"\n"), 3, "written with another `parser`"),
        (
            with("set legacy09.poll_duration 999.000000\n"),
            4,
            "the config makes no sense",
        ),
        (with("x\n"), 3, "a time is expected"),
        (with("0.0 > timeout\n"), 3, "a time is expected"),
        (with("0.000000\n"), 3, "a mark is missing"),
        (with("0.000000 < frame\n"), 3, "a line of this kind cannot stand here"),
        (with("0.000000 > dance\n"), 3, "an input is expected"),
        (with("0.000000 > timeout now\n"), 3, "too long by some words"),
        (
            with("0.000000 > timeout\n0.000000 * drawn 00 00\n"),
            4,
            "too long by some words",
        ),
        (with("0.000000 > join 0.0 \"lobby\"now\n"), 3, "a room is expected"),
        (
            with("0.000000 > disconnect 0.0 both\n"),
            3,
            "session or namespace is expected",
        ),
        (with("0.000000 > refuse 0.0 \"no\" -1\n"), 3, "data is missing"),
        (with("0.000000 > broadcast \"/\" 500 \"a\"\n"), 3, "rooms is expected"),
        (with("0.000000 > drained 1000000.0\n"), 3, "a link is expected"),
        (
            with("0.000000 > packets 0.0\n0.000000 + socket disconnect \"/a,b\"\n"),
            4,
            "a namespace is expected",
        ),
        (
            with("0.000000 > packets 0.0\n0.000000 + socket disconnect \"a\"\n"),
            4,
            "a namespace is expected",
        ),
        (
            with("0.000000 > packets 0.0\n0.000000 + json \"{\"\n"),
            4,
            "a JSON value is expected",
        ),
        (with("0.000000 > accept 0\n"), 3, "a socket is expected"),
        (
            with("0.000000 > accept 0.0 - - rate 1 0 0 0 throttle\n"),
            3,
            "the config makes no sense",
        ),
        (with("0.000000 > blocked 4000000000.0 1\n"), 3, "a link is expected"),
        (with("0.000000 > join 0.0 lobby\n"), 3, "a room is missing"),
        (with("0.000000 > join 0.0 \"lob\n"), 3, "a room is expected"),
        (with("0.000000 > join 0.0 \"lob\\q\"\n"), 3, "a room is expected"),
        (with("0.000000 > join 0.0 \"\\xff\"\n"), 3, "a room is expected"),
        (
            with("0.000000 > packets 0.0\n0.000000 + dance\n"),
            4,
            "a kind of packet is expected",
        ),
        (
            with("0.000000 > timeout\n0.000000 + noop\n"),
            4,
            "a line of this kind cannot stand here",
        ),
        (
            with("0.000000 > timeout\n1.000000 + noop\n"),
            4,
            "the time of the input is expected",
        ),
        (
            with("1.000000 > accept 0.0 - -\n0.000000 > accept 0.0 - -\n"),
            4,
            "the time goes back",
        ),
        (with("0.000000 ! lost 3\n"), 3, "inputs are missing"),
        (
            with("0.000000 > broadcast \"/\" 99999999 \"a\"\n"),
            3,
            "rooms is expected",
        ),
        (
            with("0.000000 > packets 0.0\n0.000000 + socket event \"/\" \"a\" - \"{\" 0 0\n"),
            4,
            "arguments is expected",
        ),
    ];
    for (text, line, problem) in cases {
        let Err(ReplayError::Unreadable(error)) = replayed(&text) else {
            panic!("{text:?} was read: {:?}", replayed(&text));
        };
        let said = error.to_string();
        assert!(
            error.line == line && said.contains(problem),
            "{said:?} is not \"line {line}: {problem}\" for {text:?}"
        );
    }
}

/// A damaged transcript gives an error or another run, and never a panic.
#[test]
fn a_damaged_transcript_does_no_harm() {
    let mut random = 7u64;
    let mut draw = |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below.max(1)
    };
    for (name, ..) in STORIES {
        let good = committed(name);
        let lines: Vec<&str> = good.lines().collect();
        // A long story costs more for each round.
        for round in 0..400.min(24_000 / lines.len()) {
            let at = 2 + draw(lines.len() - 2);
            let mut damaged: Vec<String> = lines.iter().map(ToString::to_string).collect();
            match round % 4 {
                0 => drop(damaged.remove(at)),
                1 => damaged.swap(at, 2 + draw(lines.len() - 2)),
                2 => {
                    let end = (0..=draw(damaged[at].len()))
                        .rev()
                        .find(|end| damaged[at].is_char_boundary(*end));
                    damaged[at].truncate(end.unwrap_or_default());
                }
                _ => {
                    let mut words: Vec<&str> = lines[at].split(' ').collect();
                    let other: Vec<&str> = lines[2 + draw(lines.len() - 2)].split(' ').collect();
                    let place = draw(words.len());
                    words[place] = other[draw(other.len())];
                    damaged[at] = words.join(" ");
                }
            }
            let _ = replayed(&damaged.join("\n"));
        }
    }
}

#[test]
fn the_first_difference_is_told_with_what_came_before() {
    let good = committed("engine4");
    let then = "frame 0.0 text \"42[\\\"news\\\",1]\"";
    let changed = good.replacen(then, "frame 0.0 text \"42[\\\"news\\\",2]\"", 1);
    assert_ne!(changed, good);
    let Err(ReplayError::Differs(difference)) = replayed(&changed) else {
        panic!("{:?}", replayed(&changed));
    };
    let line = good.lines().position(|line| line.contains(then));
    assert_eq!(Some(difference.line - 1), line);
    let said = difference.to_string();
    assert!(
        said.contains("then  0.000000 < frame 0.0 text \"42[\\\"news\\\",2]\""),
        "{said}"
    );
    assert!(
        said.contains("now   0.000000 < frame 0.0 text \"42[\\\"news\\\",1]\""),
        "{said}"
    );
    assert!(
        difference.before.iter().any(|line| line.contains("broadcast")),
        "{said}"
    );
}

#[test]
fn a_reader_takes_no_more_than_it_may() {
    let good = committed("engine4");
    let read = |limits: Limits| match replay(&good, Config::default(), &limits) {
        Err(ReplayError::Unreadable(error)) => error.problem,
        other => panic!("{other:?}"),
    };
    assert_eq!(read(Limits::default().max_bytes(100)), Problem::TooLarge);
    assert_eq!(read(Limits::default().max_line_bytes(100)), Problem::LineTooLong);
    let longest = good.lines().map(str::len).max().expect("it has lines");
    assert_eq!(read(Limits::default().max_bytes(good.len() - 1)), Problem::TooLarge);
    assert_eq!(
        read(Limits::default().max_line_bytes(longest - 1)),
        Problem::LineTooLong
    );
    let exact = Limits::default().max_bytes(good.len()).max_line_bytes(longest);
    assert!(replay(&good, Config::default(), &exact).is_ok());
}

/// A replay takes its settings from the transcript, except for those that no text can hold: these
/// have to be the same.
#[test]
fn a_replay_has_the_settings_of_its_transcript() {
    let replayed = |text: &str, base: Config| match replay(text, base, &Limits::default()) {
        Ok(_) => None,
        Err(ReplayError::Unreadable(error)) => Some(error.problem),
        Err(ReplayError::Differs(difference)) => panic!("{difference}"),
    };
    let with_cookie = || {
        let mut config = Config::default();
        config.cookie = Some(Cookie::default());
        config
    };
    let mut world = recorded(with_cookie(), Detail::Full);
    world.join_polling();
    let text = taken(&mut world);
    let other = Some(Problem::OtherSetting("cookie"));
    assert_eq!(replayed(&text, with_cookie()), None);
    assert_eq!(
        replayed(&text, with_cookie().max_payload(7)),
        None,
        "it says nothing else"
    );
    assert_eq!(replayed(&text, Config::default()), other);
    assert_eq!(replayed(&committed("raw"), with_cookie()), other);
    // They are compared as well.
    let head = text.lines().take(2).map(|line| format!("{line}\n"));
    let strange = format!("{}set max_payload 07\n", head.collect::<String>());
    let Err(ReplayError::Differs(difference)) = replay(&strange, Config::default(), &Limits::default()) else {
        panic!("it was written in another way");
    };
    assert_eq!(
        (difference.line, difference.found.as_deref()),
        (3, Some("set max_payload 7"))
    );
}

/// A line that is missing is a difference, and is told with the lines before it.
#[test]
fn a_missing_output_is_a_difference() {
    let good = committed("engine4");
    let lines: Vec<&str> = good.lines().collect();
    // The last line of its input.
    let pairs = lines.windows(2);
    let ends = |pair: &[&str]| pair[0].contains(" < ") && pair[1].contains(" > ");
    let last = pairs.enumerate().rev().find_map(|(at, pair)| ends(pair).then_some(at));
    let last = last.expect("an input ends with an output");
    let without = [&lines[..last], &lines[last + 1..]].concat().join("\n");
    let Err(ReplayError::Differs(difference)) = replayed(&without) else {
        panic!("{:?}", replayed(&without));
    };
    assert_eq!(
        (difference.line, difference.found.as_deref()),
        (last + 1, Some(lines[last]))
    );
    assert_eq!(difference.before, lines[last - 12..last]);
}

/// Text that is not taken is bounded, and the transcript says what is missing.
#[test]
fn text_that_nobody_takes_has_an_end() {
    let chat = text("42[\"chat\",\"hello\"]");
    let mut world = World::new(Config::default());
    let options = RecorderOptions::default()
        .detail(Detail::Full)
        .max_buffered_bytes(2_000);
    world.shard(|shard, _| shard.start_transcript(options));
    let link = world.join();
    for _ in 0..100 {
        world.send(link, &chat);
    }
    let text = taken(&mut world);
    assert!(text.len() <= 4_000, "{}", text.len());
    world.send(link, &chat);
    let rest = taken(&mut world);
    assert!(rest.starts_with("0.000000 ! lost "), "{rest}");
    match replayed(&format!("{text}{rest}")) {
        Err(ReplayError::Unreadable(error)) => assert_eq!(error.problem, Problem::Lost),
        other => panic!("{other:?}"),
    }
    // The lines of one input may take twice the room. If they take more, it is left out.
    world.send(link, &chat.repeat(30));
    assert_eq!(taken(&mut world).matches(" + socket event ").count(), 30);
    world.send(link, &chat.repeat(1_000));
    let rest = taken(&mut world);
    assert!(
        rest.ends_with("0.000000 ! lost 1\n") && !rest.contains(" > packets "),
        "{rest}"
    );
    world.shard(|shard, _| shard.end_transcript());
    world.send(link, &chat);
    assert_eq!(taken(&mut world), "");
}

/// The values of shared quotas and budgets come from outside, and a replay gets the same values.
#[test]
fn a_shared_quota_and_budget_are_replayed() {
    let config = Config::default().max_sessions(2).max_total_queued_bytes(10_000);
    let mut world = recorded(config.clone(), Detail::Full);
    let quota = Box::new(LocalQuota::new(QuotaLimits::new(&config)));
    let budget = std::sync::Arc::new(Budget::new(config.max_total_queued_bytes));
    let other = std::sync::Arc::clone(&budget);
    world.shard(|shard, _| {
        shard.share_quota(quota);
        shard.share_budget(budget);
    });
    for _ in 0..2 {
        world.ask(&get(POLLING));
    }
    world.join_polling();
    let socket = world.last_socket();
    // Another shard has filled the budget.
    other.recharge(0, 20_000);
    assert!(world.emit(socket, "news", "1").is_err());
    other.recharge(20_000, 0);
    world.emit(socket, "news", "1").expect("room again");
    // Another shard shares the budget for some time.
    let random = Box::new(|out: &mut [u8]| out.fill(7));
    let mut shard = Shard::new(config, 1, [7; 16], random).expect("the config of the first shard");
    shard.share_budget(other);
    world.emit(socket, "news", "2").expect("room");
    drop(shard);
    world.emit(socket, "news", "3").expect("room");
    let text = taken(&mut world);
    for fact in [" * quota ", " * budget 20230 1", "= Full"] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    let shares = |line: &str| line.contains(" * budget ") && line.ends_with(" 2");
    assert!(text.lines().any(shares), "two shards: {text}");
    replayed(&text).unwrap_or_else(|error| panic!("{error}"));
}
