//! Owns the record of disk calls in progress, so that one that does not return can be reported with its file. A
//! disk that hangs gives no error: without this a broker only gets slower, and no one knows why.
//!
//! Each thread has a place of its own, which costs a call two uncontended locks and a look at the clock.

use super::fault::{self, Op};
use parking_lot::Mutex;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// A call that is under way for too long.
#[derive(Clone, Debug)]
pub struct HangingCall {
    pub call: &'static str,
    pub path: Arc<Path>,
    pub elapsed: Duration,
}

#[derive(Debug)]
struct UnderWay {
    op: Op,
    path: Arc<Path>,
    since: Instant,
    /// The next time that it is worth a line.
    told_after: Duration,
}

type Place = Mutex<Option<UnderWay>>;

static PLACES: Mutex<Vec<Weak<Place>>> = Mutex::new(Vec::new());

thread_local! {
    static PLACE: Arc<Place> = {
        let place = Arc::default();
        let mut places = PLACES.lock();
        places.retain(|place| place.strong_count() > 0);
        places.push(Arc::downgrade(&place));
        place
    };
}

/// A call of this thread; it is over when this is dropped.
#[must_use]
pub(super) struct Call;

impl Drop for Call {
    fn drop(&mut self) {
        // A thread that ends has no place any more.
        PLACE.try_with(|place| place.lock().take()).ok();
    }
}

/// Notes what this thread is about to do, and lets tests break it.
pub(super) fn begin(op: Op, path: &Path) -> io::Result<Call> {
    begin_at(op, &Arc::from(path))
}

/// As [`begin`], for a path that is at hand.
pub(super) fn begin_at(op: Op, path: &Arc<Path>) -> io::Result<Call> {
    let call = note(op, path);
    fault::check(op)?;
    Ok(call)
}

/// As [`begin_at`] for calls that tests leave alone.
pub(super) fn note(op: Op, path: &Arc<Path>) -> Call {
    let under_way = UnderWay { op, path: Arc::clone(path), since: Instant::now(), told_after: Duration::ZERO };
    PLACE.try_with(|place| *place.lock() = Some(under_way)).ok();
    Call
}

/// Calls that are under way for longer than `limit`. Each is reported once, and again each time its age has doubled.
pub fn hanging(limit: Duration) -> Vec<HangingCall> {
    let places: Vec<_> = PLACES.lock().iter().filter_map(Weak::upgrade).collect();
    let mut found = Vec::new();
    for place in places {
        if let Some(call) = place.lock().as_mut() {
            let elapsed = call.since.elapsed();
            if elapsed >= limit.max(call.told_after) {
                call.told_after = elapsed * 2;
                found.push(HangingCall { call: call.op.call(), path: Arc::clone(&call.path), elapsed });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::fault::testing::inject;
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_call_that_hangs_is_told_with_its_file_until_it_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000000000000000000.log");
        let mine =
            |limit| hanging(limit).into_iter().filter(|call| call.path.starts_with(dir.path())).collect::<Vec<_>>();
        let (hangs, has_begun) = mpsc::channel();
        let (comes_back, end) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let path = &path;
            let worker = scope.spawn(move || {
                let file = super::super::DataFile::open_or_create(path).unwrap();
                let _fault = inject(move |op| {
                    assert_eq!(op, Op::Sync);
                    hangs.send(()).unwrap();
                    end.recv().unwrap();
                    None
                });
                file.sync()
            });
            has_begun.recv().unwrap();
            assert!(mine(Duration::from_secs(3_600)).is_empty(), "not for so long");
            let reported = mine(Duration::ZERO);
            assert_eq!((reported.len(), reported[0].call, &*reported[0].path), (1, "fdatasync", path.as_path()));
            assert!(mine(Duration::ZERO).len() <= 1, "again only when it is twice as old");
            comes_back.send(()).unwrap();
            worker.join().unwrap().unwrap();
        });
        assert!(mine(Duration::ZERO).is_empty());
    }
}
