//! One suite of cases that says what a ZooKeeper does, as far as Kafka and its tools can see. It runs against the model by
//! calls, against our server by bytes, and against any other server: `ZURAU_ZK_CONFORMANCE=host:port cargo test
//! zookeeper::conformance`. The real ZooKeeper, 3.8, is right; where ours differs, ours is wrong.
//! Each case works below a root of its own, so a server can be shared. Expiry takes as long as the server's smallest
//! session timeout: give a real one a tickTime of 500.

use self::driver::{Client, InProcess, OverTheWire, Zoo};
use super::server::{Config, Server};
use super::wire::{
    Acl, Code, Create, CreateAnswer, EventKind, OpResult, Read, Request, Response, SetWatches, Stat, WatchEvent, Write,
    perms,
};
use crate::util::task::Group;
use bytes::Bytes;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

pub(in crate::zookeeper) mod driver;

type Case = fn(&mut dyn Zoo, &str);

const CASES: &[(&str, Case)] = &[
    ("null data stays distinct from empty data", null_is_not_empty),
    ("a stat shows every change", stats),
    ("a refused write takes a zxid", refused_writes_take_a_zxid),
    ("create is refused in ZooKeeper's order", create_refusals),
    ("delete is refused in ZooKeeper's order", delete_refusals),
    ("set is refused in ZooKeeper's order", set_refusals),
    ("reads of what is not there", read_refusals),
    ("paths are validated by writes only", paths),
    ("reserved nodes stay", reserved_nodes),
    ("sequence numbers count creations", sequences),
    ("ephemerals go with their session", ephemerals),
    ("a multi answers each operation", multi_success),
    ("a refused multi leaves nothing", multi_failure),
    ("a multi sees what it did before", multi_sees_itself),
    ("a multiRead answers each operation", multi_read),
    ("which change fires which watch", watch_matrix),
    ("a watch fires once", watches_fire_once),
    ("an event comes before the reply of a later read", events_before_replies),
    ("a session hears of a deletion once", deletion_is_told_once),
    ("a multi fires each watch", multi_fires),
    ("persistent watches stay", persistent_watches),
    ("watches can be looked for and removed", removed_watches),
    ("setWatches reports what was missed", set_watches),
    ("ACLs are judged", acl_judged),
    ("ACLs are resolved", acl_resolved),
    ("ACLs deny", acl_denies),
    ("who may not read gets no event", acl_filters_events),
    ("authentication", authentication),
    ("a session survives its connection", reattach),
    ("a closed session is no more", closed_session),
    ("a silent session expires", expiry),
    ("timeouts are negotiated", timeouts),
    ("counting and listing", counting),
    ("unreadable and unknown requests", unreadable),
];

/// Runs every case, also after one failed: what differs from a real ZooKeeper is best seen at once.
fn run(zoo: &mut dyn Zoo) {
    static NONCE: AtomicU32 = AtomicU32::new(0);
    let mut failed = Vec::new();
    for (name, case) in CASES {
        let root = format!("/conformance-{}-{}", std::process::id(), NONCE.fetch_add(1, Ordering::Relaxed));
        let held = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let first = zoo.open(1000);
            assert_eq!(created(zoo, first, create(&root, None)), root);
            case(zoo, &root);
            // Of a long case the first session may not have lived to the end.
            let last = zoo.open(1000);
            remove_all(zoo, last, &root);
            ok(zoo, last, Request::CloseSession);
        }));
        if held.is_err() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "differs: {failed:#?}");
}

#[test]
fn the_model_conforms() {
    run(&mut InProcess::new());
}

/// A server of ours in this process, in memory, that expires sessions soon.
fn server() -> (Runtime, Group, Server) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    let tasks = Group::new(runtime.handle().clone());
    let mut config = Config::new("127.0.0.1:0".parse().expect("address"));
    config.tick_ms = 100;
    config.max_client_cnxns = 0;
    let server = Server::start(config, &tasks).expect("start");
    (runtime, tasks, server)
}

#[test]
fn the_server_conforms() {
    let (runtime, tasks, server) = server();
    run(&mut OverTheWire::new(server.local_addr().to_string()));
    runtime.block_on(tasks.shut_down(Duration::from_secs(10))).expect("all tasks stop");
}

#[test]
fn a_server_elsewhere_conforms() {
    if let Ok(address) = std::env::var("ZURAU_ZK_CONFORMANCE") {
        run(&mut OverTheWire::new(address));
    }
}

// ---- requests ----

