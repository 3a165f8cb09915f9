//! What one node makes of what it hears: what it counts, whom it remembers, and for whom it waits.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

#[path = "cluster/place.rs"]
mod place;
#[path = "cluster/world.rs"]
mod world;

use place::{Place, sharded, streams};
use sio_proto::broker::{BrokerError, Command, Event, Request};
use sio_proto::cluster::messages::{
    Body, Broadcast, ClassicRequest, ClassicResponse, MessageLimits, RequestBody, ResponseBody, SingleBody,
};
use sio_proto::cluster::{Delivery, Flags, LocalOrder, NotSent, Outcome, Question, Target, Traffic};
use sio_proto::socket::Args;
use sio_proto::{ByteString, Bytes, ClusterConfig, Secret, Time};
use world::{ROOT, SECOND, all, broadcast, emit, kinds};

fn sockets(request_id: &ByteString) -> Body {
    Body::Sockets {
        request_id: request_id.clone(),
        sockets: vec![],
        left_out: 0,
    }
}

fn event(request_id: Option<&'static str>) -> Body {
    Body::Broadcast {
        to: all(),
        flags: Flags::default(),
        emit: emit("e"),
        request_id: request_id.map(ByteString::from_static),
    }
}

/// The counts of each kind, in an order.
fn by_kind(traffic: &Traffic) -> [u64; 6] {
    let of_messages = [traffic.broadcasts, traffic.orders, traffic.server_side_emits];
    let [broadcasts, orders, events] = of_messages;
    [
        broadcasts,
        orders,
        events,
        traffic.questions,
        traffic.answers,
        traffic.heartbeats,
    ]
}

const BROADCAST: usize = 0;
const ORDER: usize = 1;
const EVENT: usize = 2;
const QUESTION: usize = 3;
const ANSWER: usize = 4;
const HEARTBEAT: usize = 5;

/// Looks at what a node has counted beside what it had counted before.
fn assert_counted(place: &Place, before: &Traffic, kind: usize, bytes: usize, what: &str) {
    let after = place.node.counters().received;
    let mut expected = by_kind(before);
    expected[kind] += 1;
    assert_eq!(by_kind(&after), expected, "{what}");
    assert_eq!(after.bytes - before.bytes, bytes as u64, "{what}");
}

