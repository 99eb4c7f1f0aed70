//! Decides what a ZooKeeper answers: one standalone server of version 3.8 as a state machine. Pure: requests and time go in,
//! replies, watch events, ended sessions and the transactions to log come out. Counterpart: `PrepRequestProcessor`,
//! `FinalRequestProcessor`, `SessionTrackerImpl`. Simulation runs it directly, [`super::server`] puts it behind a socket.
//! One conformance suite holds it to a real ZooKeeper.
//! Absent on purpose: an ensemble, quotas, container and TTL nodes (refused with UNIMPLEMENTED), SASL, read-only mode.

use self::tree::{Change, Misfit, Node, Tree, Undo, parent_of};
use self::watches::{Mode, Watches};
use super::wire::{
    Acl, Code, Create, CreateAnswer, EventKind, Id, OpResult, Read, Request, Response, SetWatches, Stat, WatchEvent,
    Write, perms,
};
use crate::common::{Millis, Now};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

mod acl;
pub mod tree;
mod watches;

pub type SessionId = i64;
pub type Password = [u8; 16];

/// Timing of sessions, ms. ZooKeeper's: `tickTime`, `minSessionTimeout` (2 ticks), `maxSessionTimeout` (20 ticks).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    pub tick: Millis,
    pub min_timeout: i32,
    pub max_timeout: i32,
}

/// What a transaction does besides changing nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Node changes: none of a refused write, which takes a zxid all the same.
    Changes(Vec<Change>),
    OpenSession {
        timeout: i32,
        password: Password,
    },
    /// Ends the session and deletes its ephemerals.
    CloseSession,
}

/// One entry of the log. Applied in order of zxid to an equal model it gives an equal model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub zxid: i64,
    pub time: Millis,
    pub session: SessionId,
    pub action: Action,
}

/// What the shell must do, in this order: log, notify watchers, then answer; and drop the connections of ended sessions.
#[must_use]
#[derive(Debug, Default)]
pub struct Effects {
    pub log: Vec<Transaction>,
    pub events: Vec<(SessionId, WatchEvent)>,
    pub ended: Vec<SessionId>,
}

/// A reply before its xid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub zxid: i64,
    pub result: Result<Response, Code>,
}

struct Session {
    timeout: i32,
    password: Password,
    deadline: Millis,
    /// Who the client has proven to be on its present connection; empty without a connection.
    auth: Vec<Id>,
}

pub struct Model {
    timing: Timing,
    tree: Tree,
    sessions: BTreeMap<SessionId, Session>,
    deadlines: BTreeSet<(Millis, SessionId)>,
    data_watches: Watches,
    child_watches: Watches,
    last_zxid: i64,
    next_session: SessionId,
}

/// What watchers may hear of a change that was made.
struct Happened {
    kind: EventKind,
    path: Arc<str>,
    acl: Arc<[Acl]>,
    parent_acl: Arc<[Acl]>,
}

impl Model {
    /// A new, empty ZooKeeper. Session ids are drawn from the wall clock, so that a restart does not repeat them.
    pub fn new(timing: Timing, now: Now) -> Self {
        // The layout of `SessionTrackerImpl.initializeNextSessionId` for server 1.
        let first = (((now.wall << 24) as u64) >> 8) as i64 | (1 << 56);
        Self {
            timing,
            tree: Tree::reserved(),
            sessions: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            data_watches: Watches::default(),
            child_watches: Watches::default(),
            last_zxid: 0,
            next_session: first,
        }
    }

    // ---- sessions ----

    /// Opens a session for a client at `address` (textual IP). Returns its id and the timeout it got, ms.
    pub fn open_session(
        &mut self,
        now: Now,
        address: &str,
        timeout: i32,
        password: Password,
        out: &mut Effects,
    ) -> (SessionId, i32) {
        let timeout = timeout.clamp(self.timing.min_timeout, self.timing.max_timeout);
        let id = self.next_session;
        let transaction = self.next_transaction(now, id, Action::OpenSession { timeout, password });
        self.add_session(id, timeout, password, now.ticks);
        self.sessions.entry(id).and_modify(|s| s.auth = vec![ip_id(address)]);
        out.log.push(transaction);
        (id, timeout)
    }

