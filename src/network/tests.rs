//! The front door against strangers, over loopback.

use super::*;
use bytes::Buf;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

/// Answers a frame with itself; the first byte asks for something else.
#[derive(Default)]
struct Echo {
    released: tokio::sync::Notify,
}

const NO_REPLY: u8 = 1;
const CLOSE: u8 = 2;
const PANIC: u8 = 3;
/// Is answered once someone has sent `RELEASE`.
const WAIT: u8 = 4;
const RELEASE: u8 = 5;

impl ApiHandler for Echo {
    async fn handle(&self, request: Request) -> Reply {
        match request.frame.first() {
            Some(&NO_REPLY) => Reply::Nothing,
            Some(&CLOSE) => Reply::Close,
            Some(&PANIC) => panic!("on purpose"),
            Some(&WAIT) => {
                self.released.notified().await;
                Reply::Send(Bytes::from(frame(&[WAIT])).into())
            }
            Some(&RELEASE) => {
                self.released.notify_one();
                Reply::Nothing
            }
            _ => Reply::Send(Bytes::from(frame(&request.frame)).into()),
        }
    }
}

async fn server(change: impl FnOnce(&mut NetworkConfig)) -> (SocketServer, SocketAddr) {
    let mut config = NetworkConfig {
        listeners: vec![Listener { name: "PLAINTEXT".into(), host: "127.0.0.1".into(), port: 0 }],
        backlog: 50,
        send_buffer_bytes: 102_400,
        receive_buffer_bytes: 102_400,
        request_bytes_max: 10 << 20,
        queued_max_request_bytes: -1,
        connections_max_idle: Duration::from_secs(600),
        limits: ConnectionLimits {
            max: 1_000,
            max_of_listener: HashMap::new(),
            max_per_ip: 1_000,
            max_per_ip_overrides: HashMap::new(),
        },
        inter_broker_listener: "PLAINTEXT".into(),
    };
    change(&mut config);
    let group = crate::util::task::Group::new(Handle::current());
    let mut server = SocketServer::bind(config, group.clone(), [group].into()).expect("bind");
    let port = server.port("PLAINTEXT").expect("bound");
    server.start(Arc::<Echo>::default()).expect("start");
    (server, (Ipv4Addr::LOCALHOST, port).into())
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as i32).to_be_bytes(), body].concat()
}

async fn read_frame(socket: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut body = vec![0; socket.read_i32().await? as usize];
    socket.read_exact(&mut body).await?;
    Ok(body)
}

async fn ends(socket: &mut TcpStream) -> bool {
    matches!(socket.read_u8().await, Err(e) if matches!(e.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset))
}

#[tokio::test]
async fn pipelined_requests_of_all_sizes_are_answered_in_order() {
    let (_server, address) = server(|_| {}).await;
    let mut socket = TcpStream::connect(address).await.expect("connect");
    let bodies: Vec<Vec<u8>> = [0, 1, 100, 16_379, 16_380, 16_381, 70_000, 1_100_000, 3, 65_532, 5_000_000, 7]
        .iter()
        .enumerate()
        .map(|(i, n)| vec![100 + i as u8; *n])
        .collect();
    let (mut read, mut write) = socket.split();
    let sent: Vec<u8> = bodies.iter().flat_map(|b| frame(b)).collect();
    let writing = async { write.write_all(&sent).await.expect("write") };
    let reading = async {
        for body in &bodies {
            let mut got = vec![0; read.read_i32().await.expect("size") as usize];
            read.read_exact(&mut got).await.expect("body");
            assert!(got == *body, "{} bytes", body.len());
        }
    };
    tokio::join!(writing, reading);
}

#[tokio::test]
async fn a_frame_that_arrives_byte_by_byte_is_one_frame() {
    let (_server, address) = server(|_| {}).await;
    let mut socket = TcpStream::connect(address).await.expect("connect");
    for byte in frame(b"slow but whole") {
        socket.write_u8(byte).await.expect("write");
        tokio::task::yield_now().await;
    }
    assert_eq!(read_frame(&mut socket).await.expect("reply"), b"slow but whole");
}

