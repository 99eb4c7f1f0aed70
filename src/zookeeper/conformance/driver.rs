//! How the conformance suite talks to a ZooKeeper: to the model by calls, to any server by bytes. The encoder of requests
//! and the decoder of replies here are the client's half of the protocol, written apart from the server's half in
//! [`wire`](crate::zookeeper::wire); a real ZooKeeper holds both to the same bytes.

use crate::common::Now;
use crate::zookeeper::jute::{Malformed, Reader, Writer};
use crate::zookeeper::model::{Effects, Model, Password, Reply, SessionId, Timing};
use crate::zookeeper::wire::{
    Acl, Code, CreateAnswer, EventKind, OpResult, Read, Request, Response, Stat, WatchEvent, Write, op,
};
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// A session of the suite, by number.
pub(in crate::zookeeper) type Client = usize;

/// A ZooKeeper under test.
pub(in crate::zookeeper) trait Zoo {
    fn open(&mut self, timeout_ms: i32) -> Client;

    /// The timeout that the session got, ms.
    fn timeout(&self, client: Client) -> i32;

    /// The id of the session.
    fn session(&self, client: Client) -> SessionId;

    fn call(&mut self, client: Client, request: Request) -> Reply;

    /// Events that came with the replies so far, in order.
    fn take_events(&mut self, client: Client) -> Vec<WatchEvent>;

    /// Lets time pass, with `client` alive, until an event comes to it.
    fn wait_for_event(&mut self, client: Client) -> WatchEvent;

    /// Breaks the connection; the session is not closed.
    fn disconnect(&mut self, client: Client);

    /// Connects again with the session's password, or a wrong one. False: the session is no more.
    fn reconnect(&mut self, client: Client, right_password: bool) -> bool;
}

// ---- the model ----

pub(in crate::zookeeper) struct InProcess {
    model: Model,
    now: Now,
    clients: Vec<ModelClient>,
}

struct ModelClient {
    id: SessionId,
    timeout: i32,
    connected: bool,
    events: VecDeque<WatchEvent>,
}

const PASSWORD: Password = *b"sixteen letters!";

impl InProcess {
    pub(in crate::zookeeper) fn new() -> Self {
        let now = Now { wall: 1_700_000_000_000, ticks: 0 };
        let timing = Timing { tick: 100, min_timeout: 200, max_timeout: 2000 };
        Self { model: Model::new(timing, now), now, clients: Vec::new() }
    }

    fn deliver(&mut self, effects: Effects) {
        for (session, event) in effects.events {
            for client in self.clients.iter_mut().filter(|c| c.id == session && c.connected) {
                client.events.push_back(event.clone());
            }
        }
    }
}

impl Zoo for InProcess {
    fn open(&mut self, timeout_ms: i32) -> Client {
        let mut effects = Effects::default();
        let (id, timeout) = self.model.open_session(self.now, "127.0.0.1", timeout_ms, PASSWORD, &mut effects);
        self.deliver(effects);
        self.clients.push(ModelClient { id, timeout, connected: true, events: VecDeque::new() });
        self.clients.len() - 1
    }

    fn timeout(&self, client: Client) -> i32 {
        self.clients[client].timeout
    }

    fn session(&self, client: Client) -> SessionId {
        self.clients[client].id
    }

    fn call(&mut self, client: Client, request: Request) -> Reply {
        self.now.wall += 1;
        let mut effects = Effects::default();
        let reply = self.model.request(self.now, self.clients[client].id, request, &mut effects);
        self.deliver(effects);
        reply
    }

    fn take_events(&mut self, client: Client) -> Vec<WatchEvent> {
        self.clients[client].events.drain(..).collect()
    }

    fn wait_for_event(&mut self, client: Client) -> WatchEvent {
        for _ in 0..100 {
            if let Some(event) = self.clients[client].events.pop_front() {
                return event;
            }
            let _pong = self.call(client, Request::Ping);
            self.now.ticks += 50;
            let mut effects = Effects::default();
            self.model.expire(self.now, &mut effects);
            self.deliver(effects);
        }
        panic!("no event came in 5 seconds");
    }