fn bytes(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

fn creation(path: &str, data: Option<Bytes>, flags: i32) -> Create {
    Create { path: path.to_owned(), data, acl: vec![Acl::open()], flags, answer: CreateAnswer::Path }
}

fn create(path: &str, data: Option<Bytes>) -> Request {
    Request::Write(Write::Create(creation(path, data, 0)))
}

fn create_as(path: &str, flags: i32) -> Request {
    Request::Write(Write::Create(creation(path, bytes("x"), flags)))
}

fn create_with(path: &str, acl: Vec<Acl>) -> Request {
    Request::Write(Write::Create(Create { acl, ..creation(path, bytes("x"), 0) }))
}

const EPHEMERAL: i32 = 1;
const SEQUENTIAL: i32 = 2;

fn delete(path: &str, version: i32) -> Request {
    Request::Write(Write::Delete { path: path.to_owned(), version })
}

fn set(path: &str, data: &str, version: i32) -> Request {
    Request::Write(set_write(path, data, version))
}

fn set_write(path: &str, data: &str, version: i32) -> Write {
    Write::SetData { path: path.to_owned(), data: bytes(data), version }
}

fn check(path: &str, version: i32) -> Write {
    Write::Check { path: path.to_owned(), version }
}

fn get(path: &str, watch: bool) -> Request {
    Request::Read(Read::Data { path: path.to_owned(), watch })
}

fn list(path: &str, watch: bool) -> Request {
    Request::Children2 { path: path.to_owned(), watch }
}

fn exists(path: &str, watch: bool) -> Request {
    Request::Exists { path: path.to_owned(), watch }
}

fn set_acl(path: &str, acl: Vec<Acl>, version: i32) -> Request {
    Request::SetAcl { path: path.to_owned(), acl, version }
}

fn auth(scheme: &str, auth: &str) -> Request {
    Request::Auth { scheme: scheme.to_owned(), auth: Bytes::copy_from_slice(auth.as_bytes()) }
}

fn event(kind: EventKind, path: &str) -> WatchEvent {
    WatchEvent { kind, path: path.to_owned() }
}

// ---- answers ----

fn ok(zoo: &mut dyn Zoo, client: Client, request: Request) -> Response {
    let shown = format!("{request:?}");
    zoo.call(client, request).result.unwrap_or_else(|code| panic!("{code:?} for {shown}"))
}

#[track_caller]
fn refused(zoo: &mut dyn Zoo, client: Client, request: Request, with: Code) {
    let shown = format!("{request:?}");
    assert_eq!(zoo.call(client, request).result, Err(with), "{shown}");
}

fn stat(zoo: &mut dyn Zoo, client: Client, path: &str) -> Stat {
    match ok(zoo, client, exists(path, false)) {
        Response::Stat(stat) => stat,
        other => panic!("{other:?}"),
    }
}

fn data(zoo: &mut dyn Zoo, client: Client, path: &str) -> Option<Bytes> {
    match ok(zoo, client, get(path, false)) {
        Response::Data { data, .. } => data,
        other => panic!("{other:?}"),
    }
}

fn children(zoo: &mut dyn Zoo, client: Client, path: &str) -> Vec<String> {
    match ok(zoo, client, list(path, false)) {
        Response::Children2 { children, .. } => children,
        other => panic!("{other:?}"),
    }
}

fn created(zoo: &mut dyn Zoo, client: Client, request: Request) -> String {
    match ok(zoo, client, request) {
        Response::Created { path } => path,
        other => panic!("{other:?}"),
    }
}

fn multi(zoo: &mut dyn Zoo, client: Client, writes: Vec<Write>) -> Vec<OpResult> {
    match ok(zoo, client, Request::Multi(writes)) {
        Response::Multi(results) => results,
        other => panic!("{other:?}"),
    }
}

fn remove_all(zoo: &mut dyn Zoo, client: Client, path: &str) {
    for name in children(zoo, client, path) {
        remove_all(zoo, client, &format!("{path}/{name}"));
    }
    ok(zoo, client, delete(path, -1));
}

// ---- cases: data and stats ----

fn null_is_not_empty(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    let (null, empty) = (format!("{root}/null"), format!("{root}/empty"));
    ok(zoo, c, create(&null, None));
    ok(zoo, c, create(&empty, bytes("")));
    assert_eq!((data(zoo, c, &null), data(zoo, c, &empty)), (None, bytes("")));
    assert_eq!((stat(zoo, c, &null).data_length, stat(zoo, c, &empty).data_length), (0, 0));
    let to_null = Write::SetData { path: empty.clone(), data: None, version: -1 };
    ok(zoo, c, Request::Write(to_null));
    assert_eq!(data(zoo, c, &empty), None);
}

fn stats(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    let node = format!("{root}/node");
    let born = zoo.call(c, create(&node, bytes("abc")));
    let first = stat(zoo, c, &node);
    let expected = Stat {
        czxid: born.zxid,
        mzxid: born.zxid,
        pzxid: born.zxid,
        ctime: first.ctime,
        mtime: first.ctime,
        data_length: 3,
        ..Stat::default()
    };
    assert_eq!(first, expected);
    let parent = stat(zoo, c, root);
    assert_eq!((parent.pzxid, parent.cversion, parent.num_children, parent.version), (born.zxid, 1, 1, 0));

    let changed = zoo.call(c, set(&node, "", 0));
    let after_set = Stat { mzxid: changed.zxid, version: 1, data_length: 0, ..first };
    let Ok(Response::Stat(told)) = changed.result else { panic!("{changed:?}") };
    assert_eq!(told, Stat { mtime: told.mtime, ..after_set });
    assert!(told.mtime >= first.mtime);

    ok(zoo, c, create(&format!("{node}/a"), None));
    let last_birth = zoo.call(c, create(&format!("{node}/b"), None));
    let with_children = stat(zoo, c, &node);
    let expected = Stat { pzxid: last_birth.zxid, cversion: 2, num_children: 2, ..told };
    assert_eq!(with_children, expected);
    let death = zoo.call(c, delete(&format!("{node}/a"), -1));
    assert_eq!(stat(zoo, c, &node), Stat { pzxid: death.zxid, cversion: 3, num_children: 1, ..expected });
    // Neither data nor ACL of a child reaches its parent.
    ok(zoo, c, set(&format!("{node}/b"), "y", -1));
    assert_eq!(stat(zoo, c, &node).pzxid, death.zxid);

    let Response::Stat(told) = ok(zoo, c, set_acl(&node, vec![Acl::open()], 0)) else { panic!("no stat") };
    assert_eq!((told.aversion, told.mzxid, told.version), (1, changed.zxid, 1));
    let Response::Children2 { stat: listed, .. } = ok(zoo, c, list(&node, false)) else { panic!("no stat") };
    let Response::Data { stat: read, .. } = ok(zoo, c, get(&node, false)) else { panic!("no stat") };
    assert_eq!((listed, read), (told, told));

    let node2 = format!("{root}/node2");
    let create2 = Create { answer: CreateAnswer::PathAndStat, ..creation(&node2, bytes("12"), 0) };
    let answer = zoo.call(c, Request::Write(Write::Create(create2)));
    let born_stat = stat(zoo, c, &node2);
    assert_eq!(answer.result, Ok(Response::Created2 { path: node2, stat: born_stat }));
}

fn refused_writes_take_a_zxid(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    let before = zoo.call(c, exists(root, false)).zxid;
    let refused = zoo.call(c, delete(&format!("{root}/nothing"), -1));
    assert_eq!(refused.result, Err(Code::NoNode));
    assert!(refused.zxid > before);
    let multi = zoo.call(c, Request::Multi(vec![check(&format!("{root}/nothing"), 0)]));
    assert!(multi.zxid > refused.zxid);
    let later = zoo.call(c, exists(root, false));
    assert_eq!(later.zxid, multi.zxid);
}

// ---- cases: refusals ----

fn create_refusals(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    refused(zoo, c, create_as(root, 9), Code::BadArguments);
    refused(zoo, c, create_as("", 0), Code::BadArguments);
    refused(zoo, c, create_as("relative", 0), Code::BadArguments);
    refused(zoo, c, create_as(&format!("{root}/nu\0l"), 0), Code::BadArguments);
    // The ACL is judged before the parent, the parent before the name, the name before the node.
    refused(zoo, c, create_with(&format!("{root}/no/child"), vec![]), Code::InvalidAcl);
    refused(zoo, c, create_as(&format!("{root}/no/.."), 0), Code::NoNode);
    refused(zoo, c, create_as(&format!("{root}/.."), 0), Code::BadArguments);
    refused(zoo, c, create_as(&format!("{root}/"), 0), Code::BadArguments);
    refused(zoo, c, create_as(root, 0), Code::NodeExists);
    refused(zoo, c, create_as("/", 0), Code::NodeExists);
    let parent = created(zoo, c, create_as(&format!("{root}/e"), EPHEMERAL));
    refused(zoo, c, create_as(&format!("{parent}/child"), 0), Code::NoChildrenForEphemerals);
    refused(zoo, c, create_as(&format!("{parent}/.."), 0), Code::BadArguments);
}

fn delete_refusals(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    refused(zoo, c, delete("relative", -1), Code::BadArguments);
    refused(zoo, c, delete("/", -1), Code::BadArguments);
    refused(zoo, c, delete(&format!("{root}/no/child"), -1), Code::NoNode);
    refused(zoo, c, delete(&format!("{root}/no"), -1), Code::NoNode);
    ok(zoo, c, create_as(&format!("{root}/a"), 0));
    ok(zoo, c, create_as(&format!("{root}/a/b"), 0));
    // The version is judged before the children.
    refused(zoo, c, delete(&format!("{root}/a"), 7), Code::BadVersion);
    refused(zoo, c, delete(&format!("{root}/a"), 0), Code::NotEmpty);
    refused(zoo, c, delete(&format!("{root}/a"), -1), Code::NotEmpty);
    ok(zoo, c, delete(&format!("{root}/a/b"), 0));
    ok(zoo, c, delete(&format!("{root}/a"), -1));
    refused(zoo, c, delete(&format!("{root}/a"), -1), Code::NoNode);
}

fn set_refusals(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    refused(zoo, c, set("relative", "", -1), Code::BadArguments);
    refused(zoo, c, set(&format!("{root}/"), "", -1), Code::BadArguments);
    refused(zoo, c, set(&format!("{root}/no"), "", -1), Code::NoNode);
    refused(zoo, c, set(root, "", 1), Code::BadVersion);
    refused(zoo, c, set(root, "", -2), Code::BadVersion);
    ok(zoo, c, set(root, "", 0));
    ok(zoo, c, set(root, "", -1));
    refused(zoo, c, set(root, "", 0), Code::BadVersion);
    assert_eq!(stat(zoo, c, root).version, 2);
    refused(zoo, c, set_acl(&format!("{root}/no"), vec![], -1), Code::InvalidAcl);
    refused(zoo, c, set_acl(&format!("{root}/no"), vec![Acl::open()], -1), Code::NoNode);
    refused(zoo, c, set_acl(root, vec![Acl::open()], 3), Code::BadVersion);
}

fn read_refusals(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    let no = format!("{root}/no");
    for request in [get(&no, true), list(&no, true), exists(&no, false), Request::GetAcl { path: no.clone() }] {
        refused(zoo, c, request, Code::NoNode);
    }
    refused(zoo, c, Request::GetAllChildrenNumber { path: no.clone() }, Code::NoNode);
    // Of these only exists arms a watch, and the one above did not ask.
    ok(zoo, c, create(&no, None));
    ok(zoo, c, delete(&no, -1));
    assert_eq!(zoo.take_events(c), []);
}

fn paths(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    for name in ["a b", "...", "..a", "\u{4e2d}\u{6587}", "a%", "\u{fff}"] {
        ok(zoo, c, create_as(&format!("{root}/{name}"), 0));
    }
    for name in [".", "..", "a\u{1}", "\u{7f}", "\u{9f}", "\u{e000}", "\u{f8ff}", "\u{fff0}", "\u{1f600}"] {
        refused(zoo, c, create_as(&format!("{root}/{name}"), 0), Code::BadArguments);
    }
    for path in ["relative", "//", &format!("{root}/../x"), &format!("{root}//")] {
        refused(zoo, c, get(path, false), Code::NoNode);
        refused(zoo, c, exists(path, false), Code::NoNode);
        refused(zoo, c, set(path, "", -1), Code::BadArguments);
    }
    refused(zoo, c, exists("/nu\0l", false), Code::BadArguments);
    // The empty path is the root of the table.
    assert_eq!(stat(zoo, c, ""), stat(zoo, c, "/"));
}

fn reserved_nodes(zoo: &mut dyn Zoo, _root: &str) {
    let c = zoo.open(1000);
    assert_eq!(children(zoo, c, "/zookeeper"), ["config", "quota"]);
    assert!(children(zoo, c, "/").contains(&"zookeeper".to_owned()));
    for path in ["/zookeeper", "/zookeeper/config", "/zookeeper/quota"] {
        refused(zoo, c, delete(path, -1), Code::BadArguments);
    }
    let Response::Acl { acl, stat } = ok(zoo, c, Request::GetAcl { path: "/zookeeper/config".to_owned() }) else {
        panic!("no acl")
    };
    assert_eq!((acl, stat.aversion, stat.czxid), (vec![Acl::new(perms::READ, "world", "anyone")], -1, 0));
    refused(zoo, c, set("/zookeeper/config", "x", -1), Code::NoAuth);
    assert_eq!(self::stat(zoo, c, "/zookeeper").cversion, -2);
}

// ---- cases: sequences and ephemerals ----

fn sequences(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    let dir = format!("{root}/dir");
    ok(zoo, c, create(&dir, None));
    let next = |zoo: &mut dyn Zoo| created(zoo, c, create_as(&format!("{dir}/n-"), SEQUENTIAL));
    assert_eq!(next(zoo), format!("{dir}/n-0000000000"));
    assert_eq!(next(zoo), format!("{dir}/n-0000000001"));
    // Neither a deletion nor a change of data counts; any creation does.
    ok(zoo, c, delete(&format!("{dir}/n-0000000001"), -1));
    ok(zoo, c, set(&dir, "x", -1));
    assert_eq!(next(zoo), format!("{dir}/n-0000000002"));
    ok(zoo, c, create_as(&format!("{dir}/plain"), 0));
    assert_eq!(next(zoo), format!("{dir}/n-0000000004"));
    refused(zoo, c, create_as(&format!("{dir}/plain"), 0), Code::NodeExists);
    let ephemeral = create_as(&format!("{dir}/e-"), EPHEMERAL | SEQUENTIAL);
    assert_eq!(created(zoo, c, ephemeral), format!("{dir}/e-0000000005"));
    assert_eq!(created(zoo, c, create_as(&format!("{dir}/"), SEQUENTIAL)), format!("{dir}/0000000006"));
    ok(zoo, c, create_as(&format!("{dir}/n-0000000008"), 0));
    refused(zoo, c, create_as(&format!("{dir}/n-"), SEQUENTIAL), Code::NodeExists);

    let both = multi(
        zoo,
        c,
        vec![
            Write::Create(creation(&format!("{dir}/m-"), None, SEQUENTIAL)),
            Write::Create(creation(&format!("{dir}/m-"), None, SEQUENTIAL)),
        ],
    );
    let expected = ["m-0000000008", "m-0000000009"];
    let expected = expected.map(|name| OpResult::Done(Response::Created { path: format!("{dir}/{name}") }));
    assert_eq!(both, expected);
    // What a refused multi created does not count.
    multi(zoo, c, vec![Write::Create(creation(&format!("{dir}/m-"), None, SEQUENTIAL)), check(&dir, 77)]);
    assert_eq!(created(zoo, c, create_as(&format!("{dir}/m-"), SEQUENTIAL)), format!("{dir}/m-0000000010"));

    remove_all(zoo, c, &dir);
    ok(zoo, c, create(&dir, None));
    assert_eq!(next(zoo), format!("{dir}/n-0000000000"));
}

fn ephemerals(zoo: &mut dyn Zoo, root: &str) {
    let (owner, other) = (zoo.open(1000), zoo.open(1000));
    let node = created(zoo, owner, create_as(&format!("{root}/e"), EPHEMERAL));
    assert_eq!(stat(zoo, other, &node).ephemeral_owner, zoo.session(owner));
    let listed = |zoo: &mut dyn Zoo, client, prefix: Option<&str>| {
        ok(zoo, client, Request::GetEphemerals { prefix: prefix.map(str::to_owned) })
    };
    for prefix in [None, Some(""), Some(root)] {
        assert_eq!(listed(zoo, owner, prefix), Response::Ephemerals(vec![node.clone()]));
    }
    assert_eq!(listed(zoo, owner, Some("/elsewhere")), Response::Ephemerals(vec![]));
    assert_eq!(listed(zoo, other, None), Response::Ephemerals(vec![]));
    let before = stat(zoo, other, root);
    refused(zoo, other, exists(&format!("{root}/f"), true), Code::NoNode);
    ok(zoo, other, get(&node, true));
    ok(zoo, other, list(root, true));
    ok(zoo, owner, Request::CloseSession);
    let told = [zoo.wait_for_event(other), zoo.wait_for_event(other)];
    assert_eq!(told, [event(EventKind::NodeDeleted, &node), event(EventKind::NodeChildrenChanged, root)]);
    refused(zoo, other, exists(&node, false), Code::NoNode);
    let after = stat(zoo, other, root);
    assert_eq!((after.cversion, after.num_children), (before.cversion + 1, 0));
    assert!(after.pzxid > before.pzxid);
    // An ephemeral can be deleted by anyone, and does not come back to its owner's list.
    let owner = zoo.open(1000);
    ok(zoo, owner, create_as(&node, EPHEMERAL));
    ok(zoo, other, delete(&node, -1));
    assert_eq!(listed(zoo, owner, None), Response::Ephemerals(vec![]));
}

// ---- cases: multi ----

fn multi_success(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    assert_eq!(multi(zoo, c, vec![]), []);
    let (a, b) = (format!("{root}/a"), format!("{root}/b"));
    let create2 = Create { answer: CreateAnswer::PathAndStat, ..creation(&b, bytes("b"), 0) };
    let request = Request::Multi(vec![
        check(root, 0),
        Write::Create(creation(&a, bytes("a"), 0)),
        Write::Create(create2),
        set_write(&a, "aa", 0),
        Write::Delete { path: b.clone(), version: 0 },
    ]);
    let reply = zoo.call(c, request);
    let Ok(Response::Multi(results)) = reply.result else { panic!("{reply:?}") };
    let now = stat(zoo, c, &a);
    let born = Stat { version: 0, data_length: 1, ..now };
    let expected = [
        OpResult::Done(Response::Checked),
        OpResult::Done(Response::Created { path: a.clone() }),
        OpResult::Done(Response::Created2 { path: b, stat: born }),
        OpResult::Done(Response::Stat(now)),
        OpResult::Done(Response::Deleted),
    ];
    assert_eq!(results, expected);
    // All of it is one transaction.
    assert_eq!((now.czxid, now.mzxid, stat(zoo, c, root).pzxid), (reply.zxid, reply.zxid, reply.zxid));
    assert_eq!((now.version, stat(zoo, c, root).cversion), (1, 3));
}

fn multi_failure(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    let (a, b) = (format!("{root}/a"), format!("{root}/b"));
    ok(zoo, c, create_as(&b, 0));
    let before = (stat(zoo, c, root), stat(zoo, c, &b));
    let errors = |codes: &[i32]| codes.iter().map(|code| OpResult::Error(*code)).collect::<Vec<_>>();
    let new = |path: &str| Write::Create(creation(path, None, 0));
    let gone = |path: &str| Write::Delete { path: path.to_owned(), version: -1 };

    assert_eq!(multi(zoo, c, vec![check(root, 5), new(&a)]), errors(&[-103, -2]));
    assert_eq!(multi(zoo, c, vec![check(root, 0), set_write(&a, "", -1)]), errors(&[0, -101]));
    assert_eq!(multi(zoo, c, vec![new(&b), set_write(root, "", 0)]), errors(&[-110, -2]));
    let all = vec![new(&a), set_write(&b, "changed", 0), gone(&b), check(root, 9), new(&a), gone("relative")];
    assert_eq!(multi(zoo, c, all), errors(&[0, 0, 0, -103, -2, -2]));
    assert_eq!(multi(zoo, c, vec![new(&a), gone(root)]), errors(&[0, -111]));
    assert_eq!(multi(zoo, c, vec![new(&a), gone("/")]), errors(&[0, -8]));
    assert_eq!(multi(zoo, c, vec![new(&a), check(&format!("{root}/"), 0)]), errors(&[0, -8]));

    assert_eq!((stat(zoo, c, root), stat(zoo, c, &b)), before);
    assert_eq!(data(zoo, c, &b), bytes("x"));
    refused(zoo, c, exists(&a, false), Code::NoNode);
}

fn multi_sees_itself(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    let (a, child) = (format!("{root}/a"), format!("{root}/a/child"));
    let new = |path: &str, flags| Write::Create(creation(path, bytes("1"), flags));
    let gone = |path: &str| Write::Delete { path: path.to_owned(), version: -1 };
    let done = |results: &[OpResult]| results.iter().all(|r| matches!(r, OpResult::Done(_)));
    let results = multi(
        zoo,
        c,
        vec![
            new(&a, 0),
            check(&a, 0),
            set_write(&a, "2", 0),
            check(&a, 1),
            new(&child, 0),
            gone(&child),
            gone(&a),
            new(&a, EPHEMERAL),
        ],
    );
    assert!(done(&results), "{results:?}");
    assert_eq!(stat(zoo, c, &a).ephemeral_owner, zoo.session(c));
    let refused = multi(zoo, c, vec![gone(&a), new(&a, EPHEMERAL), new(&child, 0)]);
    assert_eq!(refused, [OpResult::Error(0), OpResult::Error(0), OpResult::Error(-108)]);
    let Response::Ephemerals(mine) = ok(zoo, c, Request::GetEphemerals { prefix: None }) else { panic!("no list") };
    assert_eq!(mine, [a]);
}

fn multi_read(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    let (a, no) = (format!("{root}/a"), format!("{root}/no"));
    ok(zoo, c, create(&a, bytes("1")));
    let read = |path: &str| Read::Data { path: path.to_owned(), watch: false };
    let names = |path: &str| Read::Children { path: path.to_owned(), watch: false };
    let request = Request::MultiRead(vec![read(&a), read(&no), names(root), names(&no)]);
    let a_stat = stat(zoo, c, &a);
    let expected = vec![
        OpResult::Done(Response::Data { data: bytes("1"), stat: a_stat }),
        OpResult::Error(-101),
        OpResult::Done(Response::Children(vec!["a".to_owned()])),
        OpResult::Error(-101),
    ];
    assert_eq!(ok(zoo, c, request), Response::Multi(expected));
}

// ---- cases: watches ----

/// What a session hears that watches a node's existence, data or children.
fn watch_matrix(zoo: &mut dyn Zoo, root: &str) {
    use EventKind::*;
    type Watch = fn(&str, bool) -> Request;
    let (c, actor) = (zoo.open(1000), zoo.open(1000));
    let node = format!("{root}/node");
    let child = format!("{root}/node/child");
    // Whether the node and its child are there before, the change, and what each watch of the node reports.
    type Row<'a> = (bool, bool, Request, &'a [EventKind], &'a [EventKind], &'a [EventKind]);
    let rows: [Row<'_>; 9] = [
        (false, false, create(&node, None), &[NodeCreated], &[], &[]),
        (true, false, set(&node, "", -1), &[NodeDataChanged], &[NodeDataChanged], &[]),
        (true, false, set_acl(&node, vec![Acl::open()], -1), &[], &[], &[]),
        (true, false, delete(&node, -1), &[NodeDeleted], &[NodeDeleted], &[NodeDeleted]),
        (true, false, create(&child, None), &[], &[], &[NodeChildrenChanged]),
        (true, true, delete(&child, -1), &[], &[], &[NodeChildrenChanged]),
        (true, true, set(&child, "", -1), &[], &[], &[]),
        (true, true, delete(&node, -1), &[], &[], &[]),
        (true, false, create(&node, None), &[], &[], &[]),
    ];
    for (with_node, with_child, change, by_exists, by_data, by_children) in rows {
        let watches: [(Watch, &[EventKind]); 3] = [(exists, by_exists), (get, by_data), (list, by_children)];
        for (watch, expected) in watches {
            if with_node {
                ok(zoo, actor, create(&node, None));
            }
            if with_child {
                ok(zoo, actor, create(&child, None));
            }
            let armed = zoo.call(c, watch(&node, true)).result;
            assert_eq!(armed.is_ok(), with_node);
            let _may_be_refused = zoo.call(actor, change.clone());
            ok(zoo, c, Request::Sync { path: root.to_owned() });
            let expected: Vec<_> = expected.iter().map(|kind| event(*kind, &node)).collect();
            assert_eq!(zoo.take_events(c), expected, "{change:?}");
            for path in [&child, &node] {
                let _may_be_gone = zoo.call(actor, delete(path, -1));
            }
            // Whatever watch is left is spent now.
            ok(zoo, c, Request::Sync { path: root.to_owned() });
            for kind in [1, 2] {
                let _may_be_none = zoo.call(c, Request::RemoveWatches { path: node.clone(), kind });
            }
            zoo.take_events(c);
        }
    }
}