#[tokio::test]
async fn bad_sizes_end_their_connection_and_no_other() {
    let (_server, address) = server(|_| {}).await;
    let mut healthy = TcpStream::connect(address).await.expect("connect");
    for size in [-1, i32::MIN, (10 << 20) + 1, i32::MAX] {
        let mut hostile = TcpStream::connect(address).await.expect("connect");
        hostile.write_i32(size).await.expect("write");
        assert!(ends(&mut hostile).await, "size {size}");
    }
    for command in [CLOSE, PANIC] {
        let mut hostile = TcpStream::connect(address).await.expect("connect");
        hostile.write_all(&frame(&[command])).await.expect("write");
        assert!(ends(&mut hostile).await, "command {command}");
    }
    healthy.write_all(&frame(&[NO_REPLY])).await.expect("write");
    healthy.write_all(&frame(b"still here")).await.expect("write");
    assert_eq!(read_frame(&mut healthy).await.expect("reply"), b"still here");
}

#[tokio::test]
async fn half_a_frame_and_silence_ends_with_the_idle_limit() {
    let (_server, address) = server(|c| c.connections_max_idle = Duration::from_millis(50)).await;
    let mut socket = TcpStream::connect(address).await.expect("connect");
    socket.write_all(&frame(b"first")).await.expect("write");
    assert_eq!(read_frame(&mut socket).await.expect("reply"), b"first");
    socket.write_all(&(100_i32 << 10).to_be_bytes()).await.expect("write");
    socket.write_all(b"ten bytes.").await.expect("write");
    assert!(ends(&mut socket).await);
}

#[tokio::test]
async fn an_address_beyond_its_share_is_closed_at_once() {
    let (_server, address) = server(|c| c.limits.max_per_ip = 1).await;
    let mut first = TcpStream::connect(address).await.expect("connect");
    first.write_all(&frame(b"a")).await.expect("write");
    assert_eq!(read_frame(&mut first).await.expect("reply"), b"a");
    let mut second = TcpStream::connect(address).await.expect("connect");
    assert!(ends(&mut second).await);
    first.write_all(&frame(b"b")).await.expect("write");
    assert_eq!(read_frame(&mut first).await.expect("reply"), b"b");
}

#[tokio::test]
async fn a_byte_bound_slows_requests_down_and_loses_none() {
    let (_server, address) = server(|c| c.queued_max_request_bytes = 100_000).await;
    let clients = (0..8).map(|i| async move {
        let mut socket = TcpStream::connect(address).await.expect("connect");
        for round in 0..20_u8 {
            let body = vec![100 + i + round; 90_000];
            socket.write_all(&frame(&body)).await.expect("write");
            assert!(read_frame(&mut socket).await.expect("reply") == body);
        }
    });
    let mut all = tokio::task::JoinSet::new();
    clients.for_each(|client| {
        all.spawn(client);
    });
    while let Some(done) = all.join_next().await {
        done.expect("client");
    }
}

#[tokio::test]
async fn a_request_that_waits_holds_no_bytes_that_others_need_to_end_its_wait() {
    let (_server, address) = server(|c| c.queued_max_request_bytes = 1_000).await;
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let mut socket = TcpStream::connect(address).await.expect("connect");
        socket.write_all(&frame(&[WAIT; 900])).await.expect("write");
        waiting.push(socket);
    }
    let mut releasing = TcpStream::connect(address).await.expect("connect");
    for _ in &waiting {
        releasing.write_all(&frame(&[RELEASE; 900])).await.expect("write");
    }
    for socket in &mut waiting {
        assert_eq!(read_frame(socket).await.expect("reply"), [WAIT]);
    }
}

#[tokio::test]
async fn shut_down_ends_idle_connections() {
    let (server, address) = server(|_| {}).await;
    let mut socket = TcpStream::connect(address).await.expect("connect");
    socket.write_all(&frame(b"x")).await.expect("write");
    assert_eq!(read_frame(&mut socket).await.expect("reply").as_slice().get_u8(), b'x');
    server.shut_down(Duration::from_secs(60)).await.expect("drained");
    assert!(ends(&mut socket).await);
}

async fn echoes(socket: &mut TcpStream, body: &[u8]) -> bool {
    socket.write_all(&frame(body)).await.expect("write");
    read_frame(socket).await.is_ok_and(|reply| reply == body)
}

/// Of what a reply has, a client that takes a piece now and then must not find it all in its own buffers.
async fn connect_with_little_room(address: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("socket");
    socket.set_recv_buffer_size(64 << 10).expect("receive buffer");
    socket.connect(address).await.expect("connect")
}

