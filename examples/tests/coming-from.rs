//! The code of `docs/api.md`, the page for people who come from JavaScript or from socketioxide.
//! Here it is compiled, and a test compares it with the page. `pages` does the same for the blocks
//! of the other pages.
#![allow(
    clippy::print_stdout,
    dead_code,
    unused_variables,
    reason = "the code of the page is compiled and not run"
)]

#[path = "coming-from/pages.rs"]
mod pages;

use std::time::{Duration, UNIX_EPOCH};

use sio_tokio::handler::{Call, Extract};
use sio_tokio::{
    Ack, ArgsError, Auth, Binary, Breach, Config, HandlerError, Incoming, Origins, RawArgs, Reason, Refusal, RoomEvent,
    Server, Socket, State,
};

#[derive(Clone, Default)]
struct Db(u32);

#[derive(serde::Deserialize)]
struct Token {
    token: String,
}

struct User(String);

impl Extract for User {
    type Error = Refusal;

    fn extract(call: &Call<'_>) -> Result<Self, Refusal> {
        let name = call.socket().data::<String>().ok_or("log in first")?;
        Ok(Self(name.to_string()))
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn handlers(io: &Server, socket: &Socket) -> Outcome {
    // A handler of connections.
    io.of("/").on_connect(|socket: Socket| println!("{}", socket.id()));
    // A handler of an event.
    io.of("/")
        .on("say", |socket: Socket, text: String| socket.emit("said", text));
    // Several arguments.
    io.of("/").on("sum", |(a, b): (f64, f64)| Ok::<_, &str>(a + b));
    // A handler that waits.
    io.of("/")
        .on("x", async |socket: Socket| socket.sleep(Duration::from_secs(1)).await);
    // To acknowledge.
    io.of("/").on("x", |ack: Ack| ack.send(1));
    // To acknowledge with the returned value.
    io.of("/").on("x", |n: u32| n.checked_add(1).ok_or("too large"));
    // Arguments that may not fit.
    io.of("/").on("x", |n: Result<u32, ArgsError>| Ok::<_, &str>(n.is_ok()));
    // Your own answer when arguments do not fit.
    io.of("/")
        .answer_errors(|_: &Socket, _: &str, error: &HandlerError| error.to_string());
    // To get the errors of handlers.
    io.of("/")
        .on_error(|_: &Socket, event: &str, error: &HandlerError| eprintln!("{event}: {error}"));
    // State in handlers.
    io.state(Db::default());
    io.of("/").on("x", |State(db): State<Db>| Ok::<_, &str>(db.0));
    // A parameter type of your own.
    io.of("/").on("x", |User(name): User| Ok::<_, &str>(name));
    // Several handlers of one event.
    io.of("/").on("x", || println!("first")).on("x", || println!("second"));
    // To remove handlers.
    io.of("/").off("x");
    // Handlers of one socket.
    socket.on("x", || println!("x"))?;
    socket.once("y", || println!("y"))?;
    // To remove handlers of one socket.
    let handler = socket.on("x", || println!("x"))?;
    socket.remove_handler(handler);
    socket.off("y");
    // To see every event.
    io.of("/")
        .on_any(|_: &Socket, event: &str, args: &RawArgs| println!("{event} {}", args.json()));
    // To see every event before others, or not any more.
    io.of("/").prepend_any(|_, event, _| println!("{event}")).off_any();
    // To see every event that is sent.
    io.of("/")
        .on_any_outgoing(|to: Option<&Socket>, event, _| println!("{event} {}", to.is_some()));
    // To refuse or change events.
    io.of("/").filter(|_: &Socket, event: &mut Incoming| {
        if event.name() == "ban" {
            Err("forbidden")
        } else {
            Ok(())
        }
    });
    // The end of a connection, while its rooms still exist.
    io.of("/")
        .on_disconnecting(|socket: Socket| socket.to(socket.rooms()).emit("left", socket.id()));
    // The end of a connection, with its reason and cause.
    io.of("/")
        .on_disconnect(|_: Socket, reason: Reason, why: Option<Breach>| println!("{reason} {why:?}"));
    Ok(())
}

fn who_may_connect(io: &Server) -> Outcome {
    // A middleware.
    io.of("/").with(|_: Socket| Err::<(), _>("no"));
    // A refusal with details for the client.
    io.of("/")
        .with(|_: Socket| Err::<(), _>(Refusal::new("no").with_data(&401)));
    // What the client has sent as auth.
    io.of("/")
        .with(|Auth(auth): Auth<Token>| (auth.token == "secret").then_some(()).ok_or("no"));
    // A middleware that joins rooms and keeps data.
    io.of("/").with(|socket: Socket| {
        socket.set_data(Db::default());
        socket.join("a")
    });
    // Namespaces by pattern.
    io.of_pattern("/tenant-*")
        .on_connect(|socket: Socket| println!("{}", socket.namespace()));
    // Namespaces by function.
    io.of_fn(|name, socket| name.len() < 20 && socket.auth_json().is_some());
    // To be told of new namespaces.
    io.on_namespace(|namespace| println!("{:?}", namespace.name()));
    // Whether a request may open a session.
    io.allow_request(|request| {
        if request.path().len() < 99 {
            Ok(())
        } else {
            Err("no".into())
        }
    });
    // To wait for this decision.
    io.allow_request_async(|handshake| async move { if handshake.xdomain() { Err("no".into()) } else { Ok(()) } });
    // Header fields of answers.
    io.on_headers(|_, headers| headers.add("X-Node", "seven").map(drop));
    // To be told of refused requests.
    io.on_connection_error(|error| eprintln!("{error:?}"));
    // To end a socket with its token.
    io.of("/").with(|socket: Socket| {
        socket.expires_at(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        Ok::<_, &str>(())
    });
    // To go on with newer credentials.
    io.of("/")
        .on("auth", |socket: Socket| socket.expires_in(Duration::from_secs(3600)));
    // To lock a user out.
    io.revoke(|socket| socket.data::<User>().is_some_and(|user| user.0 == "ada"));
    Ok(())
}

async fn sending(io: &Server, socket: &Socket) -> Outcome {
    // To this client.
    socket.emit("x", (1, "a"))?;
    // To all clients.
    io.emit("x", 1);
    // To all others.
    socket.broadcast().emit("x", ());
    // To all sockets of the namespace, including this one.
    socket.all().emit("x", ());
    // To a room.
    socket.to("a").emit("x", ());
    // To several rooms, without the members of another.
    io.to(["a", "b"]).except("c").emit("x", ());
    // To all clients except one, from the server.
    io.except(socket.id()).emit("x", ());
    // To one client by its id.
    io.to(socket.id()).emit("x", ());
    // To all namespaces of a pattern.
    io.of_pattern("/tenant-*").emit("x", ());
    // To one client, and wait for the answer.
    let answer: u32 = socket.emit_with_ack("x", 1).await?;
    // The same, with a time limit.
    socket
        .timeout(Duration::from_secs(5))
        .emit_with_ack::<u32>("x", ())
        .await?;
    // To many clients, and wait for all answers.
    let acks = io
        .to("a")
        .timeout(Duration::from_secs(5))
        .emit_with_ack::<u32>("x", ())
        .await?;
    let (answers, missing) = (acks.answers, acks.missing);
    // Only if the client can take it now.
    socket.volatile().emit("x", 1);
    // Binary.
    socket.emit("x", Binary::from(vec![1]))?;
    // A message without a name.
    socket.send("text")?;
    Ok(())
}

fn rooms_sockets_data(io: &Server, socket: &Socket) -> Outcome {
    // To join and leave.
    socket.join(["a", "b"])?;
    socket.leave("a");
    // The rooms of a socket.
    let rooms = socket.rooms();
    // All rooms with their sizes.
    let rooms = io.of("/").rooms();
    // The size of one room.
    let members = io.of("/").room_len("a");
    // Events of rooms.
    io.on_room(|event: &RoomEvent| println!("{event:?}"));
    // Sockets of a room.
    let sockets = io.to("a").sockets();
    // Make the sockets of a room join, leave or disconnect.
    io.to("a").join("b");
    io.to("a").leave("b");
    io.to("a").disconnect();
    // A socket by its id.
    let found = io.socket(&socket.id());
    // To disconnect a socket.
    socket.disconnect();
    socket.close();
    // Data of a socket.
    socket.set_data(Db(1));
    let db = socket.data::<Db>();
    // To change data, and to remove it.
    socket.update_data(|db: &mut Db| db.0 += 1);
    let db = socket.take_data::<Db>();
    // The id.
    let id = socket.id();
    // Ids of your own, with `Config::socket_id_prefix("user:")`.
    io.generate_id(|socket: &Socket| Some(format!("user:{}", socket.data::<String>()?)));
    // The handshake.
    let handshake = socket.handshake();
    let pairs = handshake.query_pairs().count();
    let far = handshake.xdomain();
    // The transport, and when it changes.
    let transport = socket.transport();
    io.on_upgrade(|socket: &Socket, transport| println!("{} {transport:?}", socket.id()));
    Ok(())
}

async fn the_server(io: Server, listener: tokio::net::TcpListener, asked: impl Future + Send + 'static) -> Outcome {
    // On a port.
    io.listen("127.0.0.1:3000").await?;
    // Until a signal to end.
    io.serve(listener).with_graceful_shutdown(asked).await?;
    // Inside axum.
    let app: axum::Router = axum::Router::new().layer(io.layer());
    // Settings.
    let io = Server::new(Config::default().ping_interval(Duration::from_secs(25)))?;
    // To allow pages of other origins.
    let config = Config::default().origins(Origins::list(["https://shop.example"])?);
    // To check that handlers have what they ask for.
    io.check()?;
    Ok(())
}

/// What the formatter does not decide: it adds commas and braces.
fn bare(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && !",{}".contains(*c))
        .collect()
}

/// API: all code in the last column of the page compiles.
#[test]
fn the_page_shows_what_compiles() {
    let compiled = bare(include_str!("coming-from.rs"));
    let page = include_str!("../../docs/api.md");
    let mut rows = 0;
    for row in page.lines().filter(|line| line.ends_with("` |")) {
        let code = row.trim_end_matches("` |").rsplit(" `").next().unwrap_or_default();
        let code = bare(&code.replace("\\|", "|"));
        assert!(compiled.contains(&code), "{row}");
        rows += 1;
    }
    assert!(rows > 60, "{rows} rows");
}

/// Newcomers D10: the README has a table with every feature of the adapters, and a line about the
/// log.
#[test]
fn every_feature_stands_in_the_readme() {
    let readme = include_str!("../../README.md");
    for (name, manifest) in [
        ("sio-tokio", include_str!("../../sio-tokio/Cargo.toml")),
        ("sio-async-std", include_str!("../../sio-async-std/Cargo.toml")),
    ] {
        let features = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
        let features = features
            .take_while(|line| !line.starts_with('['))
            .filter_map(|line| line.split_once(" = "));
        let features: Vec<&str> = features
            .map(|(feature, _)| feature)
            .filter(|feature| *feature != "default")
            .collect();
        assert!(features.len() > 3, "{name}: {features:?}");
        for feature in features {
            let rows = [name, "both"].map(|of| match of {
                "both" => format!("| `{feature}` | both |"),
                of => format!("| `{feature}` | `{of}` |"),
            });
            assert!(rows.iter().any(|row| readme.contains(row)), "{name}: {feature}");
        }
    }
    assert!(readme.contains("tracing_subscriber::fmt::init()"));
}
