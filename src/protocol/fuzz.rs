//! Fuzzes every decoder on the stable toolchain: kept inputs are damaged in the ways that hurt length-prefixed formats,
//! for ZURAU_FUZZ_SECONDS (2 unless set). No input may panic or take more memory than its budget, and what decodes must
//! encode again, to bytes that are stable from then on. A failing input is printed as a line for the corpus.

#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(clippy::print_stdout, reason = "the seed and the count, for the person who runs the test")]

#[path = "corpus.rs"]
mod corpus;
#[path = "../util/fuzzing.rs"]
mod fuzzing;

use bytes::Bytes;
use corpus::Entry;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;
use zurau::every_api;
use zurau::protocol::messages::*;
use zurau::protocol::{EncodeError, Message, Reader, RequestHeader, ResponseHeader, Writer};

/// Inputs that were made to hurt, or that fuzzing found.
const HOSTILE: &str = include_str!("../../zk-tests/protocol/corpus/hostile.txt");

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, which also knows the most bytes that a thread held at once.
struct Counting;

impl Counting {
    fn add(bytes: isize) {
        let live = LIVE.get() + bytes;
        LIVE.set(live);
        PEAK.set(PEAK.get().max(live));
    }

    /// The most bytes that `run` held at once beyond what was held before it.
    fn peak_of<T>(run: impl FnOnce() -> T) -> (T, usize) {
        let before = LIVE.get();
        PEAK.set(before);
        let result = run();
        (result, (PEAK.get() - before).max(0) as usize)
    }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size() as isize);
        // SAFETY: the caller's layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        Self::add(-(layout.size() as isize));
        // SAFETY: the caller's memory and layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Decodes, and encodes again what decodes.
type Run = fn(Bytes, i16);

fn decode_and_encode<M: Message>(bytes: Bytes, version: i16) {
    let mut r = Reader::new(bytes);
    let budget = r.budget();
    let (message, peak) = Counting::peak_of(|| M::decode(&mut r, version));
    // Twice: while the list of unknown tags grows, the old one and the new one are held.
    assert!(peak <= 2 * budget, "{peak} bytes held, the budget is {budget}");
    let Ok(message) = message else { return };
    let once = match encode(&message, version) {
        // A byte that is no UTF-8 reads as U+FFFD, which takes three: what was short enough may not be any more, and
        // Java refuses to write it as well.
        Err(EncodeError::TooLong(_)) => return,
        once => once.expect("what decodes in a version encodes in it"),
    };
    let again = M::decode(&mut Reader::with_budget(once.clone(), usize::MAX), version).expect("our own bytes");
    assert_eq!(encode(&again, version), Ok(once));
}

fn encode<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut w = Writer::default();
    message.encode(&mut w, version)?;
    Ok(w.into_parts().0)
}

fn decoders() -> BTreeMap<&'static str, Run> {
    let mut all: BTreeMap<&'static str, Run> = BTreeMap::new();
    macro_rules! decoders {
        ($($key:ident: $request:ident => $response:ident;)*) => {
            $(
                all.insert($request::NAME, decode_and_encode::<$request>);
                all.insert($response::NAME, decode_and_encode::<$response>);
            )*
        };
    }
    every_api!(decoders);
    all
}

/// Runs one input through its decoder and the headers'; a panic is reported with the line to keep.
fn run(decoders: &BTreeMap<&'static str, Run>, input: &Entry) {
    let bytes = Bytes::from(input.bytes.clone());
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        decoders[input.message.as_str()](bytes.clone(), input.version);
        let header = RequestHeader::decode(&mut Reader::new(bytes.clone()));
        drop(header);
        for version in [0, 1] {
            let header = ResponseHeader::decode(&mut Reader::new(bytes.clone()), version);
            drop(header);
        }
    }));
    if outcome.is_err() {
        panic!("keep this line: {}", corpus::line(&input.message, input.version, &input.bytes));
    }
}

/// Lengths, counts and varints that decoders trip over.
const EVIL: &[&[u8]] = &[
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x80, 0x00, 0x00, 0x00],
    &[0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xfe],
    &[0x00, 0x0f, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
    &[0xff, 0x7f],
    &[0x7f, 0xff],
    &[0x80, 0x00],
    &[0xc3, 0x28],
    &[0x00, 0x00],
    &[0x00],
    &[0x01],
    &[0x80],
];

fn damage(rng: &mut StdRng, input: &mut Entry, corpus: &[Entry]) {
    let bytes = &mut input.bytes;
    let at = rng.random_range(0..=bytes.len());
    match rng.random_range(0..10) {
        0 => bytes.truncate(at),
        1..=3 => {
            let evil = EVIL[rng.random_range(0..EVIL.len())];
            let end = (at + evil.len()).min(bytes.len());
            bytes.splice(at..end, evil.iter().copied());
        }
        4 => {
            let evil = EVIL[rng.random_range(0..EVIL.len())];
            bytes.splice(at..at, evil.iter().copied());
        }
        5 => {
            let end = (at + rng.random_range(0..9)).min(bytes.len());
            bytes.drain(at..end);
        }
        6 => {
            let end = (at + rng.random_range(0..64)).min(bytes.len());
            let repeated = bytes[at..end].to_vec();
            bytes.splice(at..at, repeated);
        }
        7 => {
            let other = &corpus[rng.random_range(0..corpus.len())].bytes;
            let from = rng.random_range(0..=other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        8 => {
            // Now and then a long tail, so that a large count finds elements to read.
            let len = if rng.random_range(0..64) == 0 { 100_000 } else { rng.random_range(0..100) };
            let byte = [0, 1, 2, 0xff][rng.random_range(0..4)];
            bytes.splice(at..at, std::iter::repeat_n(byte, len));
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.random_range(0..8);
            }
        }
    }
}

#[test]
fn kept_inputs_are_harmless_in_every_version() {
    let decoders = decoders();
    for entry in corpus::entries(corpus::VALID).iter().chain(&corpus::entries(HOSTILE)) {
        for version in -1..=18 {
            run(&decoders, &Entry { version, ..entry.clone() });
        }
    }
}

#[test]
fn damaged_inputs_are_harmless() {
    let mut rng = StdRng::seed_from_u64(fuzzing::seed());
    let decoders = decoders();
    let corpus = [corpus::entries(corpus::VALID), corpus::entries(HOSTILE)].concat();
    let end = fuzzing::deadline();
    let mut inputs = 0u64;
    while Instant::now() < end {
        for _ in 0..1_000 {
            let mut input = corpus[rng.random_range(0..corpus.len())].clone();
            for _ in 0..rng.random_range(1..5) {
                damage(&mut rng, &mut input, &corpus);
            }
            run(&decoders, &input);
            inputs += 1;
        }
    }
    println!("{inputs} inputs");
}