    fn disconnect(&mut self, client: Client) {
        self.clients[client].connected = false;
        self.clients[client].events.clear();
        self.model.detach_session(self.clients[client].id);
    }

    fn reconnect(&mut self, client: Client, right_password: bool) -> bool {
        let password = if right_password { PASSWORD } else { [0; 16] };
        let known = &mut self.clients[client];
        let timeout = self.model.attach_session(self.now, "127.0.0.1", known.id, known.timeout, &password);
        known.connected = timeout.is_some();
        known.connected
    }
}

// ---- any server ----

pub(in crate::zookeeper) struct OverTheWire {
    address: String,
    clients: Vec<WireClient>,
}

struct WireClient {
    socket: TcpStream,
    id: SessionId,
    timeout: i32,
    password: Vec<u8>,
    xid: i32,
    last_zxid: i64,
    events: VecDeque<WatchEvent>,
}

/// What a server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

impl OverTheWire {
    pub(in crate::zookeeper) fn new(address: String) -> Self {
        Self { address, clients: Vec::new() }
    }

    /// The server is at another address from now on.
    pub(in crate::zookeeper) fn moved_to(&mut self, address: String) {
        self.address = address;
    }

    /// Sends a request many times and reads no answer, until the server takes no more.
    pub(in crate::zookeeper) fn send_only(&mut self, client: Client, request: &Request, times: i32) {
        let socket = &mut self.clients[client].socket;
        socket.set_write_timeout(Some(Duration::from_millis(100))).expect("timeout");
        for xid in 1..=times {
            let mut w = Writer::default();
            w.frame(|w| {
                w.int(xid);
                write_request(w, request);
            });
            if socket.write_all(&w.bytes).is_err() {
                return;
            }
        }
    }
}

fn connect(address: &str, id: SessionId, timeout_ms: i32, password: &[u8], last_zxid: i64) -> WireClient {
    let mut socket = TcpStream::connect(address).expect("connect");
    socket.set_read_timeout(Some(ANSWER_WITHIN)).expect("timeout");
    socket.set_nodelay(true).expect("nodelay");
    let mut w = Writer::default();
    w.frame(|w| {
        w.int(0);
        w.long(last_zxid);
        w.int(timeout_ms);
        w.long(id);
        w.buffer(Some(password));
        w.bool(false);
    });
    socket.write_all(&w.bytes).expect("ask for a session");
    let body = read_frame(&mut socket);
    let mut r = Reader::new(&body);
    let answered = (r.int(), r.int(), r.long(), r.buffer(), r.bool());
    let (Ok(0), Ok(timeout), Ok(id), Ok(Some(password)), Ok(false)) = answered else { panic!("{answered:?}") };
    assert!(r.is_empty());
    let password = password.to_vec();
    WireClient { socket, id, timeout, password, xid: 0, last_zxid, events: VecDeque::new() }
}

fn read_frame(socket: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).expect("length of a frame");
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    socket.read_exact(&mut body).expect("frame");
    body
}

impl WireClient {
    /// Sends one request and takes what comes up to its reply.
    fn call(&mut self, request: &Request) -> Reply {
        let xid = match request {
            Request::Ping => -2,
            Request::Auth { .. } => -4,
            Request::SetWatches(_) => -8,
            _ => {
                self.xid += 1;
                self.xid
            }
        };
        let mut w = Writer::default();
        w.frame(|w| {
            w.int(xid);
            write_request(w, request);
        });
        self.socket.write_all(&w.bytes).expect("send");
        loop {
            let body = read_frame(&mut self.socket);
            let mut r = Reader::new(&body);
            let header = (r.int(), r.long(), r.int());
            let (Ok(got), Ok(zxid), Ok(error)) = header else { panic!("{header:?}") };
            if got == -1 {
                assert_eq!((zxid, error), (-1, 0));
                self.events.push_back(read_event(&mut r));
                continue;
            }
            assert_eq!(got, xid, "replies come in the order of their requests");
            let result = if error == 0 { Ok(read_response(request, &mut r)) } else { Err(code(error)) };
            assert!(r.is_empty(), "bytes follow the reply to {request:?}");
            self.last_zxid = self.last_zxid.max(zxid);
            return Reply { zxid, result };
        }
    }
}