fn watches_fire_once(zoo: &mut dyn Zoo, root: &str) {
    let (c, actor) = (zoo.open(1000), zoo.open(1000));
    // Asked for three times by two kinds of read, it is one watch.
    ok(zoo, c, get(root, true));
    ok(zoo, c, get(root, true));
    ok(zoo, c, exists(root, true));
    ok(zoo, actor, set(root, "1", -1));
    ok(zoo, actor, set(root, "2", -1));
    ok(zoo, c, Request::Sync { path: root.to_owned() });
    assert_eq!(zoo.take_events(c), [event(EventKind::NodeDataChanged, root)]);
    // A session hears of its own changes, too.
    ok(zoo, c, get(root, true));
    ok(zoo, c, set(root, "3", -1));
    assert_eq!(zoo.take_events(c), [event(EventKind::NodeDataChanged, root)]);
    // A refused change fires nothing.
    ok(zoo, c, get(root, true));
    refused(zoo, c, set(root, "4", 77), Code::BadVersion);
    assert_eq!(zoo.take_events(c), []);
}

fn events_before_replies(zoo: &mut dyn Zoo, root: &str) {
    let (c, actor) = (zoo.open(1000), zoo.open(1000));
    ok(zoo, c, get(root, true));
    ok(zoo, actor, set(root, "new", -1));
    // By the time that the new data is read, the event is there.
    assert_eq!(data(zoo, c, root), bytes("new"));
    assert_eq!(zoo.take_events(c), [event(EventKind::NodeDataChanged, root)]);
}