#[test]
fn what_is_heard_is_counted_by_its_kind() {
    let r = || ByteString::from_static("r");
    let (to, rooms) = (all, || vec!["x".into()]);
    let bodies = || {
        [
            (event(None), BROADCAST),
            (event(Some("r")), QUESTION),
            (
                Body::Join {
                    to: to(),
                    rooms: rooms(),
                },
                ORDER,
            ),
            (
                Body::Leave {
                    to: to(),
                    rooms: rooms(),
                },
                ORDER,
            ),
            (Body::Disconnect { to: to(), close: true }, ORDER),
            (
                Body::Fetch {
                    to: to(),
                    request_id: r(),
                },
                QUESTION,
            ),
            (
                Body::ServerSideEmit {
                    emit: emit("e"),
                    request_id: None,
                },
                EVENT,
            ),
            (
                Body::ServerSideEmit {
                    emit: emit("e"),
                    request_id: Some(r()),
                },
                QUESTION,
            ),
            (sockets(&r()), ANSWER),
            (
                Body::ServerSideAnswer {
                    request_id: r(),
                    value: Args::default(),
                },
                ANSWER,
            ),
            (
                Body::ClientCount {
                    request_id: r(),
                    count: 1,
                },
                ANSWER,
            ),
            (
                Body::Ack {
                    request_id: r(),
                    value: Args::default(),
                },
                ANSWER,
            ),
            (Body::InitialHeartbeat, HEARTBEAT),
            (Body::Heartbeat { subscribes: true }, HEARTBEAT),
            (Body::Close, HEARTBEAT),
        ]
    };
    for reads in [false, true] {
        let mut place = Place::new(&if reads { streams() } else { sharded() });
        for (body, kind) in bodies() {
            let (before, what) = (place.node.counters().received, format!("{body:?}"));
            let bytes = match reads {
                true => place.read("other", body),
                false => place.hear("other", body),
            };
            assert_counted(&place, &before, kind, bytes, &what);
        }
        assert_eq!(place.node.counters().late, 4, "nobody has asked");
        place.message("socket.io#/#", Bytes::from_static(b"?"));
        assert_eq!(place.node.counters().malformed, 1);
    }

    let single = |body| RequestBody::Single("s".into(), body);
    let asks = |namespace: &'static str| RequestBody::Broadcast {
        namespace: namespace.into(),
        to: to(),
        flags: Flags::default(),
        emit: emit("e"),
    };
    let mut place = Place::new(&ClusterConfig::default());
    for (body, request_id, kind) in [
        (RequestBody::Sockets(vec![]), Some(r()), QUESTION),
        (RequestBody::AllRooms, Some(r()), QUESTION),
        (
            RequestBody::Join {
                to: to(),
                rooms: rooms(),
            },
            None,
            ORDER,
        ),
        (
            RequestBody::Leave {
                to: to(),
                rooms: rooms(),
            },
            None,
            ORDER,
        ),
        (RequestBody::Disconnect { to: to(), close: true }, None, ORDER),
        (single(SingleBody::Leave("x".into())), Some(r()), ORDER),
        (RequestBody::Fetch(to()), Some(r()), QUESTION),
        (RequestBody::ServerSideEmit(emit("e")), None, EVENT),
        (RequestBody::ServerSideEmit(emit("e")), Some(r()), QUESTION),
        (asks("/"), Some(r()), QUESTION),
    ] {
        let (before, what) = (place.node.counters().received, format!("{body:?}"));
        let uid = Some("other".into());
        let request = ClassicRequest { uid, request_id, body };
        let bytes = place.message("socket.io-request#/#", request.encode());
        assert_counted(&place, &before, kind, bytes, &what);
    }
    let before = place.node.counters().received;
    let response = ClassicResponse {
        uid: None,
        request_id: r(),
        body: ResponseBody::Done,
    };
    let bytes = place.message("socket.io-response#/#", response.encode());
    assert_counted(&place, &before, ANSWER, bytes, "an answer");
    // A question in the packet of another namespace is nobody's.
    let (before, deliveries) = (*place.node.counters(), place.out.deliveries.len());
    let request = ClassicRequest {
        uid: None,
        request_id: Some(r()),
        body: asks("/x"),
    };
    place.message("socket.io-request#/#", request.encode());
    assert_eq!(place.node.counters().misplaced, before.misplaced + 1);
    assert_eq!(
        (place.node.counters().received, place.out.deliveries.len()),
        (before.received, deliveries)
    );
    for (malformed, channel) in ["socket.io#/#", "socket.io-request#/#", "socket.io-response#/#"]
        .iter()
        .enumerate()
    {
        place.message(channel, Bytes::from_static(b"?"));
        assert_eq!(place.node.counters().malformed, malformed as u64 + 1);
    }
}

/// How old an entry is when it is read.
#[test]
fn the_lag_of_the_stream_is_known() {
    let mut place = Place::new(&streams());
    place.node.set_unix_time(Time::ZERO, 9 * SECOND);
    place.at(1).read("other", event(None));
    assert_eq!(place.node.counters().stream_lag_millis, 2_000);
}