#[tokio::test]
async fn bytes_that_move_slowly_keep_a_connection_busy() {
    const IDLE: Duration = Duration::from_secs(1);
    let (_server, address) = server(|c| c.connections_max_idle = IDLE).await;
    let mut socket = connect_with_little_room(address).await;
    let body = vec![200; 4 << 20];
    let sent = frame(&body);
    // Each way takes longer than the limit.
    for piece in sent.chunks(sent.len() / 15) {
        socket.write_all(piece).await.expect("write");
        tokio::time::sleep(IDLE / 10).await;
    }
    let mut reply = vec![0; sent.len()];
    for piece in reply.chunks_mut(sent.len() / 15) {
        socket.read_exact(piece).await.expect("read");
        tokio::time::sleep(IDLE / 10).await;
    }
    assert!(reply == sent);
}

#[tokio::test]
async fn readers_that_stall_do_not_hold_up_a_stop() {
    let (server, address) = server(|_| {}).await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut socket = connect_with_little_room(address).await;
        socket.write_all(&frame(&vec![200; 8 << 20])).await.expect("write");
        // The reply is under way.
        assert_eq!(socket.read_i32().await.expect("size"), 8 << 20);
        readers.push(socket);
    }
    server.shut_down(Duration::from_secs(60)).await.expect("nothing waits for them");
}

/// A reset takes the rest of an answer away, and has the Java client drop all that it has not read.
#[tokio::test]
async fn a_stop_cuts_no_answer_off_that_was_given() {
    let (server, address) = server(|_| {}).await;
    let mut socket = connect_with_little_room(address).await;
    let body = vec![200; 160 << 10];
    socket.write_all(&frame(&body)).await.expect("write");
    socket.readable().await.expect("the answer has begun");
    server.stop_reading();
    // As a producer does, which has up to five batches under way.
    socket.write_all(&frame(b"not read any more")).await.expect("write");
    assert!(read_frame(&mut socket).await.expect("the whole answer") == body);
    assert!(matches!(socket.read_u8().await, Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof));
}

#[tokio::test]
async fn brokers_come_in_beyond_the_limit_and_clients_make_room() {
    let named = |name: &str| Listener { name: name.into(), host: "127.0.0.1".into(), port: 0 };
    let (server, brokers) = server(|c| {
        c.listeners = vec![named("PLAINTEXT"), named("OPEN"), named("IDLE")];
        c.limits.max = 2;
    })
    .await;
    let open = (Ipv4Addr::LOCALHOST, server.port("OPEN").expect("bound"));
    // The listeners that no one comes to take no place.
    let mut clients =
        [TcpStream::connect(open).await.expect("connect"), TcpStream::connect(open).await.expect("connect")];
    for client in &mut clients {
        assert!(echoes(client, b"client").await);
    }
    // The first was used last.
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(echoes(&mut clients[0], b"client").await);
    let mut broker = TcpStream::connect(brokers).await.expect("connect");
    assert!(echoes(&mut broker, b"broker").await);
    assert!(ends(&mut clients[1]).await);
    assert!(echoes(&mut clients[0], b"client").await);
    // A client waits for its place.
    let mut waiting = TcpStream::connect(open).await.expect("connect");
    waiting.write_all(&frame(b"waiting")).await.expect("write");
    drop(broker);
    assert_eq!(read_frame(&mut waiting).await.expect("reply"), b"waiting");
}

#[tokio::test]
async fn limits_change_while_connections_are_open() {
    let (server, address) = server(|_| {}).await;
    let mut first = TcpStream::connect(address).await.expect("connect");
    assert!(echoes(&mut first, b"a").await);
    let limits = |max, max_per_ip| ConnectionLimits {
        max,
        max_of_listener: HashMap::new(),
        max_per_ip,
        max_per_ip_overrides: HashMap::new(),
    };
    server.quotas().set_limits(limits(1_000, 1));
    assert!(ends(&mut TcpStream::connect(address).await.expect("connect")).await);
    server.quotas().set_limits(limits(1_000, 2));
    let mut second = TcpStream::connect(address).await.expect("connect");
    assert!(echoes(&mut second, b"b").await);
    server.quotas().set_limits(limits(1, 2));
    assert!(ends(&mut first).await);
    assert!(echoes(&mut second, b"c").await);
}