fn deletion_is_told_once(zoo: &mut dyn Zoo, root: &str) {
    let (c, actor) = (zoo.open(1000), zoo.open(1000));
    let node = format!("{root}/node");
    ok(zoo, actor, create(&node, None));
    ok(zoo, c, get(&node, true));
    ok(zoo, c, list(&node, true));
    ok(zoo, c, list(root, true));
    ok(zoo, actor, delete(&node, -1));
    ok(zoo, c, Request::Sync { path: root.to_owned() });
    let expected = [event(EventKind::NodeDeleted, &node), event(EventKind::NodeChildrenChanged, root)];
    assert_eq!(zoo.take_events(c), expected);
}

fn multi_fires(zoo: &mut dyn Zoo, root: &str) {
    let (c, actor) = (zoo.open(1000), zoo.open(1000));
    let (a, b) = (format!("{root}/a"), format!("{root}/b"));
    ok(zoo, c, get(root, true));
    refused(zoo, c, exists(&a, true), Code::NoNode);
    refused(zoo, c, exists(&b, true), Code::NoNode);
    let new = |path: &str| Write::Create(creation(path, None, 0));
    multi(zoo, actor, vec![new(&a), new(&b), check(root, 7)]);
    ok(zoo, c, Request::Sync { path: root.to_owned() });
    assert_eq!(zoo.take_events(c), []);
    multi(zoo, actor, vec![new(&b), new(&a), set_write(root, "", -1), set_write(&a, "", -1)]);
    ok(zoo, c, Request::Sync { path: root.to_owned() });
    use EventKind::*;
    assert_eq!(zoo.take_events(c), [event(NodeCreated, &b), event(NodeCreated, &a), event(NodeDataChanged, root)]);
}

