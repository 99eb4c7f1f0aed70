//! Owns what ZooKeeper clients and servers say to each other: requests as the server reads them, replies and watch events
//! as it writes them. Counterpart: `zookeeper.jute`, `ZooDefs.OpCode`, `KeeperException.Code`, `MultiOperationRecord`.
//! Pure.
//!
//! ```text
//! frame     | length i32 | body |
//! first     body = protocol i32, last zxid i64, timeout i32, session i64, password buffer, read-only boolean (3.4+)
//! answered  body = protocol i32, timeout i32, session i64 (0: expired), password buffer, read-only boolean (if asked with one)
//! request   body = xid i32, op code i32, record
//! reply     body = xid i32, zxid i64, error i32, record (absent on error);  xid -1: a watch event
//! multi     per op | op code i32 | done boolean = false | error i32 | record |, then | -1 | true | -1 |
//! ```
//! Absent on purpose: SASL, reconfiguration, what servers of an ensemble say to each other.

use super::jute::{Malformed, Reader, Writer};
use bytes::Bytes;

/// `KeeperException.Code`: what a server answers instead of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    /// An operation of a multi after the one that failed.
    RuntimeInconsistency = -2,
    /// The server cannot read the request.
    MarshallingError = -5,
    Unimplemented = -6,
    BadArguments = -8,
    NoNode = -101,
    NoAuth = -102,
    BadVersion = -103,
    NoChildrenForEphemerals = -108,
    NodeExists = -110,
    NotEmpty = -111,
    SessionExpired = -112,
    InvalidAcl = -114,
    AuthFailed = -115,
    NoWatcher = -121,
}

/// `ZooDefs.Perms`
pub mod perms {
    pub const READ: i32 = 1;
    pub const WRITE: i32 = 2;
    pub const CREATE: i32 = 4;
    pub const DELETE: i32 = 8;
    pub const ADMIN: i32 = 16;
    pub const ALL: i32 = 31;
}

/// Who may do what: `perms` of [`perms`] to an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    pub perms: i32,
    pub id: Id,
}

/// An identity: `world:anyone`, `digest:user:hash`, `ip:address`, `auth:` (the caller).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id {
    pub scheme: String,
    pub id: String,
}

impl Acl {
    pub fn new(perms: i32, scheme: &str, id: &str) -> Self {
        Self { perms, id: Id { scheme: scheme.to_owned(), id: id.to_owned() } }
    }

    /// `ZooDefs.Ids.OPEN_ACL_UNSAFE`
    pub fn open() -> Self {
        Self::new(perms::ALL, "world", "anyone")
    }

    /// A null scheme or id reads as empty, which no provider knows.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let perms = r.int()?;
        let scheme = r.nullable_string()?.unwrap_or_default();
        let id = r.nullable_string()?.unwrap_or_default();
        Ok(Self { perms, id: Id { scheme, id } })
    }

    pub fn write(&self, w: &mut Writer) {
        w.int(self.perms);
        w.string(&self.id.scheme);
        w.string(&self.id.id);
    }
}

/// What ZooKeeper reports of a znode. Times in ms since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    /// Creations plus deletions of children.
    pub cversion: i32,
    pub aversion: i32,
    /// The owning session, 0 for a persistent node.
    pub ephemeral_owner: i64,
    pub data_length: i32,
    pub num_children: i32,
    pub pzxid: i64,
}

impl Stat {
    pub fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
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
    }

    pub fn write(&self, w: &mut Writer) {
        w.long(self.czxid);
        w.long(self.mzxid);
        w.long(self.ctime);
        w.long(self.mtime);
        w.int(self.version);
        w.int(self.cversion);
        w.int(self.aversion);
        w.long(self.ephemeral_owner);
        w.int(self.data_length);
        w.int(self.num_children);
        w.long(self.pzxid);
    }
}

/// `ZooDefs.OpCode`
pub mod op {
    pub const CREATE: i32 = 1;
    pub const DELETE: i32 = 2;
    pub const EXISTS: i32 = 3;
    pub const GET_DATA: i32 = 4;
    pub const SET_DATA: i32 = 5;
    pub const GET_ACL: i32 = 6;
    pub const SET_ACL: i32 = 7;
    pub const GET_CHILDREN: i32 = 8;
    pub const SYNC: i32 = 9;
    pub const PING: i32 = 11;
    pub const GET_CHILDREN2: i32 = 12;
    pub const CHECK: i32 = 13;
    pub const MULTI: i32 = 14;
    pub const CREATE2: i32 = 15;
    pub const CHECK_WATCHES: i32 = 17;
    pub const REMOVE_WATCHES: i32 = 18;
    pub const CREATE_CONTAINER: i32 = 19;
    pub const CREATE_TTL: i32 = 21;
    pub const MULTI_READ: i32 = 22;
    pub const AUTH: i32 = 100;
    pub const SET_WATCHES: i32 = 101;
    pub const SASL: i32 = 102;
    pub const GET_EPHEMERALS: i32 = 103;
    pub const GET_ALL_CHILDREN_NUMBER: i32 = 104;
    pub const SET_WATCHES2: i32 = 105;
    pub const ADD_WATCH: i32 = 106;
    pub const WHO_AM_I: i32 = 107;
    pub const CLOSE_SESSION: i32 = -11;
    pub const ERROR: i32 = -1;
}

