//! What is refused, and by what name.

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