fn persistent_watches(zoo: &mut dyn Zoo, root: &str) {
    use EventKind::*;
    let (plain, recursive, actor) = (zoo.open(1000), zoo.open(1000), zoo.open(1000));
    let watch = |path: &str, mode| Request::AddWatch { path: path.to_owned(), mode };
    assert_eq!(ok(zoo, plain, watch(root, 0)), Response::WatchAdded);
    assert_eq!(ok(zoo, recursive, watch(root, 1)), Response::WatchAdded);
    refused(zoo, plain, watch(root, 7), Code::MarshallingError);
    let (a, b) = (format!("{root}/a"), format!("{root}/a/b"));
    for change in [
        create(&a, None),
        create(&b, None),
        set(&b, "", -1),
        set(root, "1", -1),
        set(root, "2", -1),
        delete(&b, -1),
        delete(&a, -1),
    ] {
        ok(zoo, actor, change);
    }
    ok(zoo, plain, Request::Sync { path: root.to_owned() });
    ok(zoo, recursive, Request::Sync { path: root.to_owned() });
    let heard = [NodeChildrenChanged, NodeDataChanged, NodeDataChanged, NodeChildrenChanged];
    assert_eq!(zoo.take_events(plain), heard.map(|kind| event(kind, root)));
    let expected = [
        event(NodeCreated, &a),
        event(NodeCreated, &b),
        event(NodeDataChanged, &b),
        event(NodeDataChanged, root),
        event(NodeDataChanged, root),
        event(NodeDeleted, &b),
        event(NodeDeleted, &a),
    ];
    assert_eq!(zoo.take_events(recursive), expected);
}

