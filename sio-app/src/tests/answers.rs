//! The answers that a client gets when it has asked for an acknowledgement.

use std::io::Error;
use std::sync::mpsc::channel;

use super::{Driven, once_pending, run_tasks, server, text};
use crate::{Ack, EmitError, HandlerError, Incoming, Refusal, Socket};

/// Newcomers D5: a returned value is the acknowledgement, and so is a returned error.
#[test]
fn what_a_handler_returns_is_the_acknowledgement() {
    let io = server(1);
    let (told, heard) = channel();
    io.on_error(move |_, _, error| told.send(error.to_string()).unwrap());
    io.of("/")
        .on("sum", |_: Socket, (a, b): (u32, u32)| Ok::<u32, String>(a + b))
        .on("later", async |_: Socket, (a, b): (u32, u32)| {
            once_pending().await;
            a.checked_sub(b).map(|n| (n, "left")).ok_or("too much")
        })
        .on("none", |_: Socket| Ok::<(), &str>(()))
        .on("silent", |_: Socket| ())
        .on("no", |_: Socket| Err::<(), _>("no"))
        .on("texts", |_: Socket| Err::<(), _>(String::from("a text")))
        .on("data", |_: Socket| {
            Err::<(), _>(Refusal::new("with data").with_data(&[401]))
        })
        .on("secret", |_: Socket| {
            Err::<(), _>(Error::other("the table of passwords is locked"))
        })
        .on("own", |_: Socket, ack: Ack| {
            ack.send("first");
            Err::<(), _>("only reported")
        });
    let mut client = Driven::connected(&io);
    for (packet, answer) in [
        (r#"421["sum",1,2]"#, "431[3]"),
        (r#"422["none"]"#, "432[]"),
        (r#"423["no"]"#, r#"433[{"error":"no"}]"#),
        (r#"424["texts"]"#, r#"434[{"error":"a text"}]"#),
        (r#"425["data"]"#, r#"435[{"error":"with data","data":[401]}]"#),
        (r#"426["secret"]"#, r#"436[{"error":"Internal server error"}]"#),
        (r#"427["own"]"#, r#"437["first"]"#),
    ] {
        let heard = client.says(packet);
        assert!(heard.ends_with(answer), "{packet}: {heard}");
    }
    for silent in [
        r#"428["silent"]"#,
        r#"42["sum",1,2]"#,
        r#"42["no"]"#,
        r#"429["nobody"]"#,
    ] {
        assert_eq!(client.says(silent), "");
    }
    let _ = client.read(&text(r#"421["later",3,2]"#));
    let _ = client.read(&text(r#"422["later",2,3]"#));
    run_tasks();
    let written = client.written();
    assert!(
        written.contains(r#"431[1,"left"]"#) && written.contains(r#"432[{"error":"too much"}]"#),
        "{written}"
    );
    let heard: Vec<String> = heard.try_iter().collect();
    assert!(
        heard.contains(&"failed: the table of passwords is locked".to_owned()),
        "{heard:?}"
    );
    assert_eq!(heard.len(), 7, "{heard:?}");
}

/// API: arguments that do not fit the handler. Faults B16.
#[test]
fn misfits_are_answered_and_told_to_the_namespace() {
    let io = server(1);
    let (told, heard) = channel();
    io.on_error(|_, _, _| panic!("the namespace hears it"));
    io.of("/")
        .on("sum", |_: Socket, (a, b): (u32, u32), ack: Ack| ack.send(a + b))
        .on_error(move |_: &Socket, event: &str, error: &HandlerError| {
            told.send((event.to_owned(), matches!(error, HandlerError::Args(_))))
                .unwrap();
        });
    io.of("/shaped")
        .on("sum", |_: Socket, (a, b): (u32, u32)| Ok::<_, &str>(a + b))
        .on("fails", |_: Socket| Err::<(), _>("why"))
        .on_error(|_, _, _| ())
        .answer_errors(|_: &Socket, event: &str, error: &HandlerError| {
            let is_misfit = matches!(error, HandlerError::Args(_));
            (if is_misfit { 400 } else { 500 }, event.to_owned())
        });
    let mut client = Driven::connected(&io);
    assert!(
        client
            .says(r#"421["sum","x"]"#)
            .ends_with(r#"431[{"error":"arguments do not fit"}]"#)
    );
    assert_eq!(client.says(r#"42["sum","x"]"#), "");
    assert_eq!(heard.try_iter().count(), 2);
    let _ = client.says("40/shaped,");
    assert!(
        client
            .says(r#"42/shaped,1["sum","x"]"#)
            .ends_with(r#"43/shaped,1[400,"sum"]"#)
    );
    assert!(
        client
            .says(r#"42/shaped,2["fails"]"#)
            .ends_with(r#"43/shaped,2[500,"fails"]"#)
    );
}

/// A client that asks for the acknowledgement of an event that nobody handles gets an answer only
/// if the application wants it.
#[test]
fn unknown_events_are_answered_if_the_application_wants_it() {
    let io = server(1);
    io.on_error(|_, _, error| panic!("this is no error of the application: {error}"));
    io.of("/").on_any(|_, _, _| ());
    io.of("/strict").refuse_unknown().on("known", |_: Socket| ());
    let mut client = Driven::connected(&io);
    assert_eq!(client.says(r#"421["nobody"]"#), "");
    let _ = client.says("40/strict,");
    let refused = client.says(r#"42/strict,1["nobody"]"#);
    assert!(
        refused.ends_with(r#"43/strict,1[{"error":"unknown event"}]"#),
        "{refused}"
    );
    assert_eq!(client.says(r#"42/strict,["nobody"]"#), "");
    assert_eq!(client.says(r#"42/strict,2["known"]"#), "");
}

/// API: `socket.use`: per-packet middleware that may refuse or change.
#[test]
fn a_filter_refuses_or_changes_an_event() {
    let io = server(1);
    io.on_error(|_, _, error| panic!("a refusal is no error: {error}"));
    io.of("/")
        .filter(|_: &Socket, event: &mut Incoming| {
            if event.name() == "old" {
                event.set_name("new");
                event
                    .set_args((event.args().json().len(), "changed"))
                    .map_err(|_| "no")?;
            }
            Ok::<_, &str>(())
        })
        .filter(|_: &Socket, event: &mut Incoming| match event.name() {
            "ban" if event.wants_ack() => Err(Refusal::new("forbidden").with_data(&403)),
            "ban" => Err("nobody hears this".into()),
            _ => Ok(()),
        })
        .on("ban", |_: Socket| Ok::<_, &str>("banned"))
        .on("new", |_: Socket, args: (usize, String)| Ok::<_, &str>(args));
    let mut client = Driven::connected(&io);
    assert!(
        client
            .says(r#"421["ban"]"#)
            .ends_with(r#"431[{"error":"forbidden","data":403}]"#)
    );
    assert_eq!(client.says(r#"42["ban"]"#), "");
    assert!(client.says(r#"422["old",123]"#).ends_with(r#"432[3,"changed"]"#));
    assert_eq!(io.sockets().len(), 1);
}

/// If a filter panics, its socket is disconnected, and no handler is called.
#[test]
fn a_filter_that_panics_lets_nothing_through() {
    let io = server(1);
    let (told, heard) = channel();
    io.on_error(move |_, event, error| told.send(format!("{event}: {error}")).unwrap());
    io.of("/")
        .filter(|_, event: &mut Incoming| -> Result<(), EmitError> { panic!("{}", event.name()) })
        .on("x", |_: Socket| Ok::<_, &str>("called"));
    let mut client = Driven::connected(&io);
    assert!(client.says(r#"421["x"]"#).ends_with("41"));
    assert_eq!(heard.try_recv().unwrap(), "x: panicked: x");
}
