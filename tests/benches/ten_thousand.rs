//! Ten thousand connections in one thread and in virtual time: what they hold, and what they carry.
//!
//!     cargo bench -p tests --bench ten_thousand
//!
//! Numbers behind `--` are connections, messages each, and octets of a message: `-- 10000 3 1000`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tests::many::{Machines, Many, Pair, Stacks};

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// Counts what is held.
struct Counting;

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    // As a test it is to be quick; tests/many.rs says the same of a few.
    let measured = std::env::args().any(|argument| argument == "--bench");
    let pairs = numbers.next().unwrap_or(if measured { 10_000 } else { 10 });
    let messages = numbers.next().unwrap_or(3);
    let size = numbers.next().unwrap_or(1000);
    println!("{pairs} connections, {messages} messages of about {size} octets on each, client and server, one thread");
    measure::<Machines>("machines alone", pairs, messages, size);
    measure::<Stacks>("with buffers, in clear", pairs, messages, size);
}

fn measure<P: Pair>(what: &str, pairs: usize, messages: usize, size: usize) {
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let since = |held: &AtomicUsize| held.load(Ordering::Relaxed) - before;
    let began = Instant::now();
    let mut many = Many::<P>::open(pairs, messages, size);
    many.run();
    assert!(many.are_ready());
    let opened = began.elapsed();
    let idle = since(&HELD);
    let began = Instant::now();
    for message in 0..messages {
        many.send(message);
        many.run();
    }
    let carried = began.elapsed();
    let sent = pairs * messages;
    assert!(many.round.arrived.iter().all(|count| *count == 1) && many.round.accepted == sent, "a message was lost");
    many.quit();
    many.run();
    assert!(many.are_closed());
    let (mib, kib) = (|octets: usize| octets as f64 / 1024.0 / 1024.0, |octets: usize| octets as f64 / 1024.0);
    println!("{what}:");
    println!("  open and idle   {:8.1} MiB, {:6.2} KiB a connection (both ends)", mib(idle), kib(idle) / pairs as f64);
    println!(
        "  at most         {:8.1} MiB, {:6.2} KiB a connection",
        mib(since(&MOST)),
        kib(since(&MOST)) / pairs as f64
    );
    println!("  sessions opened {:8.0} a second", pairs as f64 / opened.as_secs_f64());
    println!("  messages        {:8.0} a second", sent as f64 / carried.as_secs_f64());
}