fn removed_watches(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    let path = root.to_owned();
    let find = |kind| Request::CheckWatches { path: path.clone(), kind };
    let remove = |kind| Request::RemoveWatches { path: path.clone(), kind };
    for kind in 1..=3 {
        refused(zoo, c, find(kind), Code::NoWatcher);
        refused(zoo, c, remove(kind), Code::NoWatcher);
    }
    refused(zoo, c, find(0), Code::MarshallingError);
    ok(zoo, c, get(root, true));
    ok(zoo, c, find(2));
    ok(zoo, c, find(3));
    refused(zoo, c, find(1), Code::NoWatcher);
    refused(zoo, c, remove(1), Code::NoWatcher);
    ok(zoo, c, remove(2));
    ok(zoo, c, list(root, true));
    ok(zoo, c, get(root, true));
    ok(zoo, c, remove(3));
    refused(zoo, c, remove(3), Code::NoWatcher);
    ok(zoo, c, set(root, "", -1));
    assert_eq!(zoo.take_events(c), []);
}

fn set_watches(zoo: &mut dyn Zoo, root: &str) {
    use EventKind::*;
    let (c, actor) = (zoo.open(1000), zoo.open(1000));
    let path = |name: &str| format!("{root}/{name}");
    for name in ["still", "changed", "deleted", "parent"] {
        ok(zoo, actor, create(&path(name), None));
    }
    let seen = zoo.call(c, exists(root, false)).zxid;
    ok(zoo, actor, set(&path("changed"), "", -1));
    ok(zoo, actor, delete(&path("deleted"), -1));
    ok(zoo, actor, create(&path("parent/child"), None));
    ok(zoo, actor, create(&path("born"), None));
    let watches = SetWatches {
        relative_zxid: seen,
        data: ["still", "changed", "deleted"].map(path).to_vec(),
        exist: ["born", "unborn"].map(path).to_vec(),
        child: ["still", "parent", "deleted"].map(path).to_vec(),
        persistent: vec![],
        persistent_recursive: vec![path("still")],
    };
    assert_eq!(ok(zoo, c, Request::SetWatches(watches)), Response::Empty);
    let expected = [
        event(NodeDataChanged, &path("changed")),
        event(NodeDeleted, &path("deleted")),
        event(NodeCreated, &path("born")),
        event(NodeChildrenChanged, &path("parent")),
        event(NodeDeleted, &path("deleted")),
    ];
    assert_eq!(zoo.take_events(c), expected);
    ok(zoo, actor, create(&path("unborn"), None));
    ok(zoo, actor, create(&path("still/child"), None));
    ok(zoo, c, Request::Sync { path: root.to_owned() });
    assert_eq!(zoo.take_events(c), [event(NodeCreated, &path("unborn")), event(NodeCreated, &path("still/child"))]);
}

