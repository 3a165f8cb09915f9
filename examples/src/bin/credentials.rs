//! Credentials that end. A token opens a socket until the token expires. A client that shows a
//! newer token in time goes on without a new connection. A user can log out everywhere.
//!
//! ```text
//! credentials [--port P] [--seconds N]
//! ```
//! `GET /login?user=NAME` on port P (default: 3000) answers with a token for N seconds (default:
//! 60). A real application checks a password there. Then, in a page:
//!
//! ```js
//! const login = async () => (await fetch('/login?user=ada')).text();
//! const socket = io({ auth: async (send) => send({ token: await login() }) });
//! // Before a token expires, the client shows the next one.
//! setInterval(async () => socket.emit('auth', await login()), 40_000);
//! // The server has ended the socket, and the client does not connect again by itself.
//! socket.on('disconnect', (reason) => reason === 'io server disconnect' && socket.connect());
//! ```

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it tells where to connect")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use parking_lot::Mutex;
use sio_examples::{Arguments, asked_to_end};
use sio_tokio::{Auth, Config, HttpRequest, HttpResponse, Io, Method, Reason, Refusal, Server, Socket, State};

const USAGE: &str = "usage: credentials [--port N] [--seconds N]";

/// What the client sends when it connects.
#[derive(serde::Deserialize)]
struct Shown {
    token: String,
}

/// The user of a socket.
#[derive(Clone, PartialEq, Eq)]
struct User(String);

/// The tokens that are valid, with their users and the seconds of the year 1970 at which they
/// expire. A real application has a database, or tokens with a signature.
#[derive(Clone)]
struct Tokens {
    valid: Arc<Mutex<HashMap<String, (User, u64)>>>,
    seconds: u64,
}

impl Tokens {
    fn issue(&self, user: &str) -> String {
        let mut random = [0; 16];
        getrandom::fill(&mut random).expect("the system has a generator");
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let (now, user) = (now(), User(user.to_owned()));
        let mut valid = self.valid.lock();
        valid.retain(|_, (_, expires)| *expires > now);
        valid.insert(token.clone(), (user, now + self.seconds));
        token
    }

    /// Returns the user of a token and when the token expires.
    fn check(&self, token: &str) -> Result<(User, u64), Refusal> {
        let known = self.valid.lock().get(token).cloned();
        let (user, expires) = known.ok_or("unknown token")?;
        match expires > now() {
            true => Ok((user, expires)),
            false => Err("expired token".into()),
        }
    }

    fn forget(&self, user: &User) {
        self.valid.lock().retain(|_, (owner, _)| owner != user);
    }
}

#[expect(clippy::disallowed_methods, reason = "an application has a clock")]
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn until(expires: u64) -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_secs(expires)
}

fn register(io: &Io, tokens: Tokens) {
    let issuer = tokens.clone();
    io.on_request(move |request: &HttpRequest<'_>| {
        let query = request.query();
        if !matches!(request.method(), Method::Get | Method::Head) {
            return HttpResponse::new(405).header("Allow", "GET, HEAD");
        }
        match (request.path(), query.get("user")) {
            ("/login", Some(user)) if !user.is_empty() => HttpResponse::text(issuer.issue(&user)),
            _ => HttpResponse::new(404),
        }
    });
    io.state(tokens);
    io.of("/")
        .with(
            |socket: Socket, State(tokens): State<Tokens>, Auth(shown): Auth<Shown>| {
                let (user, expires) = tokens.check(&shown.token)?;
                socket.expires_at(until(expires));
                socket.set_data(user);
                Ok::<_, Refusal>(())
            },
        )
        // The client shows a newer token. It must belong to the same user.
        .on("auth", |socket: Socket, State(tokens): State<Tokens>, token: String| {
            let (user, expires) = tokens.check(&token)?;
            if socket.data::<User>().as_deref() != Some(&user) {
                return Err(Refusal::new("the token of another user"));
            }
            socket.expires_at(until(expires));
            Ok(socket.expires().map(|left| left.as_secs()))
        })
        // First the tokens, so that no client connects with one of them any more, and then the
        // sockets.
        .on(
            "log out everywhere",
            |socket: Socket, State(tokens): State<Tokens>, io: Io| {
                let user = socket.data::<User>().ok_or("log in first")?;
                tokens.forget(&user);
                io.revoke(move |other| other.data::<User>() == Some(Arc::clone(&user)));
                Ok::<_, &str>(())
            },
        )
        .on_disconnect(|socket: Socket, reason: Reason| {
            let user = socket.data::<User>().map_or_else(String::new, |user| user.0.clone());
            println!("{user} has gone: {reason}");
        });
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::read(USAGE, &["--port", "--seconds"]);
    let seconds = arguments.value("--seconds").map_or(Ok(60), str::parse);
    let tokens = Tokens {
        valid: Arc::default(),
        seconds: seconds.unwrap_or_else(|_| arguments.refuse("--seconds wants a number")),
    };
    let server = Server::new(Config::default())?;
    register(&server, tokens);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", arguments.port(3000))).await?;
    println!("listening {}", listener.local_addr()?.port());
    Ok(server.serve(listener).with_graceful_shutdown(asked_to_end()).await?)
}
