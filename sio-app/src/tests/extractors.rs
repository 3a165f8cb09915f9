//! What handlers ask for in addition to the arguments.

use std::sync::mpsc::channel;

use super::{Driven, once_pending, run_tasks, server, text};
use crate::handler::{Auth, AuthError, Call, Extract, MiddlewareResult, Needs, State};
use crate::{Ack, ArgsError, HandlerError, Io, Reason, Refusal, RegisterError, Socket};

#[derive(Clone, Debug, PartialEq)]
struct Scale(u32);

#[derive(Clone)]
struct Name(&'static str);

#[derive(serde::Deserialize)]
struct Token {
    token: String,
}

/// Newcomers D9: state, given once, in every kind of handler; the order of giving and registering
/// does not matter.
#[test]
fn state_is_given_once_and_asked_for_anywhere() {
    let io = server(1);
    let (told, heard) = channel();
    let tell = move |what: &str, scale: u32| told.send(format!("{what} {scale}"));
    let (at_middleware, at_connect, at_end) = (tell.clone(), tell.clone(), tell);
    io.of("/")
        .with(move |State(scale): State<Scale>| at_middleware("middleware", scale.0).map_err(|_| "gone"))
        .on_connect(move |scale: State<Scale>, _: Socket| at_connect("connect", scale.0.0))
        .on("double", |State(scale): State<Scale>, n: u32| {
            Ok::<_, &str>(n * scale.0)
        })
        .on(
            "wait",
            async |_: Socket, State(scale): State<Scale>, State(name): State<Name>, n: u32, ack: Ack| {
                once_pending().await;
                ack.send((name.0, n * scale.0));
            },
        )
        .on_disconnect(move |State(scale): State<Scale>, _: Reason| at_end("end", scale.0));
    io.state(Scale(2)).state(Name("ada"));
    io.check().unwrap();
    let mut client = Driven::connected(&io);
    assert!(client.says(r#"421["double",21]"#).ends_with("431[42]"));
    let _ = client.says(r#"422["wait",21]"#);
    run_tasks();
    assert!(client.written().ends_with(r#"432["ada",42]"#));
    drop(client);
    run_tasks();
    assert_eq!(
        heard.try_iter().collect::<Vec<_>>(),
        ["middleware 2", "connect 2", "end 2"]
    );
}

/// If handlers ask for a state that the server was not given, there is an error before the server
/// starts, and never a panic.
#[test]
fn a_state_that_is_missing_is_said_before_the_server_begins() {
    let io = server(1);
    io.of("/").on("double", |State(scale): State<Scale>, n: u32| {
        Ok::<_, &str>(n * scale.0)
    });
    let missing = io.check().unwrap_err();
    assert!(matches!(missing, RegisterError::NoState { .. }));
    assert_eq!(
        missing.to_string(),
        "the handler of \"double\" asks for `State<sio_app::tests::extractors::Scale>`, and the server was given none: `io.state(value)` gives it one"
    );
    let (told, heard) = channel();
    io.on_error(move |_, event, error| told.send((event.to_owned(), error.to_string())).unwrap());
    let mut client = Driven::connected(&io);
    assert!(
        client
            .says(r#"421["double",21]"#)
            .ends_with(r#"431[{"error":"Internal server error"}]"#)
    );
    let (event, error) = heard.try_recv().unwrap();
    assert!(event == "double" && error.contains("io.state(value)"), "{error}");
    let socket = io.sockets().remove(0);
    assert!(matches!(
        socket.on("x", |_: State<Scale>| ()),
        Err(RegisterError::NoState { .. })
    ));
    io.state(Scale(3));
    io.check().unwrap();
    let mut later = Driven::connected(&io);
    assert!(later.says(r#"421["double",2]"#).ends_with("431[6]"));
    io.state(Scale(4));
    assert!(matches!(io.check(), Err(RegisterError::StateTwice(_))));
    assert!(later.says(r#"421["double",2]"#).ends_with("431[6]"), "the first counts");
}

/// A user whom a middleware has let in.
#[derive(Clone)]
struct User(String);

impl Extract for User {
    type Error = Refusal;

    fn extract(call: &Call<'_>) -> Result<Self, Refusal> {
        let user = call.socket().data::<Self>();
        user.map(|user| Self::clone(&user))
            .ok_or_else(|| Refusal::new("log in first").with_data(&call.event()))
    }
}

/// A type that needs a state.
struct Twice(u32);

impl Extract for Twice {
    type Error = &'static str;

    fn extract(call: &Call<'_>) -> Result<Self, Self::Error> {
        let scale: &Scale = call.state().ok_or("no scale")?;
        Ok(Self(scale.0 * 2))
    }

    fn needs(needs: &mut Needs) {
        needs.state::<Scale>();
    }
}

/// The user's own extractors: their errors are handled like a handler's errors.
#[test]
fn types_of_the_users_own_say_how_they_are_found() {
    let io = server(1);
    let (told, heard) = channel();
    io.on_error(move |_, event, error| {
        told.send(format!("{event}: {error}")).unwrap();
    });
    io.of("/")
        .on("login", |socket: Socket, name: String| socket.set_data(User(name)))
        .on("whoami", |User(name): User| Ok::<_, Refusal>(name))
        .on("anybody", |user: Option<User>| Ok::<_, Refusal>(user.is_some()))
        .on("why", |user: Result<User, Refusal>| {
            Ok::<_, Refusal>(user.err().map(|refusal| refusal.message().to_owned()))
        })
        .on("twice", |Twice(n): Twice| Ok::<_, Refusal>(n));
    assert!(
        matches!(io.check(), Err(RegisterError::NoState { .. })),
        "what it needs is known"
    );
    io.state(Scale(4));
    let mut client = Driven::connected(&io);
    assert!(
        client
            .says(r#"421["whoami"]"#)
            .ends_with(r#"431[{"error":"log in first","data":"whoami"}]"#)
    );
    let error = heard.try_recv().unwrap();
    assert!(
        error.starts_with("whoami: cannot have `sio_app::tests::extractors::User`: log in first"),
        "{error}"
    );
    assert!(client.says(r#"422["anybody"]"#).ends_with("432[false]"));
    assert!(client.says(r#"423["why"]"#).ends_with(r#"433["log in first"]"#));
    let _ = client.says(r#"42["login","ada"]"#);
    assert!(client.says(r#"424["whoami"]"#).ends_with(r#"434["ada"]"#));
    assert!(client.says(r#"425["twice"]"#).ends_with("435[8]"));
    assert!(heard.try_recv().is_err());
}

/// `Auth<T>` in middlewares and connect handlers.
#[test]
fn auth_is_a_type() {
    let io = server(1);
    let (told, heard) = channel();
    let errors = told.clone();
    io.on_error(move |_, event, error| errors.send(format!("{event}: {error}")).unwrap());
    io.of("/admin")
        .with(|Auth(auth): Auth<Token>| (auth.token == "secret").then_some(()).ok_or("forbidden"))
        .on_connect(move |Auth(auth): Auth<Token>| told.send(auth.token))
        .on("me", |auth: Result<Auth<Token>, AuthError>| Ok::<_, &str>(auth.is_ok()));
    let mut client = Driven::connected(&io);
    assert!(
        client
            .says("40/admin,")
            .ends_with(r#"44/admin,{"message":"auth does not fit"}"#)
    );
    assert!(
        client
            .says(r#"40/admin,{"token":1}"#)
            .ends_with(r#"44/admin,{"message":"auth does not fit"}"#)
    );
    assert!(
        client
            .says(r#"40/admin,{"token":"x"}"#)
            .ends_with(r#"44/admin,{"message":"forbidden"}"#)
    );
    assert!(
        client
            .says(r#"40/admin,{"token":"secret"}"#)
            .contains("40/admin,{\"sid\":")
    );
    assert!(client.says(r#"42/admin,1["me"]"#).ends_with("43/admin,1[true]"));
    let heard: Vec<String> = heard.try_iter().collect();
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert!(
        heard[0].starts_with("connect: cannot have `sio_app::user::handler::extract::Auth"),
        "{heard:?}"
    );
    assert!(
        heard[0].ends_with("the client has sent no auth") && heard[1].contains("invalid type: integer"),
        "{heard:?}"
    );
    assert_eq!(heard[2], "secret");
}

/// Newcomers D2: a handler decides what misfits mean.
#[test]
fn a_handler_may_ask_for_a_result_of_its_arguments() {
    let io = server(1);
    io.of("/")
        .on("one", |_: Socket, n: Result<u32, ArgsError>| {
            Ok::<_, &str>(n.unwrap_or(7))
        })
        .on("ack", async |args: Result<(u32, String), ArgsError>, ack: Ack| {
            once_pending().await;
            match args {
                Ok((n, text)) => ack.send((n, text)),
                Err(error) => ack.send(error.to_string().contains("expected u32")),
            }
        });
    let mut client = Driven::connected(&io);
    assert!(client.says(r#"421["one",1]"#).ends_with("431[1]"));
    assert!(client.says(r#"422["one","x"]"#).ends_with("432[7]"));
    let _ = client.read(&text(r#"423["ack",1,"a"]"#));
    let _ = client.read(&text(r#"424["ack","a"]"#));
    run_tasks();
    let written = client.written();
    assert!(
        written.contains(r#"433[1,"a"]"#) && written.ends_with("434[true]"),
        "{written}"
    );
}

/// Newcomers D1: short names for what `?` needs.
#[test]
fn question_marks_find_their_type() {
    let io = server(1);
    io.of("/x")
        .with(|socket: Socket| -> MiddlewareResult {
            socket.join("a")?;
            if socket.auth_json().is_none() {
                return Err("who are you?".into());
            }
            Ok(())
        })
        .on(
            "enter",
            |socket: Socket, room: String| -> crate::handler::HandlerResult<usize> {
                socket.join(&room)?;
                if room == "no" {
                    return Err(Refusal::new("not this one").into());
                }
                let n: usize = room.parse()?;
                Ok(socket.rooms().len() + n)
            },
        );
    let mut client = Driven::connected(&io);
    assert!(client.says("40/x,").ends_with(r#"44/x,{"message":"who are you?"}"#));
    assert!(client.says("40/x,{}").contains("40/x,{\"sid\":"));
    assert!(client.says(r#"42/x,1["enter","5"]"#).ends_with("43/x,1[8]"));
    assert!(
        client
            .says(r#"42/x,2["enter","no"]"#)
            .ends_with(r#"43/x,2[{"error":"not this one"}]"#)
    );
    assert!(
        client
            .says(r#"42/x,3["enter","y"]"#)
            .ends_with(r#"43/x,3[{"error":"Internal server error"}]"#)
    );
}

/// Newcomers D6: what clients cannot send is an error that names what to do.
#[test]
fn names_of_the_protocol_are_errors_at_registration() {
    for (name, instead) in [
        ("connection", "on_connect"),
        ("connect", "on_connect"),
        ("disconnect", "on_disconnect"),
        ("disconnecting", "on_disconnecting"),
    ] {
        let io = server(1);
        io.of("/").on(name, |_: Socket| ()).on("fine", || ());
        let error = io.check().unwrap_err();
        assert!(error.to_string().contains(instead), "{error}");
        let mut client = Driven::connected(&io);
        assert!(client.says(r#"421["fine"]"#).is_empty());
        let of_one = io.sockets()[0].on(name, || ());
        assert_eq!(of_one, Err(error));
    }
}

/// An `Io` and a socket that is asked for twice, in any order.
#[test]
fn extractors_stand_in_any_order() {
    let io = server(1);
    io.of("/").on("all", |io: Io, one: Socket, two: Socket, (): ()| {
        assert_eq!(one, two);
        Ok::<_, HandlerError>(io.sessions())
    });
    let mut client = Driven::connected(&io);
    assert!(client.says(r#"421["all"]"#).ends_with("431[1]"));
}
