//! The settings that are refused, and the names in their errors.

use super::*;
use crate::codec::Framing;

#[test]
fn defaults_are_valid_and_nonsense_is_named() {
    assert!(Config::default().validate().is_ok());
    assert_eq!(
        Config::default().path("/x/").validate().unwrap_err(),
        ConfigError::Path("/x/".into())
    );
    assert_eq!(
        Config::default().path("x").validate().unwrap_err(),
        ConfigError::Path("x".into())
    );
    let zero = Config::default().ping_timeout(Duration::ZERO).validate();
    assert_eq!(zero.unwrap_err(), ConfigError::Duration("ping_timeout"));
    assert_eq!(
        Config::default().max_payload(0).validate().unwrap_err(),
        ConfigError::ZeroLimit("max_payload")
    );
    let http = http::Limits::default().max_chunks(0);
    let config = Config {
        http,
        ..Config::default()
    };
    assert_eq!(
        config.validate().unwrap_err(),
        ConfigError::ZeroLimit("http.max_chunks")
    );
    let cookie = Cookie {
        name: "a;b".into(),
        ..Cookie::default()
    };
    assert_eq!(
        Config::default().cookie(cookie).validate().unwrap_err(),
        ConfigError::Cookie
    );
}

#[test]
fn every_codec_has_a_path_of_its_own() {
    let with = |paths: &[&str]| {
        let legacy = paths
            .iter()
            .fold(Legacy06::default(), |legacy, path| legacy.mount(*path, Framing));
        Config::default().legacy06(legacy).validate().map(|_| ())
    };
    assert_eq!(with(&["/a", "/b/c", "/ab", "/socket.io2"]), Ok(()));
    assert_eq!(with(&["/a/"]), Err(ConfigError::Path("/a/".into())));
    for (paths, refused) in [
        (&["/socket.io"][..], "/socket.io"),
        (&["/socket.io/old"], "/socket.io/old"),
        (&["/a", "/a"], "/a"),
        (&["/a", "/a/b"], "/a/b"),
        (&["/a/b", "/a"], "/a"),
    ] {
        assert_eq!(with(paths), Err(ConfigError::Mount(refused.into())));
    }
    let engine = Config {
        engine_path: Some("/a".into()),
        ..Config::default()
    };
    let engine = engine.legacy06(Legacy06::default().mount("/a", Framing)).validate();
    assert_eq!(engine.unwrap_err(), ConfigError::Mount("/a".into()));
    let most = ["/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8"];
    assert_eq!(with(&most[..7]), Ok(()));
    assert_eq!(with(&most), Err(ConfigError::Codecs(9)));
}

#[test]
fn one_payload_limit_reaches_every_place_that_enforces_it() {
    let config = Config::default().max_payload(77).validate().unwrap();
    assert_eq!(config.http.max_body_bytes, 77);
    assert_eq!(config.websocket.max_message_bytes, 77);
    let config = Config::default().max_auth_bytes(78).validate().unwrap();
    assert_eq!(config.packet.max_auth_bytes, 78);
}

/// A limit that follows another setting has no value of its own. A value that would be overwritten
/// is refused, and the error names the setting to use.
#[test]
fn what_would_be_overwritten_is_refused() {
    let check = |config: Config| config.validate().map(|_| ());
    let follows = |field, setting| Err(ConfigError::Follows(field, setting));
    let http = |bytes| Config::default().http(http::Limits::default().max_body_bytes(bytes));
    let websocket = websocket::Limits::default();
    let packet = socket::text::Limits {
        max_auth_bytes: 5,
        ..socket::text::Limits::default()
    };
    assert_eq!(check(http(5)), follows("http.max_body_bytes", "max_payload"));
    assert_eq!(check(http(5).max_payload(5)), Ok(()));
    assert_eq!(check(http(1_000_000).max_payload(5)), Ok(()));
    assert_eq!(
        check(Config::default().websocket(websocket.max_frame_bytes(5))),
        follows("websocket.max_frame_bytes", "max_payload")
    );
    assert_eq!(
        check(Config::default().websocket(websocket.max_message_bytes(5))),
        follows("websocket.max_message_bytes", "max_payload")
    );
    assert_eq!(
        check(Config::default().packet(packet)),
        follows("packet.max_auth_bytes", "max_auth_bytes")
    );
    let twice = Config::default().max_payload(77).validate().unwrap();
    assert_eq!(check(twice), Ok(()), "what has been checked is valid");
}

/// Each setting has a setter; otherwise the macro does not compile. In earlier versions these
/// settings had to be set field by field.
#[test]
fn settings_are_chained() {
    let config = Config::default()
        .engine_path("/engine.io")
        .close_timeout(Duration::from_secs(1))
        .crossing_timeout(Duration::from_millis(5))
        .allow_upgrades(false)
        .flash_policy(Vec::new())
        .http(http::Limits::default().max_headers(50))
        .websocket(websocket::Limits::default().max_fragments(9))
        .attachment_timeout(Duration::from_secs(2))
        .max_upgrade_packets(3)
        .generations(Generations::default().legacy06(false))
        .legacy09(Legacy09::default().max_unjoined_packets(7).flashsocket(true))
        .legacy06(Legacy06::default().reconnect_timeout(Duration::from_secs(3)))
        .validate()
        .unwrap();
    assert_eq!(config.engine_path.as_deref(), Some("/engine.io"));
    assert_eq!(config.close_timeout, Duration::from_secs(1));
    assert_eq!(config.http.max_headers, 50);
    assert_eq!(config.websocket.max_fragments, 9);
    assert_eq!(config.legacy09.max_unjoined_packets, 7);
    assert!(!config.allow_upgrades && !config.generations.legacy06 && config.flash_policy.is_empty());
}