/// The first frame of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    pub last_zxid_seen: i64,
    pub timeout_ms: i32,
    /// 0 asks for a new session.
    pub session: i64,
    pub password: Bytes,
    /// None from clients before 3.4.
    pub read_only: Option<bool>,
}

impl ConnectRequest {
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(body);
        let _protocol = r.int()?;
        Ok(Self {
            last_zxid_seen: r.long()?,
            timeout_ms: r.int()?,
            session: r.long()?,
            password: r.buffer()?.unwrap_or_default(),
            read_only: if r.is_empty() { None } else { Some(r.bool()?) },
        })
    }
}

/// Answers [`ConnectRequest`]: `session` is None when the session asked for is no more.
pub fn write_connect_reply(w: &mut Writer, session: Option<(i64, i32, [u8; 16])>, with_read_only: bool) {
    let (session, timeout_ms, password) = session.unwrap_or((0, 0, [0; 16]));
    w.frame(|w| {
        w.int(0);
        w.int(timeout_ms);
        w.long(session);
        w.buffer(Some(&password));
        if with_read_only {
            w.bool(false);
        }
    });
}

/// `CreateMode` as its flags, which can say more than we support: the model judges them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    pub path: String,
    pub data: Option<Bytes>,
    pub acl: Vec<Acl>,
    pub flags: i32,
    pub answer: CreateAnswer,
}

/// Which of the two create operations was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateAnswer {
    /// `create`
    Path,
    /// `create2`
    PathAndStat,
}

/// A write that can be part of a multi.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Create(Create),
    Delete { path: String, version: i32 },
    SetData { path: String, data: Option<Bytes>, version: i32 },
    Check { path: String, version: i32 },
}

/// A read that can be part of a multiRead; there it arms no watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    Data { path: String, watch: bool },
    Children { path: String, watch: bool },
}

/// What a client whose connection was replaced still watches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetWatches {
    /// The last zxid that the client has seen: what changed since fires at once.
    pub relative_zxid: i64,
    pub data: Vec<String>,
    pub exist: Vec<String>,
    pub child: Vec<String>,
    pub persistent: Vec<String>,
    pub persistent_recursive: Vec<String>,
}

/// A request after its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Write(Write),
    Read(Read),
    Children2 {
        path: String,
        watch: bool,
    },
    Exists {
        path: String,
        watch: bool,
    },
    GetAcl {
        path: String,
    },
    SetAcl {
        path: String,
        acl: Vec<Acl>,
        version: i32,
    },
    Sync {
        path: String,
    },
    Multi(Vec<Write>),
    MultiRead(Vec<Read>),
    SetWatches(SetWatches),
    AddWatch {
        path: String,
        mode: i32,
    },
    CheckWatches {
        path: String,
        kind: i32,
    },
    RemoveWatches {
        path: String,
        kind: i32,
    },
    GetEphemerals {
        prefix: Option<String>,
    },
    GetAllChildrenNumber {
        path: String,
    },
    WhoAmI,
    Auth {
        scheme: String,
        auth: Bytes,
    },
    Ping,
    CloseSession,
    /// An operation that we answer with UNIMPLEMENTED.
    Unknown(i32),
    /// A record that is not what its op code says.
    Malformed,
}

/// xid and op code.
pub fn read_header(r: &mut Reader<'_>) -> Result<(i32, i32), Malformed> {
    Ok((r.int()?, r.int()?))
}