impl Zoo for OverTheWire {
    fn open(&mut self, timeout_ms: i32) -> Client {
        self.clients.push(connect(&self.address, 0, timeout_ms, &[0; 16], 0));
        self.clients.len() - 1
    }

    fn timeout(&self, client: Client) -> i32 {
        self.clients[client].timeout
    }

    fn session(&self, client: Client) -> SessionId {
        self.clients[client].id
    }

    fn call(&mut self, client: Client, request: Request) -> Reply {
        self.clients[client].call(&request)
    }

    fn take_events(&mut self, client: Client) -> Vec<WatchEvent> {
        self.clients[client].events.drain(..).collect()
    }

    fn wait_for_event(&mut self, client: Client) -> WatchEvent {
        let client = &mut self.clients[client];
        let mut quiet = 0;
        loop {
            client.call(&Request::Ping);
            if let Some(event) = client.events.pop_front() {
                return event;
            }
            client.socket.set_read_timeout(Some(Duration::from_millis(100))).expect("timeout");
            // Waits for the next frame without taking it.
            quiet += u32::from(client.socket.peek(&mut [0]).is_err());
            client.socket.set_read_timeout(Some(ANSWER_WITHIN)).expect("timeout");
            assert!(quiet < 200, "no event came in 20 seconds");
        }
    }

    fn disconnect(&mut self, client: Client) {
        self.clients[client].socket.shutdown(Shutdown::Both).expect("shut down");
        self.clients[client].events.clear();
    }

    fn reconnect(&mut self, client: Client, right_password: bool) -> bool {
        let known = &self.clients[client];
        let password = if right_password { known.password.clone() } else { vec![0; 16] };
        let fresh = connect(&self.address, known.id, known.timeout, &password, known.last_zxid);
        if fresh.id == 0 {
            assert_eq!((fresh.timeout, &fresh.password[..]), (0, &[0; 16][..]));
            return false;
        }
        assert_eq!((fresh.id, &fresh.password), (known.id, &known.password));
        self.clients[client] = fresh;
        true
    }
}

fn code(error: i32) -> Code {
    use Code::*;
    let known = [
        RuntimeInconsistency,
        MarshallingError,
        Unimplemented,
        BadArguments,
        NoNode,
        NoAuth,
        BadVersion,
        NoChildrenForEphemerals,
        NodeExists,
        NotEmpty,
        SessionExpired,
        InvalidAcl,
        AuthFailed,
        NoWatcher,
    ];
    known.into_iter().find(|code| *code as i32 == error).unwrap_or_else(|| panic!("code {error}"))
}

fn write_acl(w: &mut Writer, acl: &[Acl]) {
    w.vector(acl.iter(), |w, acl| {
        w.int(acl.perms);
        w.string(&acl.id.scheme);
        w.string(&acl.id.id);
    });
}

fn write_path_and_int(w: &mut Writer, path: &str, int: i32) {
    w.string(path);
    w.int(int);
}

fn write_path_and_watch(w: &mut Writer, path: &str, watch: bool) {
    w.string(path);
    w.bool(watch);
}

/// The record of a write; its op code is [`op_of_write`].
fn write_write(w: &mut Writer, write: &Write) {
    match write {
        Write::Create(create) => {
            w.string(&create.path);
            w.buffer(create.data.as_deref());
            write_acl(w, &create.acl);
            w.int(create.flags);
        }
        Write::Delete { path, version } | Write::Check { path, version } => write_path_and_int(w, path, *version),
        Write::SetData { path, data, version } => {
            w.string(path);
            w.buffer(data.as_deref());
            w.int(*version);
        }
    }
}