/// Heartbeats are answered if their sender only reads the stream and does not know this node.
#[test]
fn a_heartbeat_is_answered_if_its_sender_needs_it() {
    let beat = |subscribes| Body::Heartbeat { subscribes };
    let answer = || vec![beat(true)];
    for (heard, says) in [
        (vec![Body::InitialHeartbeat], answer()),
        (vec![beat(false)], answer()),
        (vec![beat(false), beat(false)], vec![]),
        (vec![beat(false), beat(true)], vec![]),
        (vec![beat(true)], vec![]),
        (vec![beat(false), Body::InitialHeartbeat], answer()),
        (vec![beat(true), Body::InitialHeartbeat], answer()),
    ] {
        let mut place = Place::new(&streams());
        let what = format!("{heard:?}");
        for body in heard {
            place.said();
            place.read("old", body);
        }
        assert_eq!(place.said(), says, "{what}");
        // An emitter is no node, and other adapters have no heartbeats.
        place = Place::new(&streams());
        place.read("emitter", Body::InitialHeartbeat);
        assert_eq!((place.said(), place.node.next_timeout()), (vec![], None));
    }
    let mut place = Place::new(&sharded());
    for body in [Body::InitialHeartbeat, beat(false)] {
        place.hear("old", body);
    }
    assert_eq!((&place.out.commands[..], place.node.next_timeout()), (&[][..], None));
    let request = place.ask_sockets(1);
    assert_eq!(place.end(request).map(|end| end.outcome), Some(Outcome::Complete));
}

/// A node that sends heartbeats is gone without them; a node of ours that sends them hears channels
/// all the same. An entry is as good as a heartbeat.
#[test]
fn heartbeats_have_their_time() {
    let mut place = Place::new(&streams());
    place.read("ours", Body::Heartbeat { subscribes: true });
    assert_eq!(
        place.node.next_timeout(),
        Some(Time::ZERO + 10 * SECOND),
        "nobody needs ours"
    );
    let request = place.ask_sockets(2);
    assert!(
        matches!(place.out.commands[1], Command::Publish { .. }),
        "it hears channels"
    );
    let end = place.give_up(request);
    let names = end.silent_nodes.iter().map(|node| &**node.as_text());
    assert_eq!(names.collect::<Vec<_>>(), ["ours"]);

    let mut place = Place::new(&streams());
    place.read("old", Body::InitialHeartbeat);
    place.at(3).said();
    let order = LocalOrder::CarryOut(broadcast("e", all()));
    place
        .node
        .handle_local(place.now, &ROOT, order, &mut place.out)
        .unwrap();
    assert_eq!(place.node.next_timeout(), Some(Time::ZERO + 8 * SECOND));
    place.at(8).said();
    place.node.handle_timeout(place.now, &mut place.out);
    assert_eq!(place.said(), [Body::Heartbeat { subscribes: true }]);
    place.at(9).read("old", Body::Heartbeat { subscribes: false });
    for (second, known) in [(10, 1), (13, 1), (18, 1), (19, 0)] {
        place.at(second);
        place.node.handle_timeout(place.now, &mut place.out);
        assert_eq!(place.known().len(), known, "{second}");
    }
    assert_eq!(place.node.next_timeout(), None);
}

/// A heartbeat that the broker does not take is counted, and ends no question.
#[test]
fn what_the_broker_does_not_take_is_known() {
    let is_entry = |request: &Request| matches!(request, Request::AddEntry { .. });
    let mut place = Place::new(&streams());
    let refuse = |place: &mut Place, tag, at_once| {
        let why = BrokerError::Closed;
        match at_once {
            true => place.node.handle_refused(place.now, tag, why, &mut place.out),
            false => {
                let answer = Err(why);
                place
                    .node
                    .handle_broker(place.now, Event::Answer { tag, answer }, &mut place.out);
            }
        }
    };
    place.read("old", Body::InitialHeartbeat);
    let tag = place.tag(is_entry);
    refuse(&mut place, tag, false);
    assert_eq!((place.node.counters().not_stored, place.out.deliveries.len()), (1, 0));
    // A question in the stream that was not stored was heard by nobody.
    for at_once in [true, false] {
        let request = place.ask_sockets(1);
        assert_eq!(place.end(request), None);
        let tag = place.tag(is_entry);
        refuse(&mut place, tag, at_once);
        assert_eq!(
            place.end(request).unwrap().outcome,
            Outcome::Broker(BrokerError::Closed)
        );
    }
    let order = LocalOrder::CarryOut(broadcast("e", all()));
    let ticket = place
        .node
        .handle_local(place.now, &ROOT, order, &mut place.out)
        .unwrap()
        .unwrap();
    let tag = place.tag(is_entry);
    refuse(&mut place, tag, true);
    let entry = Err(BrokerError::Closed);
    assert_eq!(place.out.deliveries, [Delivery::Stored { request: ticket, entry }]);
}

