//! The chat inside an axum application, for people who have logged in.
//!
//! ```text
//! cargo run --bin axum-app          then open http://localhost:8080
//! ```
//! `--port N` or the environment variable `PORT` chooses another port.
//!
//! ```text
//!                  ┌ who: a cookie or a header says which user this is ────────────────┐
//!   a request ───► │  /login  /logout  /api/people     axum's routes                   │
//!                  │  all else                         the chat: Socket.IO, its pages  │
//!                  └───────────────────────────────────────────────────────────────────┘
//! ```
//! This example shows: one port for both; a middleware of the application whose result ([`User`])
//! the socket handlers can read; a session that is refused before it begins, because the request
//! has no user; and a route that asks Socket.IO who is connected. The module [`users`] logs users
//! in.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it tells where to look")]

mod users;

use std::net::SocketAddr;
use std::process::ExitCode;

use axum::extract::{Request, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use serde::{Deserialize, Serialize};
use sio_examples::chat;
use sio_tokio::{Ack, Server, Socket};
use tokio::net::TcpListener;

use users::{TOKEN, User, Users};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("axum-app: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let port = chat::port("usage: axum-app [--port N]");
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|error| chat::no_port(port, &error))?;
    let io = Server::new(chat::config())?;
    let app = app(&io).into_make_service_with_connect_info::<SocketAddr>();
    println!("axum-app: http://localhost:{}", listener.local_addr()?.port());
    let signal = async move {
        sio_examples::asked_to_end().await;
        io.finish().await;
    };
    axum::serve(listener, app).with_graceful_shutdown(signal).await?;
    Ok(())
}

fn app(io: &Server) -> Router {
    let users = Users::default();
    chat::register(io);
    io.allow_request(|request| match request.extension::<User>() {
        Some(_) => Ok(()),
        None => Err("log in first".to_owned()),
    });
    io.of("/").on("whoami", |socket: Socket, ack: Ack| {
        let name = socket.extension::<User>().map(|user| user.name.to_string());
        ack.send(name);
    });
    Router::new()
        .route("/login", get(async || Html(include_str!("login.html"))).post(login))
        .route("/logout", post(logout))
        .with_state(users.clone())
        .route("/api/people", get(people))
        .with_state(io.clone())
        .fallback_service(io.service())
        .layer(from_fn_with_state(users, who))
}

/// Puts the user into the request, if the request names one. Without a user, the chat's page
/// redirects to the login.
async fn who(State(users): State<Users>, mut request: Request, next: Next) -> Response {
    match users.find(request.headers()) {
        Some(user) => drop(request.extensions_mut().insert(user)),
        None if request.method() == Method::GET && request.uri().path() == "/" => {
            return Redirect::to("/login").into_response();
        }
        None => {}
    }
    next.run(request).await
}

#[derive(Deserialize)]
struct Login {
    name: String,
}

async fn login(State(users): State<Users>, Form(Login { name }): Form<Login>) -> Response {
    let Some(token) = users.enter(&name) else {
        return (StatusCode::BAD_REQUEST, "a name is needed").into_response();
    };
    let cookie = format!("{TOKEN}={token}; Path=/; HttpOnly; SameSite=Lax");
    let location = [(LOCATION, "/".to_owned()), (SET_COOKIE, cookie)];
    (StatusCode::SEE_OTHER, location).into_response()
}

async fn logout(State(users): State<Users>, headers: HeaderMap) -> Redirect {
    users.leave(&headers);
    Redirect::to("/login")
}

#[derive(Serialize)]
struct Person {
    name: Option<String>,
    generation: &'static str,
    address: Option<SocketAddr>,
}

/// Returns who is in the chat, with the names that the application knows.
async fn people(State(io): State<Server>) -> Json<Vec<Person>> {
    let sockets = io.sockets();
    let person = |socket: &Socket| Person {
        name: socket.extension::<User>().map(|user| user.name.to_string()),
        generation: socket.generation().as_str(),
        address: socket.handshake().peer().address,
    };
    Json(sockets.iter().map(person).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    /// Sends one request on a new connection, and returns the whole answer.
    async fn ask(address: SocketAddr, request: &str, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let text = format!(
            "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn who_has_logged_in_gets_in() {
        const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
        let io = Server::new(chat::config()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = app(&io).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(axum::serve(listener, service).into_future());

        assert!(ask(address, "GET /", "", "").await.contains("location: /login"));
        assert!(ask(address, "GET /login", "", "").await.contains("Who are you?"));
        let refused = ask(address, &format!("GET {POLLING}"), "", "").await;
        assert!(
            refused.starts_with("HTTP/1.1 403") && refused.contains("log in first"),
            "{refused}"
        );

        let form = "Content-Type: application/x-www-form-urlencoded\r\n";
        assert!(
            ask(address, "POST /login", form, "name=+")
                .await
                .starts_with("HTTP/1.1 400")
        );
        let entered = ask(address, "POST /login", form, "name=Ada").await;
        let token = entered.split("token=").nth(1).unwrap().split(';').next().unwrap();
        for headers in [
            format!("Cookie: other=1; token={token}\r\n"),
            format!("Authorization: Bearer {token}\r\n"),
        ] {
            assert!(ask(address, "GET /", &headers, "").await.contains("sio chat"));
            let open = ask(address, &format!("GET {POLLING}"), &headers, "").await;
            let sid = open.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap();
            let path = format!("{POLLING}&sid={sid}");
            ask(address, &format!("POST {path}"), "", "40").await;
            ask(address, &format!("GET {path}"), "", "").await;
            ask(address, &format!("POST {path}"), "", r#"420["whoami"]"#).await;
            let heard = ask(address, &format!("GET {path}"), "", "").await;
            assert!(heard.ends_with(r#"430["Ada"]"#), "{heard}");
        }
        let people = ask(address, "GET /api/people", "", "").await;
        assert_eq!(people.matches(r#""name":"Ada""#).count(), 2, "{people}");

        ask(address, "POST /logout", &format!("Cookie: token={token}\r\n"), "").await;
        let refused = ask(
            address,
            &format!("GET {POLLING}"),
            &format!("Cookie: token={token}\r\n"),
            "",
        )
        .await;
        assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    }
}