impl Request {
    pub fn read(op: i32, r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match op {
            op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => Self::Write(read_create(op, r)?),
            op::DELETE | op::SET_DATA => Self::Write(read_write(op, r)?),
            op::GET_DATA | op::GET_CHILDREN => Self::Read(read_read(op, r)?),
            op::GET_CHILDREN2 => Self::Children2 { path: r.string()?, watch: r.bool()? },
            op::EXISTS => Self::Exists { path: r.string()?, watch: r.bool()? },
            op::GET_ACL => Self::GetAcl { path: r.string()? },
            op::SET_ACL => Self::SetAcl { path: r.string()?, acl: r.vector(Acl::read)?, version: r.int()? },
            op::SYNC => Self::Sync { path: r.string()? },
            op::MULTI => Self::Multi(read_multi(r, read_write)?),
            op::MULTI_READ => Self::MultiRead(read_multi(r, read_read)?),
            op::SET_WATCHES | op::SET_WATCHES2 => {
                let mut watches = SetWatches {
                    relative_zxid: r.long()?,
                    data: r.vector(Reader::string)?,
                    exist: r.vector(Reader::string)?,
                    child: r.vector(Reader::string)?,
                    ..SetWatches::default()
                };
                if op == op::SET_WATCHES2 {
                    watches.persistent = r.vector(Reader::string)?;
                    watches.persistent_recursive = r.vector(Reader::string)?;
                }
                Self::SetWatches(watches)
            }
            op::ADD_WATCH => Self::AddWatch { path: r.string()?, mode: r.int()? },
            op::CHECK_WATCHES => Self::CheckWatches { path: r.string()?, kind: r.int()? },
            op::REMOVE_WATCHES => Self::RemoveWatches { path: r.string()?, kind: r.int()? },
            op::GET_EPHEMERALS => Self::GetEphemerals { prefix: r.nullable_string()? },
            op::GET_ALL_CHILDREN_NUMBER => Self::GetAllChildrenNumber { path: r.string()? },
            op::WHO_AM_I => Self::WhoAmI,
            op::AUTH => {
                let _type = r.int()?;
                Self::Auth { scheme: r.string()?, auth: r.buffer()?.unwrap_or_default() }
            }
            op::PING => Self::Ping,
            op::CLOSE_SESSION => Self::CloseSession,
            unknown => Self::Unknown(unknown),
        })
    }
}

fn read_create(op: i32, r: &mut Reader<'_>) -> Result<Write, Malformed> {
    let answer = if op == op::CREATE { CreateAnswer::Path } else { CreateAnswer::PathAndStat };
    let create = Create { path: r.string()?, data: r.buffer()?, acl: r.vector(Acl::read)?, flags: r.int()?, answer };
    if op == op::CREATE_TTL {
        let _ttl = r.long()?;
    }
    Ok(Write::Create(create))
}

fn read_write(op: i32, r: &mut Reader<'_>) -> Result<Write, Malformed> {
    match op {
        op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => read_create(op, r),
        op::DELETE => Ok(Write::Delete { path: r.string()?, version: r.int()? }),
        op::SET_DATA => Ok(Write::SetData { path: r.string()?, data: r.buffer()?, version: r.int()? }),
        op::CHECK => Ok(Write::Check { path: r.string()?, version: r.int()? }),
        _ => Err(Malformed("not an operation of a multi")),
    }
}

fn read_read(op: i32, r: &mut Reader<'_>) -> Result<Read, Malformed> {
    match op {
        op::GET_DATA => Ok(Read::Data { path: r.string()?, watch: r.bool()? }),
        op::GET_CHILDREN => Ok(Read::Children { path: r.string()?, watch: r.bool()? }),
        _ => Err(Malformed("not an operation of a multiRead")),
    }
}

fn read_multi<T>(
    r: &mut Reader<'_>,
    read: fn(i32, &mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut ops = Vec::new();
    loop {
        let (op, done, _error) = (r.int()?, r.bool()?, r.int()?);
        if done {
            return Ok(ops);
        }
        ops.push(read(op, r)?);
    }
}

/// A result of a request or of one operation of a multi.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// A reply without a record: ping, delete, setWatches, removeWatches, closeSession, auth.
    Empty,
    Created {
        path: String,
    },
    Created2 {
        path: String,
        stat: Stat,
    },
    Deleted,
    Checked,
    /// setData, setACL, exists.
    Stat(Stat),
    Data {
        data: Option<Bytes>,
        stat: Stat,
    },
    Children(Vec<String>),
    Children2 {
        children: Vec<String>,
        stat: Stat,
    },
    Acl {
        acl: Vec<Acl>,
        stat: Stat,
    },
    /// sync
    Path(String),
    Multi(Vec<OpResult>),
    /// addWatch: an ErrorResponse of 0.
    WatchAdded,
    Ephemerals(Vec<String>),
    Number(i32),
    /// Scheme and user of each identity.
    WhoAmI(Vec<(String, String)>),
}

/// A result in a multi. An operation before a failed one is `Error(0)`, one after it RUNTIMEINCONSISTENCY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpResult {
    Done(Response),
    Error(i32),
}