    /// Moves a session to a new connection. None: there is no such session or the password is wrong. Otherwise the timeout.
    pub fn attach_session(
        &mut self,
        now: Now,
        address: &str,
        id: SessionId,
        timeout: i32,
        password: &[u8],
    ) -> Option<i32> {
        let timeout = timeout.clamp(self.timing.min_timeout, self.timing.max_timeout);
        if self.sessions.get(&id)?.password != password {
            return None;
        }
        self.detach_session(id);
        let session = self.sessions.get_mut(&id)?;
        session.timeout = timeout;
        session.auth = vec![ip_id(address)];
        self.touch(now, id);
        Some(timeout)
    }

    /// The session's connection is gone: its watches and identities go with it, the session stays until it expires.
    pub fn detach_session(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.auth.clear();
        }
        self.data_watches.remove_session(id);
        self.child_watches.remove_session(id);
    }

    /// When [`Self::expire`] has something to do, in ticks.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Ends the sessions that were silent for their timeout.
    pub fn expire(&mut self, now: Now, out: &mut Effects) {
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now.ticks) {
            self.close(now, id, out);
        }
    }

    fn add_session(&mut self, id: SessionId, timeout: i32, password: Password, ticks: Millis) {
        let deadline = self.deadline_after(ticks, timeout);
        self.deadlines.insert((deadline, id));
        self.sessions.insert(id, Session { timeout, password, deadline, auth: Vec::new() });
        self.next_session = self.next_session.max(id.wrapping_add(1));
    }

    /// The end of the tick in which the timeout passes: sessions expire in buckets, and late rather than early.
    fn deadline_after(&self, ticks: Millis, timeout: i32) -> Millis {
        ((ticks + Millis::from(timeout)) / self.timing.tick + 1) * self.timing.tick
    }

    fn touch(&mut self, now: Now, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let (old, deadline) = (session.deadline, self.deadline_after(now.ticks, session.timeout));
        if deadline != old {
            self.deadlines.remove(&(old, id));
            self.deadlines.insert((deadline, id));
            self.sessions.entry(id).and_modify(|s| s.deadline = deadline);
        }
    }

    fn close(&mut self, now: Now, id: SessionId, out: &mut Effects) {
        let transaction = self.next_transaction(now, id, Action::CloseSession);
        self.detach_session(id);
        let happened = self.end_session(id, transaction.zxid);
        out.log.push(transaction);
        self.tell(happened, out);
        out.ended.push(id);
    }

    /// Forgets the session and deletes its ephemerals, in order of their paths.
    fn end_session(&mut self, id: SessionId, zxid: i64) -> Vec<Happened> {
        if let Some(session) = self.sessions.remove(&id) {
            self.deadlines.remove(&(session.deadline, id));
        }
        let paths: Vec<Arc<str>> = self.tree.ephemerals_of(id).cloned().collect();
        let mut happened = Vec::with_capacity(paths.len());
        for path in paths {
            let change = Change::Delete { path };
            let told = self.happened(&change);
            // An ephemeral has no children, so this cannot be refused.
            if self.tree.apply(&change, zxid, 0).is_ok() {
                happened.extend(told);
            }
        }
        happened
    }

    // ---- requests ----

    /// Answers one request of a session. Events that go to the same session come before its reply.
    pub fn request(&mut self, now: Now, session: SessionId, request: Request, out: &mut Effects) -> Reply {
        if !self.sessions.contains_key(&session) {
            return self.reply(Err(Code::SessionExpired));
        }
        self.touch(now, session);
        let result = match request {
            Request::Write(Write::Check { .. }) | Request::Unknown(_) => Err(Code::Unimplemented),
            Request::Write(write) => self.write(now, session, write, out),
            Request::SetAcl { path, acl, version } => self.set_acl(now, session, &path, acl, version, out),
            Request::Multi(writes) => Ok(self.multi(now, session, writes, out)),
            Request::MultiRead(reads) => {
                let results = reads.into_iter().map(|read| match self.read(session, unwatched(read)) {
                    Ok(response) => OpResult::Done(response),
                    Err(code) => OpResult::Error(code as i32),
                });
                Ok(Response::Multi(results.collect()))
            }
            Request::Read(read) => self.read(session, read),
            Request::Children2 { path, watch } => self.children2(session, &path, watch),
            Request::Exists { path, watch } => self.exists(session, &path, watch),
            Request::GetAcl { path } => self.get_acl(session, &path),
            Request::Sync { path } => Ok(Response::Path(path)),
            Request::SetWatches(watches) => {
                self.set_watches(session, watches, out);
                Ok(Response::Empty)
            }
            Request::AddWatch { path, mode } => self.add_watch(session, &path, mode),
            Request::CheckWatches { path, kind } => self.check_watches(&path, kind),
            Request::RemoveWatches { path, kind } => self.remove_watches(session, &path, kind),
            Request::GetEphemerals { prefix } => {
                let prefix = prefix.filter(|p| !p.trim().is_empty()).unwrap_or_default();
                let paths = self.tree.ephemerals_of(session).filter(|p| p.starts_with(&prefix));
                Ok(Response::Ephemerals(paths.map(ToString::to_string).collect()))
            }
            Request::GetAllChildrenNumber { path } => self
                .readable(session, &path)
                .map(|_| Response::Number(i32::try_from(self.tree.count_below(&path)).unwrap_or(i32::MAX))),
            Request::WhoAmI => Ok(Response::WhoAmI(self.auth(session).iter().map(user_of).collect())),
            Request::Auth { scheme, auth } => return self.authenticate(session, &scheme, &auth),
            Request::Ping => Ok(Response::Empty),
            Request::CloseSession => {
                self.close(now, session, out);
                Ok(Response::Empty)
            }
            Request::Malformed => Err(Code::MarshallingError),
        };
        self.reply(result)
    }

    fn reply(&self, result: Result<Response, Code>) -> Reply {
        Reply { zxid: self.last_zxid, result }
    }

    fn auth(&self, session: SessionId) -> &[Id] {
        self.sessions.get(&session).map_or(&[], |s| &s.auth)
    }

    /// The reply of an authentication carries no zxid.
    fn authenticate(&mut self, session: SessionId, scheme: &str, auth: &[u8]) -> Reply {
        let known = match (scheme, self.sessions.get_mut(&session)) {
            ("digest", Some(session)) => {
                let id = acl::digest_id(auth);
                if !session.auth.contains(&id) {
                    session.auth.push(id);
                }
                true
            }
            // The address is known since the connection was made.
            ("ip", Some(_)) => true,
            _ => false,
        };
        Reply { zxid: 0, result: if known { Ok(Response::Empty) } else { Err(Code::AuthFailed) } }
    }

    // ---- writes ----

    fn next_transaction(&mut self, now: Now, session: SessionId, action: Action) -> Transaction {
        self.last_zxid += 1;
        Transaction { zxid: self.last_zxid, time: now.wall, session, action }
    }

    fn write(&mut self, now: Now, session: SessionId, write: Write, out: &mut Effects) -> Result<Response, Code> {
        let mut transaction = self.next_transaction(now, session, Action::Changes(Vec::new()));
        let mut made = Made::default();
        let result = self.prepare_and_apply(session, write, &transaction, &mut made);
        transaction.action = Action::Changes(made.changes);
        out.log.push(transaction);
        self.tell(made.happened, out);
        result
    }

    fn multi(&mut self, now: Now, session: SessionId, writes: Vec<Write>, out: &mut Effects) -> Response {
        let mut transaction = self.next_transaction(now, session, Action::Changes(Vec::new()));
        let (count, mut made, mut results) = (writes.len(), Made::default(), Vec::with_capacity(writes.len()));
        for write in writes {
            match self.prepare_and_apply(session, write, &transaction, &mut made) {
                Ok(response) => results.push(OpResult::Done(response)),
                Err(code) => {
                    self.take_back(&mut made);
                    let before = results.len();
                    results = vec![OpResult::Error(0); before];
                    results.push(OpResult::Error(code as i32));
                    results.resize(count, OpResult::Error(Code::RuntimeInconsistency as i32));
                    break;
                }
            }
        }
        transaction.action = Action::Changes(made.changes);
        out.log.push(transaction);
        self.tell(made.happened, out);
        Response::Multi(results)
    }

    fn take_back(&mut self, made: &mut Made) {
        for undo in made.undo.drain(..).rev() {
            self.tree.undo(undo).expect("the tree is as the change left it");
        }
        *made = Made::default();
    }

    fn prepare_and_apply(
        &mut self,
        session: SessionId,
        write: Write,
        transaction: &Transaction,
        made: &mut Made,
    ) -> Result<Response, Code> {
        let answer = if let Write::Create(create) = &write { Some(create.answer) } else { None };
        let Some(change) = self.prepare(session, write)? else { return Ok(Response::Checked) };
        // Of a deletion watchers hear by the ACL that the node had.
        let before = matches!(change, Change::Delete { .. }).then(|| self.happened(&change)).flatten();
        let undo = self.tree.apply(&change, transaction.zxid, transaction.time);
        made.undo.push(undo.expect("the change was prepared against this tree"));
        made.happened.extend(before.or_else(|| self.happened(&change)));
        let response = match (&change, answer) {
            (Change::Create { path, .. }, Some(CreateAnswer::PathAndStat)) => {
                Response::Created2 { path: path.to_string(), stat: self.stat(path) }
            }
            (Change::Create { path, .. }, _) => Response::Created { path: path.to_string() },
            (Change::Delete { .. }, _) => Response::Deleted,
            (Change::SetData { path, .. } | Change::SetAcl { path, .. }, _) => Response::Stat(self.stat(path)),
        };
        made.changes.push(change);
        Ok(response)
    }

    fn stat(&self, path: &str) -> Stat {
        self.tree.get(path).map(Node::stat).unwrap_or_default()
    }

    /// Judges one write against the tree as it is. None: a check that passed. The order of the refusals is ZooKeeper's.
    fn prepare(&self, session: SessionId, write: Write) -> Result<Option<Change>, Code> {
        match write {
            Write::Create(create) => self.prepare_create(session, create).map(Some),
            Write::Delete { path, version } => {
                let special = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];
                if !path.contains('/') || path.contains('\0') || special.contains(&path.as_str()) {
                    return Err(Code::BadArguments);
                }
                let parent = self.tree.get(parent_path(&path)).ok_or(Code::NoNode)?;
                self.permitted(&parent.acl, perms::DELETE, session)?;
                let node = self.tree.get(&path).ok_or(Code::NoNode)?;
                check_version(node.version, version)?;
                if !node.children.is_empty() {
                    return Err(Code::NotEmpty);
                }
                Ok(Some(Change::Delete { path: path.into() }))
            }
            Write::SetData { path, data, version } => {
                let node = self.writable(session, &path, perms::WRITE)?;
                check_version(node.version, version)?;
                Ok(Some(Change::SetData { path: path.into(), data }))
            }
            Write::Check { path, version } => {
                let node = self.writable(session, &path, perms::READ)?;
                check_version(node.version, version)?;
                Ok(None)
            }
        }
    }

    fn prepare_create(&self, session: SessionId, create: Create) -> Result<Change, Code> {
        let (ephemeral, sequential) = match create.flags {
            0 => (false, false),
            1 => (true, false),
            2 => (false, true),
            3 => (true, true),
            // Containers, and nodes with a time to live.
            4..=6 => return Err(Code::Unimplemented),
            _ => return Err(Code::BadArguments),
        };
        let mut path = create.path;
        if !path.contains('/') || path.contains('\0') {
            return Err(Code::BadArguments);
        }
        let resolved = acl::resolve(create.acl, self.auth(session)).ok_or(Code::InvalidAcl)?;
        let parent = self.tree.get(parent_path(&path)).ok_or(Code::NoNode)?;
        self.permitted(&parent.acl, perms::CREATE, session)?;
        if sequential {
            path = format!("{path}{:010}", parent.creations);
        }
        validate_path(&path)?;
        if self.tree.get(&path).is_some() {
            return Err(Code::NodeExists);
        }
        if parent.owner != 0 {
            return Err(Code::NoChildrenForEphemerals);
        }
        let owner = if ephemeral { session } else { 0 };
        Ok(Change::Create { path: path.into(), data: create.data, acl: resolved.into(), owner })
    }

    fn set_acl(
        &mut self,
        now: Now,
        session: SessionId,
        path: &str,
        acl: Vec<Acl>,
        version: i32,
        out: &mut Effects,
    ) -> Result<Response, Code> {
        let mut transaction = self.next_transaction(now, session, Action::Changes(Vec::new()));
        let prepared = self.prepare_set_acl(session, path, acl, version);
        if let Ok(change) = &prepared {
            let applied = self.tree.apply(change, transaction.zxid, transaction.time);
            debug_assert!(applied.is_ok(), "prepared against this tree");
            transaction.action = Action::Changes(vec![change.clone()]);
        }
        out.log.push(transaction);
        prepared.map(|_| Response::Stat(self.stat(path)))
    }

    fn prepare_set_acl(&self, session: SessionId, path: &str, acl: Vec<Acl>, version: i32) -> Result<Change, Code> {
        validate_path(path)?;
        let resolved = acl::resolve(acl, self.auth(session)).ok_or(Code::InvalidAcl)?;
        let node = self.writable(session, path, perms::ADMIN)?;
        check_version(node.aversion, version)?;
        Ok(Change::SetAcl { path: path.into(), acl: resolved.into() })
    }

    fn permitted(&self, acl: &[Acl], perms: i32, session: SessionId) -> Result<(), Code> {
        if acl::permits(acl, perms, self.auth(session)) { Ok(()) } else { Err(Code::NoAuth) }
    }

    fn writable(&self, session: SessionId, path: &str, perms: i32) -> Result<&Node, Code> {
        validate_path(path)?;
        let node = self.tree.get(path).ok_or(Code::NoNode)?;
        self.permitted(&node.acl, perms, session)?;
        Ok(node)
    }

    // ---- reads ----

    fn readable(&self, session: SessionId, path: &str) -> Result<&Node, Code> {
        let node = self.tree.get(path).ok_or(Code::NoNode)?;
        self.permitted(&node.acl, perms::READ, session)?;
        Ok(node)
    }

    fn read(&mut self, session: SessionId, read: Read) -> Result<Response, Code> {
        match read {
            Read::Data { path, watch } => {
                let node = self.readable(session, &path)?;
                let response = Response::Data { data: node.data.clone(), stat: node.stat() };
                if watch {
                    self.data_watches.add(&path, session, Mode::Once);
                }
                Ok(response)
            }
            Read::Children { path, watch } => {
                let children = names(self.readable(session, &path)?);
                if watch {
                    self.child_watches.add(&path, session, Mode::Once);
                }
                Ok(Response::Children(children))
            }
        }
    }

    fn children2(&mut self, session: SessionId, path: &str, watch: bool) -> Result<Response, Code> {
        let node = self.readable(session, path)?;
        let response = Response::Children2 { children: names(node), stat: node.stat() };
        if watch {
            self.child_watches.add(path, session, Mode::Once);
        }
        Ok(response)
    }

    /// The only read that can wait for a node that is not there.
    fn exists(&mut self, session: SessionId, path: &str, watch: bool) -> Result<Response, Code> {
        if path.contains('\0') {
            return Err(Code::BadArguments);
        }
        let stat = match self.tree.get(path) {
            Some(node) => {
                self.permitted(&node.acl, perms::READ, session)?;
                Some(node.stat())
            }
            None => None,
        };
        if watch {
            self.data_watches.add(path, session, Mode::Once);
        }
        stat.map(Response::Stat).ok_or(Code::NoNode)
    }

    fn get_acl(&self, session: SessionId, path: &str) -> Result<Response, Code> {
        let node = self.tree.get(path).ok_or(Code::NoNode)?;
        self.permitted(&node.acl, perms::READ | perms::ADMIN, session)?;
        let administers = self.permitted(&node.acl, perms::ADMIN, session).is_ok();
        let acl = if administers { node.acl.to_vec() } else { acl::masked(&node.acl) };
        Ok(Response::Acl { acl, stat: node.stat() })
    }

    // ---- watches ----

    /// Arms the watches of a client that reconnected, or sends at once the events that they missed.
    fn set_watches(&mut self, session: SessionId, watches: SetWatches, out: &mut Effects) {
        let since = watches.relative_zxid;
        let mut tell = |kind, path| out.events.push((session, WatchEvent { kind, path }));
        for path in watches.data {
            match self.tree.get(&path) {
                None => tell(EventKind::NodeDeleted, path),
                Some(node) if node.mzxid > since => tell(EventKind::NodeDataChanged, path),
                Some(_) => self.data_watches.add(&path, session, Mode::Once),
            }
        }
        for path in watches.exist {
            match self.tree.get(&path) {
                Some(_) => tell(EventKind::NodeCreated, path),
                None => self.data_watches.add(&path, session, Mode::Once),
            }
        }
        for path in watches.child {
            match self.tree.get(&path) {
                None => tell(EventKind::NodeDeleted, path),
                Some(node) if node.pzxid > since => tell(EventKind::NodeChildrenChanged, path),
                Some(_) => self.child_watches.add(&path, session, Mode::Once),
            }
        }
        for (paths, mode) in
            [(watches.persistent, Mode::Persistent), (watches.persistent_recursive, Mode::PersistentRecursive)]
        {
            for path in paths {
                self.data_watches.add(&path, session, mode);
                self.child_watches.add(&path, session, mode);
            }
        }
    }

    fn add_watch(&mut self, session: SessionId, path: &str, mode: i32) -> Result<Response, Code> {
        let mode = match mode {
            0 => Mode::Persistent,
            1 => Mode::PersistentRecursive,
            _ => return Err(Code::MarshallingError),
        };
        self.data_watches.add(path, session, mode);
        self.child_watches.add(path, session, mode);
        Ok(Response::WatchAdded)
    }

    fn check_watches(&self, path: &str, kind: i32) -> Result<Response, Code> {
        let watched = match kind {
            WATCHES_CHILD => self.child_watches.covers(path),
            WATCHES_DATA => self.data_watches.covers(path),
            WATCHES_ANY => self.child_watches.covers(path) || self.data_watches.covers(path),
            _ => return Err(Code::MarshallingError),
        };
        if watched { Ok(Response::Empty) } else { Err(Code::NoWatcher) }
    }

    fn remove_watches(&mut self, session: SessionId, path: &str, kind: i32) -> Result<Response, Code> {
        let removed = match kind {
            WATCHES_CHILD => self.child_watches.remove(path, session),
            WATCHES_DATA => self.data_watches.remove(path, session),
            // Both, always.
            WATCHES_ANY => self.child_watches.remove(path, session) | self.data_watches.remove(path, session),
            _ => return Err(Code::MarshallingError),
        };
        if removed { Ok(Response::Empty) } else { Err(Code::NoWatcher) }
    }

    /// What watchers hear of a change to a node that is in the tree now.
    fn happened(&self, change: &Change) -> Option<Happened> {
        let (kind, path) = match change {
            Change::Create { path, .. } => (EventKind::NodeCreated, path),
            Change::Delete { path } => (EventKind::NodeDeleted, path),
            Change::SetData { path, .. } => (EventKind::NodeDataChanged, path),
            Change::SetAcl { .. } => return None,
        };
        let acl = Arc::clone(&self.tree.get(path)?.acl);
        let parent_acl = Arc::clone(&self.tree.get(parent_of(path))?.acl);
        Some(Happened { kind, path: Arc::clone(path), acl, parent_acl })
    }

    fn tell(&mut self, happened: Vec<Happened>, out: &mut Effects) {
        for Happened { kind, path, acl, parent_acl } in happened {
            let mut told = self.data_watches.trigger(&path, kind);
            if kind == EventKind::NodeDeleted {
                // A session that watches both hears of the deletion once.
                told.extend(self.child_watches.trigger(&path, kind));
            }
            self.send(told, &acl, kind, &path, out);
            if kind != EventKind::NodeDataChanged {
                let parent = parent_of(&path);
                let told = self.child_watches.trigger(parent, EventKind::NodeChildrenChanged);
                self.send(told, &parent_acl, EventKind::NodeChildrenChanged, parent, out);
            }
        }
    }

    /// A session that may not read the node gets no event, and its one-shot watch is spent all the same.
    fn send(&self, told: BTreeSet<SessionId>, acl: &[Acl], kind: EventKind, path: &str, out: &mut Effects) {
        let allowed = told.into_iter().filter(|session| acl::permits(acl, perms::READ, self.auth(*session)));
        out.events.extend(allowed.map(|session| (session, WatchEvent { kind, path: path.to_owned() })));
    }

    // ---- restart ----

    /// A model as a snapshot of one left it. Sessions get their full timeout again.
    pub fn restore(
        timing: Timing,
        now: Now,
        last_zxid: i64,
        tree: Tree,
        sessions: impl IntoIterator<Item = (SessionId, i32, Password)>,
    ) -> Self {
        let mut model = Self { tree, last_zxid, ..Self::new(timing, now) };
        for (id, timeout, password) in sessions {
            model.add_session(id, timeout, password, now.ticks);
        }
        model
    }

    /// Applies a transaction of the log to the model that was there before it.
    pub fn replay(&mut self, now: Now, transaction: &Transaction) -> Result<(), Misfit> {
        self.last_zxid = transaction.zxid;
        match &transaction.action {
            Action::Changes(changes) => {
                for change in changes {
                    self.tree.apply(change, transaction.zxid, transaction.time)?;
                }
            }
            Action::OpenSession { timeout, password } => {
                self.add_session(transaction.session, *timeout, *password, now.ticks);
            }
            Action::CloseSession => {
                self.end_session(transaction.session, transaction.zxid);
            }
        }
        Ok(())
    }

    pub fn last_zxid(&self) -> i64 {
        self.last_zxid
    }

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Id, timeout in ms and password of each session.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = (SessionId, i32, &Password)> {
        self.sessions.iter().map(|(id, s)| (*id, s.timeout, &s.password))
    }

    pub fn watch_count(&self) -> usize {
        self.data_watches.len() + self.child_watches.len()
    }
}