/// A node of the streams adapter 0.2 that says goodbye is not waited for, and is told goodbye.
#[test]
fn a_goodbye_ends_the_wait() {
    let mut place = Place::new(&streams());
    place.read("old", Body::InitialHeartbeat);
    let request = place.ask_sockets(1);
    assert_eq!(place.end(request), None, "the old node is due");
    place.read("old", Body::Close);
    assert_eq!(place.end(request).unwrap().outcome, Outcome::Complete);
    assert!(place.known().is_empty());
    place.read("old", Body::InitialHeartbeat);
    place.said();
    place.node.close_namespace(place.now, &ROOT, &mut place.out);
    assert_eq!(place.said(), [Body::Close]);
}

/// All nodes that are silent are counted, those that only read the stream and the others.
#[test]
fn every_silent_node_counts() {
    let mut place = Place::new(&streams());
    place.read("old", Body::InitialHeartbeat);
    let request = place.ask_sockets(3);
    let end = place.give_up(request);
    assert_eq!((end.silent, end.silent_nodes.len()), (3, 1));
    assert_eq!((place.node.counters().silent, place.node.counters().incomplete), (3, 1));
}

/// A node is remembered for five minutes. There is room again for another one then.
#[test]
fn a_node_is_remembered_for_five_minutes() {
    let mut place = Place::new(&sharded().max_nodes(1));
    place.hear("first", event(None));
    place.at(299).hear("second", event(None));
    assert_eq!((place.known(), place.node.counters().forgotten), (vec!["first"], 1));
    assert!(place.at(300).known().is_empty());
    place.hear("second", event(None));
    assert_eq!((place.known(), place.node.counters().forgotten), (vec!["second"], 1));

    let mut place = Place::new(&sharded());
    place.hear("first", event(None));
    let request = place.at(294).ask_sockets(2);
    assert_eq!(place.give_up(request).silent_nodes.len(), 1);
    let request = place.at(295).ask_sockets(2);
    assert_eq!(place.give_up(request).silent_nodes.len(), 0, "it is not known any more");
}

/// A node that is named as silent has signed an answer before: otherwise it may have answered.
#[test]
fn only_nodes_that_sign_are_named_and_forgotten() {
    let config = ClusterConfig::default();
    let mut place = Place::new(&config);
    let event = Broadcast {
        uid: "first".into(),
        namespace: ROOT,
        to: all(),
        flags: Flags::default(),
        emit: emit("e"),
    };
    place.message("socket.io#/#", event.encode());
    let request = place.ask_sockets(2);
    let end = place.give_up(request);
    assert_eq!((end.silent, end.silent_nodes.len()), (1, 0));
    let answer = |place: &mut Place, uid: Option<&'static str>, request_id: ByteString| {
        let (uid, body) = (uid.map(ByteString::from_static), ResponseBody::Done);
        let response = ClassicResponse { uid, request_id, body };
        place.message("socket.io-response#/#", response.encode());
    };
    answer(&mut place, Some("first"), "late".into());
    answer(&mut place, Some("second"), "late".into());
    // Who has answered without its name may be any of them.
    let request = place.ask_sockets(2);
    let name = place.name(&config);
    answer(&mut place, None, name);
    assert_eq!(place.end(request).unwrap().outcome, Outcome::Complete);
    assert_eq!(place.known(), ["first", "second"]);
    // The broker has counted one, and this one was the first: the second is gone.
    let request = place.ask_sockets(2);
    let name = place.name(&config);
    answer(&mut place, Some("first"), name);
    assert_eq!(place.end(request).unwrap().outcome, Outcome::Complete);
    assert_eq!(place.known(), ["first"]);
}

