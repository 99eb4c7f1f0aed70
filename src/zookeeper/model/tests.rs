//! Properties of the model over random histories.

use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;

const TIMING: Timing = Timing { tick: 100, min_timeout: 200, max_timeout: 2000 };

fn at(ms: Millis) -> Now {
    Now { wall: 1_000_000 + ms, ticks: ms }
}

fn model() -> Model {
    Model::new(TIMING, at(0))
}

fn open(model: &mut Model, now: Now) -> SessionId {
    let mut effects = Effects::default();
    model.open_session(now, "127.0.0.1", 1000, [7; 16], &mut effects).0
}

fn create(path: &str, flags: i32) -> Write {
    Write::Create(Create {
        path: path.to_owned(),
        data: Some(Bytes::from_static(b"x")),
        acl: vec![Acl::open()],
        flags,
        answer: CreateAnswer::Path,
    })
}

#[test]
fn a_silent_session_expires_at_the_end_of_the_tick_in_which_its_timeout_passes() {
    let mut model = model();
    let session = open(&mut model, at(50));
    assert_eq!(model.next_deadline(), Some(1100));
    let mut effects = Effects::default();
    model.expire(at(1099), &mut effects);
    assert!(effects.ended.is_empty());
    model.expire(at(1100), &mut effects);
    assert_eq!(effects.ended, [session]);
    let reply = model.request(at(1100), session, Request::Ping, &mut effects);
    assert_eq!(reply.result, Err(Code::SessionExpired));
}

#[test]
fn a_request_postpones_expiry() {
    let mut model = model();
    let session = open(&mut model, at(0));
    let mut effects = Effects::default();
    let _reply = model.request(at(900), session, Request::Ping, &mut effects);
    assert_eq!(model.next_deadline(), Some(2000));
}

#[test]
fn a_session_is_attached_by_its_password_only() {
    let mut model = model();
    let session = open(&mut model, at(0));
    assert_eq!(model.attach_session(at(1), "127.0.0.1", session, 500, &[7; 15]), None);
    assert_eq!(model.attach_session(at(1), "127.0.0.1", session, 500, &[7; 16]), Some(500));
}

#[test]
fn paths_are_valid_as_zookeeper_has_it() {
    for path in ["/", "/a", "/a/b", "/a..b", "/...", "/a b", "/\u{4e2d}"] {
        assert_eq!(validate_path(path), Ok(()), "{path:?}");
    }
    for path in ["", "a", "/a/", "//", "/a//b", "/.", "/a/..", "/a/./b", "/\u{1}", "/\u{7f}", "/\u{e000}", "/\u{1f600}"]
    {
        assert_eq!(validate_path(path), Err(Code::BadArguments), "{path:?}");
    }
}

/// A step of a history. Sessions and paths are drawn from small sets, so that steps meet.
#[derive(Debug, Clone)]
enum Step {
    Open,
    Close(usize),
    Wait(Millis),
    Requests(usize, Vec<Write>),
    Watch(usize, String),
}

fn any_path() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec!["/a", "/b", "/a/c", "/a/d", "/b/c", "/a/c/e", "/a/s-", "/zookeeper"])
            .prop_map(String::from),
        (0..3u32).prop_map(|n| format!("/a/s-{n:010}")),
    ]
}

fn any_write() -> impl Strategy<Value = Write> {
    let version = prop_oneof![3 => Just(-1), 1 => 0..3i32];
    prop_oneof![
        5 => (any_path(), 0..4i32).prop_map(|(path, flags)| create(&path, flags)),
        3 => (any_path(), version.clone()).prop_map(|(path, version)| Write::Delete { path, version }),
        2 => (any_path(), version.clone()).prop_map(|(path, version)| Write::SetData { path, data: None, version }),
        1 => (any_path(), version).prop_map(|(path, version)| Write::Check { path, version }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Open),
        1 => (0..4usize).prop_map(Step::Close),
        1 => (0..600i64).prop_map(Step::Wait),
        12 => (0..4usize, prop::collection::vec(any_write(), 1..4)).prop_map(|(s, writes)| Step::Requests(s, writes)),
        2 => (0..4usize, any_path()).prop_map(|(s, path)| Step::Watch(s, path)),
    ]
}

/// The state as two models can be compared.
fn picture(model: &Model) -> (i64, BTreeMap<Arc<str>, Node>, Vec<SessionId>) {
    let nodes = model.tree.nodes().map(|(path, node)| (Arc::clone(path), node.clone())).collect();
    (model.last_zxid, nodes, model.sessions.keys().copied().collect())
}

proptest! {
    #[test]
    fn any_history_keeps_the_invariants_and_can_be_replayed(steps in prop::collection::vec(any_step(), 1..60)) {
        let mut model = model();
        let mut replica = Model::new(TIMING, at(0));
        let mut sessions = Vec::new();
        let mut now = 0;
        for step in steps {
            let mut effects = Effects::default();
            let before = picture(&model);
            match step {
                Step::Open => {
                    sessions.push(model.open_session(at(now), "127.0.0.1", 500, [1; 16], &mut effects).0);
                }
                Step::Wait(ms) => {
                    now += ms;
                    model.expire(at(now), &mut effects);
                }
                Step::Close(n) | Step::Requests(n, _) | Step::Watch(n, _) if n >= sessions.len() => {}
                Step::Close(n) => {
                    let _reply = model.request(at(now), sessions[n], Request::CloseSession, &mut effects);
                }
                Step::Watch(n, path) => {
                    let _reply = model.request(at(now), sessions[n], Request::Exists { path, watch: true }, &mut effects);
                }
                Step::Requests(n, writes) => {
                    let reply = model.request(at(now), sessions[n], Request::Multi(writes), &mut effects);
                    if let Ok(Response::Multi(results)) = reply.result
                        && results.iter().any(|r| matches!(r, OpResult::Error(_)))
                    {
                        let after = picture(&model);
                        prop_assert_eq!(&before.1, &after.1, "a refused multi leaves no trace but its zxid");
                        prop_assert!(effects.events.is_empty());
                    }
                }
            }
            prop_assert_eq!(model.tree.check(), Ok(()));
            for (path, node) in model.tree.nodes() {
                prop_assert!(node.owner == 0 || model.sessions.contains_key(&node.owner), "{} outlived its session", path);
                prop_assert!(node.pzxid <= model.last_zxid && node.mzxid <= model.last_zxid);
            }
            prop_assert_eq!(model.deadlines.len(), model.sessions.len());
            for (session, _) in &effects.events {
                // Several sessions may expire in one step, and the later ones hear of the end of the earlier.
                let is_known = model.sessions.contains_key(session) || effects.ended.contains(session);
                prop_assert!(is_known, "an event for a session that ended before");
            }
            for transaction in &effects.log {
                replica.replay(at(now), transaction).expect("what was applied once applies again");
            }
            prop_assert_eq!(picture(&replica), picture(&model));
        }
    }
}