/// What one write, or the writes of one multi, did so far.
#[derive(Default)]
struct Made {
    changes: Vec<Change>,
    undo: Vec<Undo>,
    happened: Vec<Happened>,
}

/// `WatcherType`
const WATCHES_CHILD: i32 = 1;
const WATCHES_DATA: i32 = 2;
const WATCHES_ANY: i32 = 3;

fn ip_id(address: &str) -> Id {
    Id { scheme: "ip".to_owned(), id: address.to_owned() }
}

fn user_of(id: &Id) -> (String, String) {
    let user = if id.scheme == "digest" { id.id.split(':').next().unwrap_or_default() } else { &id.id };
    (id.scheme.clone(), user.to_owned())
}

fn unwatched(read: Read) -> Read {
    match read {
        Read::Data { path, .. } => Read::Data { path, watch: false },
        Read::Children { path, .. } => Read::Children { path, watch: false },
    }
}

fn names(node: &Node) -> Vec<String> {
    node.children.iter().map(ToString::to_string).collect()
}

/// What is before the last slash; of "/a" that is the empty path, which names the root.
fn parent_path(path: &str) -> &str {
    path.rfind('/').map_or("", |at| &path[..at])
}

fn check_version(current: i32, expected: i32) -> Result<(), Code> {
    if expected == -1 || expected == current { Ok(()) } else { Err(Code::BadVersion) }
}

/// `PathUtils.validatePath`
fn validate_path(path: &str) -> Result<(), Code> {
    if path == "/" {
        return Ok(());
    }
    let names = path.strip_prefix('/').ok_or(Code::BadArguments)?;
    let refused = |c: char| matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}');
    let valid = |name: &str| !name.is_empty() && name != "." && name != ".." && !name.contains(refused);
    // Java sees a character beyond the first plane as two surrogates, which it refuses.
    let in_first_plane = names.chars().all(|c| c <= '\u{ffff}');
    if in_first_plane && names.split('/').all(valid) { Ok(()) } else { Err(Code::BadArguments) }
}

#[cfg(test)]
mod tests;