fn op_of_write(write: &Write) -> i32 {
    match write {
        Write::Create(create) if create.answer == CreateAnswer::Path => op::CREATE,
        Write::Create(_) => op::CREATE2,
        Write::Delete { .. } => op::DELETE,
        Write::SetData { .. } => op::SET_DATA,
        Write::Check { .. } => op::CHECK,
    }
}

fn op_of_read(read: &Read) -> (i32, &str, bool) {
    match read {
        Read::Data { path, watch } => (op::GET_DATA, path, *watch),
        Read::Children { path, watch } => (op::GET_CHILDREN, path, *watch),
    }
}

fn write_multi<T>(w: &mut Writer, ops: &[T], op_of: fn(&T) -> i32, write: fn(&mut Writer, &T)) {
    for it in ops {
        w.int(op_of(it));
        w.bool(false);
        w.int(-1);
        write(w, it);
    }
    w.int(-1);
    w.bool(true);
    w.int(-1);
}

fn write_request(w: &mut Writer, request: &Request) {
    let vector = |w: &mut Writer, paths: &[String]| w.vector(paths.iter(), |w, path| w.string(path));
    match request {
        Request::Write(write) => {
            w.int(op_of_write(write));
            write_write(w, write);
        }
        Request::Read(read) => {
            let (op, path, watch) = op_of_read(read);
            w.int(op);
            write_path_and_watch(w, path, watch);
        }
        Request::Children2 { path, watch } => {
            w.int(op::GET_CHILDREN2);
            write_path_and_watch(w, path, *watch);
        }
        Request::Exists { path, watch } => {
            w.int(op::EXISTS);
            write_path_and_watch(w, path, *watch);
        }
        Request::GetAcl { path } => {
            w.int(op::GET_ACL);
            w.string(path);
        }
        Request::SetAcl { path, acl, version } => {
            w.int(op::SET_ACL);
            w.string(path);
            write_acl(w, acl);
            w.int(*version);
        }
        Request::Sync { path } => {
            w.int(op::SYNC);
            w.string(path);
        }
        Request::Multi(writes) => {
            w.int(op::MULTI);
            write_multi(w, writes, op_of_write, write_write);
        }
        Request::MultiRead(reads) => {
            w.int(op::MULTI_READ);
            write_multi(
                w,
                reads,
                |read| op_of_read(read).0,
                |w, read| {
                    let (_, path, watch) = op_of_read(read);
                    write_path_and_watch(w, path, watch);
                },
            );
        }
        Request::SetWatches(watches) => {
            w.int(op::SET_WATCHES2);
            w.long(watches.relative_zxid);
            vector(w, &watches.data);
            vector(w, &watches.exist);
            vector(w, &watches.child);
            vector(w, &watches.persistent);
            vector(w, &watches.persistent_recursive);
        }
        Request::AddWatch { path, mode } => {
            w.int(op::ADD_WATCH);
            write_path_and_int(w, path, *mode);
        }
        Request::CheckWatches { path, kind } => {
            w.int(op::CHECK_WATCHES);
            write_path_and_int(w, path, *kind);
        }
        Request::RemoveWatches { path, kind } => {
            w.int(op::REMOVE_WATCHES);
            write_path_and_int(w, path, *kind);
        }
        Request::GetEphemerals { prefix } => {
            w.int(op::GET_EPHEMERALS);
            w.buffer(prefix.as_ref().map(String::as_bytes));
        }
        Request::GetAllChildrenNumber { path } => {
            w.int(op::GET_ALL_CHILDREN_NUMBER);
            w.string(path);
        }
        Request::WhoAmI => w.int(op::WHO_AM_I),
        Request::Auth { scheme, auth } => {
            w.int(op::AUTH);
            w.int(0);
            w.string(scheme);
            w.buffer(Some(auth));
        }
        Request::Ping => w.int(op::PING),
        Request::CloseSession => w.int(op::CLOSE_SESSION),
        Request::Unknown(unknown) => w.int(*unknown),
        // A delete without its record.
        Request::Malformed => w.int(op::DELETE),
    }
}