// ---- cases: ACLs ----

fn acl_judged(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    let path = format!("{root}/x");
    let bad = [
        Acl::new(perms::ALL, "world", "someone"),
        Acl::new(perms::ALL, "nonsense", "x"),
        Acl::new(perms::ALL, "", ""),
        Acl::new(perms::ALL, "digest", "no-colon"),
        Acl::new(perms::ALL, "digest", "a:b:c"),
        Acl::new(perms::ALL, "ip", "1.2.3"),
        Acl::new(perms::ALL, "ip", "1.2.3.4/33"),
        Acl::new(perms::ALL, "sasl", "x"),
        Acl::new(perms::ALL, "auth", ""),
    ];
    for acl in bad {
        refused(zoo, c, create_with(&path, vec![Acl::open(), acl]), Code::InvalidAcl);
    }
    refused(zoo, c, create_with(&path, vec![]), Code::InvalidAcl);
    let good = vec![
        Acl::new(perms::READ, "world", "anyone"),
        Acl::new(perms::ALL, "ip", "127.0.0.0/8"),
        Acl::new(perms::READ, "world", "anyone"),
        Acl::new(perms::WRITE, "digest", "user:hash"),
    ];
    ok(zoo, c, create_with(&path, good.clone()));
    let Response::Acl { acl, .. } = ok(zoo, c, Request::GetAcl { path }) else { panic!("no acl") };
    // Duplicates are dropped, order is kept.
    assert_eq!(acl, [good[0].clone(), good[1].clone(), good[3].clone()]);
}

/// The identity of `user:password`.
const USER: (&str, &str) = ("u:p", "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=");

fn acl_resolved(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    let path = format!("{root}/x");
    ok(zoo, c, auth("digest", USER.0));
    ok(
        zoo,
        c,
        create_with(&path, vec![Acl::new(perms::ALL, "auth", "ignored"), Acl::new(perms::READ, "world", "anyone")]),
    );
    let acl_of = |zoo: &mut dyn Zoo, c| match ok(zoo, c, Request::GetAcl { path: path.clone() }) {
        Response::Acl { acl, .. } => acl,
        other => panic!("{other:?}"),
    };
    let world = Acl::new(perms::READ, "world", "anyone");
    assert_eq!(acl_of(zoo, c), [Acl::new(perms::ALL, "digest", USER.1), world.clone()]);
    // Who may read but not administer sees no hash.
    let other = zoo.open(1000);
    assert_eq!(acl_of(zoo, other), [Acl::new(perms::ALL, "digest", "u:x"), world]);
}

fn acl_denies(zoo: &mut dyn Zoo, root: &str) {
    let (owner, other) = (zoo.open(1000), zoo.open(1000));
    ok(zoo, owner, auth("digest", USER.0));
    let path = format!("{root}/mine");
    let child = format!("{path}/child");
    ok(zoo, owner, create_with(&path, vec![Acl::new(perms::ALL, "auth", "")]));
    for request in [
        get(&path, false),
        list(&path, false),
        exists(&path, false),
        set(&path, "", -1),
        set(&path, "", 77),
        create(&child, None),
        set_acl(&path, vec![Acl::open()], -1),
        Request::GetAcl { path: path.clone() },
        Request::GetAllChildrenNumber { path: path.clone() },
    ] {
        refused(zoo, other, request, Code::NoAuth);
    }
    refused(zoo, other, delete(&child, -1), Code::NoAuth);
    refused(zoo, other, get(&child, false), Code::NoNode);
    assert_eq!(multi(zoo, other, vec![check(&path, 0)]), [OpResult::Error(-102)]);
    let read = Read::Data { path: path.clone(), watch: false };
    assert_eq!(ok(zoo, other, Request::MultiRead(vec![read])), Response::Multi(vec![OpResult::Error(-102)]));
    ok(zoo, owner, create(&child, None));
    // The child is open, and its parent's ACL does not reach it.
    ok(zoo, other, set(&child, "", -1));
    refused(zoo, other, delete(&child, -1), Code::NoAuth);
    ok(zoo, other, auth("digest", USER.0));
    ok(zoo, other, delete(&child, -1));
    // Deleting takes a right on the parent only.
    let stranger = zoo.open(1000);
    ok(zoo, stranger, delete(&path, -1));
}