impl Response {
    fn write(&self, w: &mut Writer) {
        match self {
            Self::Empty | Self::Deleted | Self::Checked => {}
            Self::Created { path } | Self::Path(path) => w.string(path),
            Self::Created2 { path, stat } => {
                w.string(path);
                stat.write(w);
            }
            Self::Stat(stat) => stat.write(w),
            Self::Data { data, stat } => {
                w.buffer(data.as_deref());
                stat.write(w);
            }
            Self::Children(names) | Self::Ephemerals(names) => w.vector(names.iter(), |w, name| w.string(name)),
            Self::Children2 { children, stat } => {
                w.vector(children.iter(), |w, name| w.string(name));
                stat.write(w);
            }
            Self::Acl { acl, stat } => {
                w.vector(acl.iter(), |w, acl| acl.write(w));
                stat.write(w);
            }
            Self::Multi(results) => {
                for result in results {
                    result.write(w);
                }
                write_multi_header(w, -1, true, -1);
            }
            Self::WatchAdded => w.int(0),
            Self::Number(n) => w.int(*n),
            Self::WhoAmI(ids) => w.vector(ids.iter(), |w, (scheme, user)| {
                w.string(scheme);
                w.string(user);
            }),
        }
    }

    /// The op code under which a multi reports this result.
    fn op(&self) -> i32 {
        match self {
            Self::Created { .. } => op::CREATE,
            Self::Created2 { .. } => op::CREATE2,
            Self::Deleted => op::DELETE,
            Self::Stat(_) => op::SET_DATA,
            Self::Data { .. } => op::GET_DATA,
            Self::Children(_) => op::GET_CHILDREN,
            _ => op::CHECK,
        }
    }
}

impl OpResult {
    fn write(&self, w: &mut Writer) {
        match self {
            Self::Done(response) => {
                write_multi_header(w, response.op(), false, 0);
                response.write(w);
            }
            Self::Error(code) => {
                write_multi_header(w, op::ERROR, false, *code);
                w.int(*code);
            }
        }
    }
}

fn write_multi_header(w: &mut Writer, op: i32, done: bool, error: i32) {
    w.int(op);
    w.bool(done);
    w.int(error);
}

/// Appends the frame of a reply.
pub fn write_reply(w: &mut Writer, xid: i32, zxid: i64, result: &Result<Response, Code>) {
    w.frame(|w| {
        w.int(xid);
        w.long(zxid);
        match result {
            Ok(response) => {
                w.int(0);
                response.write(w);
            }
            Err(code) => w.int(*code as i32),
        }
    });
}

/// `Watcher.Event.EventType`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum EventKind {
    NodeCreated = 1,
    NodeDeleted = 2,
    NodeDataChanged = 3,
    NodeChildrenChanged = 4,
}

/// Something that a session watched has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEvent {
    pub kind: EventKind,
    pub path: String,
}

/// Appends the frame of a watch event: xid -1, zxid -1, state SyncConnected.
pub fn write_event(w: &mut Writer, event: &WatchEvent) {
    const SYNC_CONNECTED: i32 = 3;
    w.frame(|w| {
        w.int(-1);
        w.long(-1);
        w.int(0);
        w.int(event.kind as i32);
        w.int(SYNC_CONNECTED);
        w.string(&event.path);
    });
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::util::fuzzing;

    /// Bytes that look like records: lengths are small, null, negative or huge; text is a path.
    fn bytes(rng: &mut StdRng) -> Vec<u8> {
        let mut w = Writer::default();
        for _ in 0..rng.random_range(0..12) {
            match rng.random_range(0..7) {
                0 => w.int(rng.random_range(-3..5)),
                1 => w.int(rng.random()),
                2 => w.string("/a/b"),
                3 => w.buffer(None),
                4 => w.bool(rng.random()),
                5 => w.long(rng.random()),
                _ => w.bytes.extend((0..rng.random_range(0..9)).map(|_| rng.random::<u8>())),
            }
        }
        w.bytes
    }

    #[test]
    fn any_bytes_are_a_request_or_refused() {
        let mut rng = StdRng::seed_from_u64(fuzzing::seed());
        let until = fuzzing::deadline();
        let (mut read, mut refused) = (0u64, 0u64);
        while Instant::now() < until {
            for _ in 0..1000 {
                let bytes = bytes(&mut rng);
                let op = [rng.random_range(-11..=22), rng.random_range(100..=107)][rng.random_range(0..2)];
                match Request::read(op, &mut Reader::new(&bytes)) {
                    Ok(_) => read += 1,
                    Err(_) => refused += 1,
                }
                let _read_or_refused = ConnectRequest::read(&bytes);
            }
        }
        assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
    }

    #[test]
    fn a_claimed_count_reserves_nothing() {
        // A setWatches of 2^31 - 1 paths in 12 bytes.
        let mut w = Writer::default();
        w.long(0);
        w.int(i32::MAX);
        assert_eq!(Request::read(op::SET_WATCHES, &mut Reader::new(&w.bytes)), Err(Malformed("more items than bytes")));
    }
}