fn read_stat(r: &mut Reader<'_>) -> Stat {
    let mut read = || -> Result<Stat, Malformed> {
        Ok(Stat {
            czxid: r.long()?,
            mzxid: r.long()?,
            ctime: r.long()?,
            mtime: r.long()?,
            version: r.int()?,
            cversion: r.int()?,
            aversion: r.int()?,
            ephemeral_owner: r.long()?,
            data_length: r.int()?,
            num_children: r.int()?,
            pzxid: r.long()?,
        })
    };
    read().expect("stat")
}

/// A server may list children in any order.
fn read_names(r: &mut Reader<'_>) -> Vec<String> {
    let mut names = r.vector(Reader::string).expect("names");
    names.sort_unstable();
    names
}

fn read_event(r: &mut Reader<'_>) -> WatchEvent {
    let kinds =
        [EventKind::NodeCreated, EventKind::NodeDeleted, EventKind::NodeDataChanged, EventKind::NodeChildrenChanged];
    let kind = r.int().expect("kind of event");
    assert_eq!(r.int(), Ok(3), "state SyncConnected");
    let kind = *kinds.iter().find(|k| **k as i32 == kind).expect("a known kind of event");
    WatchEvent { kind, path: r.string().expect("path of event") }
}

fn read_response(request: &Request, r: &mut Reader<'_>) -> Response {
    match request {
        Request::Write(Write::Create(create)) => match create.answer {
            CreateAnswer::Path => read_result(op::CREATE, r),
            CreateAnswer::PathAndStat => read_result(op::CREATE2, r),
        },
        Request::Write(Write::SetData { .. }) | Request::SetAcl { .. } | Request::Exists { .. } => {
            Response::Stat(read_stat(r))
        }
        Request::Write(Write::Delete { .. }) => Response::Deleted,
        Request::Read(read) => read_result(op_of_read(read).0, r),
        Request::Children2 { .. } => Response::Children2 { children: read_names(r), stat: read_stat(r) },
        Request::GetAcl { .. } => Response::Acl { acl: r.vector(Acl::read).expect("acl"), stat: read_stat(r) },
        Request::Sync { .. } => Response::Path(r.string().expect("path")),
        Request::Multi(_) | Request::MultiRead(_) => read_multi(r),
        Request::AddWatch { .. } => {
            assert_eq!(r.int(), Ok(0));
            Response::WatchAdded
        }
        Request::GetEphemerals { .. } => Response::Ephemerals(read_names(r)),
        Request::GetAllChildrenNumber { .. } => Response::Number(r.int().expect("number")),
        Request::WhoAmI => Response::WhoAmI(r.vector(|r| Ok((r.string()?, r.string()?))).expect("identities")),
        _ => Response::Empty,
    }
}

fn read_multi(r: &mut Reader<'_>) -> Response {
    let mut results = Vec::new();
    loop {
        let header = (r.int(), r.bool(), r.int());
        match header {
            (Ok(-1), Ok(true), Ok(-1)) => return Response::Multi(results),
            (Ok(op::ERROR), Ok(false), Ok(error)) => {
                assert_eq!(r.int(), Ok(error));
                results.push(OpResult::Error(error));
            }
            (Ok(op), Ok(false), Ok(0)) => results.push(OpResult::Done(read_result(op, r))),
            _ => panic!("{header:?}"),
        }
    }
}

fn read_result(op: i32, r: &mut Reader<'_>) -> Response {
    match op {
        op::CREATE => Response::Created { path: r.string().expect("path") },
        op::CREATE2 => Response::Created2 { path: r.string().expect("path"), stat: read_stat(r) },
        op::DELETE => Response::Deleted,
        op::CHECK => Response::Checked,
        op::SET_DATA => Response::Stat(read_stat(r)),
        op::GET_DATA => Response::Data { data: r.buffer().expect("data"), stat: read_stat(r) },
        op::GET_CHILDREN => Response::Children(read_names(r)),
        _ => panic!("op {op} in the reply of a multi"),
    }
}