fn acl_filters_events(zoo: &mut dyn Zoo, root: &str) {
    let (owner, other) = (zoo.open(1000), zoo.open(1000));
    ok(zoo, owner, auth("digest", USER.0));
    let path = format!("{root}/secret");
    refused(zoo, other, exists(&path, true), Code::NoNode);
    ok(zoo, owner, create_with(&path, vec![Acl::new(perms::ALL, "auth", "")]));
    ok(zoo, other, Request::Sync { path: root.to_owned() });
    assert_eq!(zoo.take_events(other), []);
    // The watch is spent.
    ok(zoo, owner, set_acl(&path, vec![Acl::open()], -1));
    ok(zoo, owner, set(&path, "", -1));
    ok(zoo, other, Request::Sync { path: root.to_owned() });
    assert_eq!(zoo.take_events(other), []);
    // Of children hears who may read their parent.
    ok(zoo, other, list(&path, true));
    ok(zoo, owner, set_acl(&path, vec![Acl::new(perms::ALL, "auth", "")], -1));
    ok(zoo, owner, create(&format!("{path}/child"), None));
    ok(zoo, other, Request::Sync { path: root.to_owned() });
    assert_eq!(zoo.take_events(other), []);
    ok(zoo, owner, delete(&format!("{path}/child"), -1));
    ok(zoo, owner, delete(&path, -1));
}

fn authentication(zoo: &mut dyn Zoo, _root: &str) {
    let c = zoo.open(1000);
    let who = |zoo: &mut dyn Zoo| match ok(zoo, c, Request::WhoAmI) {
        Response::WhoAmI(mut ids) => {
            ids.sort_unstable();
            ids
        }
        other => panic!("{other:?}"),
    };
    let ip = ("ip".to_owned(), "127.0.0.1".to_owned());
    assert_eq!(who(zoo), vec![ip.clone()]);
    let reply = zoo.call(c, auth("digest", USER.0));
    assert_eq!((reply.zxid, reply.result), (0, Ok(Response::Empty)));
    ok(zoo, c, auth("digest", USER.0));
    ok(zoo, c, auth("digest", "v:q"));
    ok(zoo, c, auth("ip", ""));
    let digest = |user: &str| ("digest".to_owned(), user.to_owned());
    assert_eq!(who(zoo), [digest("u"), digest("v"), ip]);
    let reply = zoo.call(c, auth("nonsense", "x"));
    assert_eq!((reply.zxid, reply.result), (0, Err(Code::AuthFailed)));
}

// ---- cases: sessions ----

fn reattach(zoo: &mut dyn Zoo, root: &str) {
    let (c, actor) = (zoo.open(4000), zoo.open(1000));
    let node = created(zoo, c, create_as(&format!("{root}/e"), EPHEMERAL));
    ok(zoo, c, get(root, true));
    ok(zoo, c, auth("digest", USER.0));
    zoo.disconnect(c);
    assert!(zoo.reconnect(c, true));
    assert_eq!(stat(zoo, c, &node).ephemeral_owner, zoo.session(c));
    // Watches and identities belong to the connection.
    ok(zoo, actor, set(root, "", -1));
    ok(zoo, c, Request::Sync { path: root.to_owned() });
    assert_eq!(zoo.take_events(c), []);
    assert_eq!(ok(zoo, c, Request::WhoAmI), Response::WhoAmI(vec![("ip".to_owned(), "127.0.0.1".to_owned())]));
    // A wrong password is answered like a session that is no more, and does the session no harm.
    zoo.disconnect(c);
    assert!(!zoo.reconnect(c, false));
    assert!(zoo.reconnect(c, true));
    ok(zoo, c, delete(&node, -1));
}

fn closed_session(zoo: &mut dyn Zoo, _root: &str) {
    let c = zoo.open(1000);
    ok(zoo, c, Request::CloseSession);
    assert!(!zoo.reconnect(c, true));
}

fn expiry(zoo: &mut dyn Zoo, root: &str) {
    let (c, watcher) = (zoo.open(1), zoo.open(4000));
    let node = created(zoo, c, create_as(&format!("{root}/e"), EPHEMERAL));
    ok(zoo, watcher, exists(&node, true));
    ok(zoo, watcher, list(root, true));
    zoo.disconnect(c);
    let told = [zoo.wait_for_event(watcher), zoo.wait_for_event(watcher)];
    assert_eq!(told, [event(EventKind::NodeDeleted, &node), event(EventKind::NodeChildrenChanged, root)]);
    refused(zoo, watcher, exists(&node, false), Code::NoNode);
    assert!(!zoo.reconnect(c, true));
}

fn timeouts(zoo: &mut dyn Zoo, _root: &str) {
    let (least, most) = (zoo.open(0), zoo.open(i32::MAX));
    let (least, most) = (zoo.timeout(least), zoo.timeout(most));
    assert_eq!(most, 10 * least, "2 and 20 ticks");
    let c = zoo.open(least + 1);
    assert_eq!(zoo.timeout(c), least + 1);
}

fn counting(zoo: &mut dyn Zoo, root: &str) {
    let c = zoo.open(1000);
    for name in ["a", "a/b", "a/c", "a/c/d", "ab"] {
        ok(zoo, c, create(&format!("{root}/{name}"), None));
    }
    let count = |path: String| Request::GetAllChildrenNumber { path };
    assert_eq!(ok(zoo, c, count(root.to_owned())), Response::Number(5));
    assert_eq!(ok(zoo, c, count(format!("{root}/a"))), Response::Number(3));
    assert_eq!(ok(zoo, c, count(format!("{root}/ab"))), Response::Number(0));
    assert_eq!(children(zoo, c, root), ["a", "ab"]);
    let names = Request::Read(Read::Children { path: format!("{root}/a"), watch: false });
    assert_eq!(ok(zoo, c, names), Response::Children(vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!(ok(zoo, c, Request::Sync { path: "anything".to_owned() }), Response::Path("anything".to_owned()));
}

fn unreadable(zoo: &mut dyn Zoo, _root: &str) {
    let c = zoo.open(1000);
    refused(zoo, c, Request::Malformed, Code::MarshallingError);
    ok(zoo, c, Request::Ping);
    refused(zoo, c, Request::Unknown(4711), Code::Unimplemented);
}