/// No more acknowledgements count than there are recipients, and no more nodes than there are.
#[test]
fn acknowledgements_are_bounded_by_recipients() {
    let config = sharded();
    let mut place = Place::new(&config);
    let (to, flags, emit) = (all(), Flags::default(), emit("e"));
    let request = place.ask(Question::Acks { to, flags, emit });
    place.count(2);
    let name = place.name(&config);
    let ack = || Body::Ack {
        request_id: name.clone(),
        value: Args::default(),
    };
    let count = |count| Body::ClientCount {
        request_id: name.clone(),
        count,
    };
    place.hear("first", ack());
    assert_eq!(place.node.counters().refused, 1, "nobody was asked yet");
    place.hear("first", count(2));
    place.hear("second", count(5));
    assert_eq!(place.node.counters().refused, 2, "there is one other node");
    place.hear("first", ack());
    assert_eq!(place.end(request), None);
    place.hear("first", ack());
    assert_eq!(place.end(request).unwrap().outcome, Outcome::Complete);
    place.hear("first", ack());
    assert_eq!(place.node.counters().late, 1);
}

/// The bytes of answers may be as many as the limit says.
#[test]
fn answers_may_have_as_many_bytes_as_the_limit() {
    let answers = |config: &ClusterConfig| {
        let mut place = Place::new(config);
        let request = place.ask_sockets(3);
        let body = sockets(&place.name(config));
        let bytes = place.hear("first", body.clone()) + place.hear("other", body);
        (bytes, place.end(request).is_some(), place.node.counters().refused)
    };
    let (bytes, ended, refused) = answers(&sharded());
    assert_eq!((ended, refused), (true, 0));
    assert_eq!(answers(&sharded().max_answer_bytes(bytes)), (bytes, true, 0));
    assert_eq!(answers(&sharded().max_answer_bytes(bytes - 1)), (bytes, false, 1));
}

/// Questions are written before they are asked. The limit holds when they are asked, too.
#[test]
fn no_more_questions_are_asked_than_there_may_be() {
    let mut place = Place::new(&sharded().max_requests(1));
    let (now, out) = (place.now, &mut place.out);
    let written = [1, 2].map(|_| {
        let question = Question::Sockets { to: all() };
        let timeout = None;
        let voice = place.node.asking_voice(now, &ROOT, out).unwrap();
        voice.write(LocalOrder::Ask { question, timeout }).unwrap()
    });
    let [first, second] = written;
    assert!(place.node.send(now, first, out).is_ok());
    assert_eq!(place.node.send(now, second, out), Err(NotSent::TooManyRequests));
    let refused = place.node.asking_voice(now, &ROOT, out).err();
    assert_eq!(refused, Some(NotSent::TooManyRequests));
    assert_eq!(place.node.requests(), 1);
}

/// A message of this node that comes back is recognised by its beginning or its end, and is not
/// read.
#[test]
fn an_own_message_is_not_read() {
    let secret = || vec![Secret::new([7; 32])];
    let configs = kinds()
        .into_iter()
        .flat_map(|config| [config.clone().secrets(secret()), config]);
    for config in configs {
        let mut place = Place::new(&config);
        let mut binary = emit("e");
        binary.args = Args::from(ByteString::from_static(r#"{"_placeholder":true,"num":0}"#));
        binary.args.attachments = vec![Bytes::from_static(b"\x01")];
        let (to, flags) = (all(), Flags::default());
        let carry_out = LocalOrder::CarryOut(broadcast("e", Target::default()));
        for order in [
            carry_out,
            LocalOrder::ServerSideEmit(emit("e")),
            LocalOrder::ServerSideEmit(binary),
        ] {
            place
                .node
                .handle_local(place.now, &ROOT, order, &mut place.out)
                .unwrap();
        }
        place.ask(Question::Sockets { to: all() });
        place.ask(Question::Acks {
            to,
            flags,
            emit: emit("e"),
        });
        let commands = std::mem::take(&mut place.out.commands);
        let mut echoes = 0;
        for command in commands {
            let mut unread = vec![];
            let event = match command {
                Command::Publish {
                    channel,
                    payload,
                    sharded,
                } => Event::Message {
                    channel,
                    payload,
                    sharded,
                },
                Command::Request {
                    request: Request::AddEntry { stream, fields, .. },
                    ..
                } => {
                    let id = Bytes::from_static(b"8000-0");
                    place.node.recognise(Event::Entry { stream, id, fields }, &mut unread);
                    echoes += 1;
                    assert_eq!(
                        (unread.len(), place.node.counters().echoes),
                        (1, echoes),
                        "an own order"
                    );
                    continue;
                }
                _ => continue,
            };
            place.node.recognise(event, &mut unread);
            echoes += 1;
            assert_eq!((unread.len(), place.node.counters().echoes), (0, echoes), "{config:?}");
        }
        assert_eq!(echoes, 5);
    }
}

/// Answers go where genuine nodes expect them: to the channel of the asker if this is set, but for
/// answers to events for servers.
#[test]
fn classic_answers_have_their_channels() {
    let config = ClusterConfig::default().specific_answers(true);
    let mut place = Place::new(&config);
    let sent = |place: &mut Place, body, act: fn(&mut Place, Delivery)| {
        let (uid, request_id) = (Some("other".into()), Some("r".into()));
        let request = ClassicRequest { uid, request_id, body };
        place.message("socket.io-request#/#", request.encode());
        let delivery = place.out.deliveries.remove(0);
        act(place, delivery);
        let Command::Publish { channel, payload, .. } = place.out.commands.remove(0) else {
            panic!("an answer");
        };
        let response = ClassicResponse::decode(&payload, &MessageLimits::from(&ClusterConfig::default()));
        (String::from_utf8(channel.to_vec()).unwrap(), response.unwrap().body)
    };
    let rooms = |place: &mut Place, delivery| match delivery {
        Delivery::Rooms { asker } => {
            let answered = place
                .node
                .answer_rooms(place.now, &asker, vec!["x".into()], &mut place.out);
            assert_eq!(answered, Ok(()));
        }
        other => panic!("{other:?}"),
    };
    let value = |place: &mut Place, delivery| match delivery {
        Delivery::ServerSideEmit { asker: Some(asker), .. } => {
            let value = Args::from(ByteString::from_static("7"));
            let answered = place
                .node
                .answer_server_side_emit(place.now, &asker, value, &mut place.out);
            assert_eq!(answered, Ok(()));
        }
        other => panic!("{other:?}"),
    };
    let done = |place: &mut Place, delivery| match delivery {
        Delivery::CarryOut {
            confirm: Some(asker), ..
        } => {
            assert_eq!(place.node.answer_done(place.now, &asker, &mut place.out), Ok(()));
        }
        other => panic!("{other:?}"),
    };
    let to_asker = "socket.io-response#/#other#";
    let (channel, body) = sent(&mut place, RequestBody::AllRooms, rooms);
    assert_eq!((&*channel, body), (to_asker, ResponseBody::Rooms(vec!["x".into()])));
    let single = RequestBody::Single("s".into(), SingleBody::Disconnect(true));
    assert_eq!(sent(&mut place, single, done), (to_asker.into(), ResponseBody::Done));
    let (channel, body) = sent(&mut place, RequestBody::ServerSideEmit(emit("e")), value);
    assert_eq!(channel, "socket.io-response#/#");
    assert!(matches!(body, ResponseBody::ServerSideEmit(value) if value.json == "7"));
}
