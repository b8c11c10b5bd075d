//! A program without std that uses the pure crates, so that its link proves that they need none.
//!
//! The rules of this file: its panic handler and its allocator are its own; from the C library it takes the start of the
//! program, its end, and `memcpy` with its kin, nothing else. It exits with 0 where a message went from a client to a server.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use proxy_proto::{Instant, Machine, Options, ProxyUrl, Tunnel};
use smtp_proto::client::{self, Client, Envelope, StartTls};
use smtp_proto::sasl::{self, Allowed, Channel, Credentials, MechanismName};
use smtp_proto::server::{self, Server};

const ROOM: usize = 4 * 1024 * 1024;

/// Gives memory away from one end to the other, and takes none back: enough for one short session.
struct Bump {
    memory: UnsafeCell<[u8; ROOM]>,
    next: AtomicUsize,
}

// SAFETY: no two allocations overlap, since `next` only grows.
unsafe impl Sync for Bump {}

// SAFETY: what is given is within `memory`, aligned as asked, and given once.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.memory.get() as usize;
        let mut next = self.next.load(Ordering::Relaxed);
        loop {
            let start = (base + next).next_multiple_of(layout.align()) - base;
            let end = start + layout.size();
            if end > ROOM {
                return core::ptr::null_mut();
            }
            match self.next.compare_exchange(next, end, Ordering::Relaxed, Ordering::Relaxed) {
                // SAFETY: `start` is within `memory`.
                Ok(_) => return unsafe { self.memory.get().cast::<u8>().add(start) },
                Err(now) => next = now,
            }
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump = Bump { memory: UnsafeCell::new([0; ROOM]), next: AtomicUsize::new(0) };

unsafe extern "C" {
    fn abort() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: it takes nothing and does not come back.
    unsafe { abort() }
}

/// `alloc` comes compiled for unwinding and names these two; here nothing unwinds, so nothing calls them.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}

/// See [`rust_eh_personality`].
#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_Resume() -> ! {
    // SAFETY: it takes nothing and does not come back.
    unsafe { abort() }
}

const NOW: Instant = Instant::EPOCH;

/// Called by the start-up code of the C library.
#[unsafe(no_mangle)]
pub extern "C" fn main(_: i32, _: *const *const u8) -> i32 {
    match run() {
        Some(true) => 0,
        _ => 1,
    }
}

fn run() -> Option<bool> {
    Some(opens_tunnels()? && exchanges()? && delivers()?)
}

/// Each kind of proxy lets the client through.
fn opens_tunnels() -> Option<bool> {
    let replies: [(&str, &[u8]); 3] = [
        ("socks4a://p", b"\x00\x5a\0\0\0\0\0\0"),
        ("socks5h://alice:s3cret@p", b"\x05\x02\x01\x00\x05\x00\x00\x01\0\0\0\0\0\0"),
        ("http://alice:s3cret@p", b"HTTP/1.1 200 OK\r\n\r\n"),
    ];
    for (url, reply) in replies {
        let url: ProxyUrl = url.parse().ok()?;
        let mut tunnel: Tunnel = url.tunnel(&"mx.example.org:25".parse().ok()?, &Options::default()).ok()?;
        let (mut input, mut opened) = (reply, false);
        while !opened {
            tunnel.transmit(NOW, &mut Vec::new());
            opened = tunnel.receive(NOW, &mut input).ok()?.is_some();
        }
    }
    Some(true)
}

/// The strongest mechanism of this build, both sides of it.
fn exchanges() -> Option<bool> {
    let name = MechanismName::BY_STRENGTH.iter().find(|name| {
        sasl::server::is_available(name) && !name.binds_channel() && Credentials::password("tim", "secret").drives(name)
    })?;
    let credentials = Credentials::password("tim", "secret");
    let channel = Channel::secured();
    let mut client = sasl::start(name, &credentials, &channel, "mx.example.org", [7; 24]).ok()?;
    let mut server = sasl::server::start(name, &channel, "mx.example.org", [9; 24]).ok()?;
    for _ in 0..8 {
        let mut message = Vec::new();
        if client.transmit(NOW, &mut message) {
            match server.receive(NOW, &mut &message[..]).ok()? {
                Some(sasl::server::Event::Authenticated { .. }) => return Some(client.finish().is_ok()),
                Some(sasl::server::Event::Refused) => return Some(false),
                Some(_) => {
                    let outcome = server.answer(stored(name)?).ok()?;
                    if let Some(sasl::server::Event::Authenticated { .. }) = outcome {
                        return Some(client.finish().is_ok());
                    }
                }
                None => {}
            }
        }
        let mut challenge = Vec::new();
        if server.transmit(NOW, &mut challenge) {
            client.receive(NOW, &mut &challenge[..]).ok()?;
        }
    }
    Some(false)
}

#[cfg(feature = "sasl-all")]
fn stored(name: &MechanismName) -> Option<sasl::server::Answer> {
    use sasl::ScramHash;
    let hash = if name.as_str().contains("512") { ScramHash::Sha512 } else { ScramHash::Sha256 };
    let keys = sasl::server::ScramKeys::derive(hash, &"secret".into(), *b"salt of a test", 4096).ok()?;
    Some(sasl::server::Answer::Scram(keys))
}

#[cfg(not(feature = "sasl-all"))]
fn stored(_: &MechanismName) -> Option<sasl::server::Answer> {
    Some(sasl::server::Answer::Accept)
}

/// A client with a password sends a message to a server, and it arrives.
fn delivers() -> Option<bool> {
    let mut config = client::Config::new("mx.example.org");
    config.starttls = StartTls::Never;
    config.credentials = Some(Credentials::password("tim", "secret"));
    config.allowed = Allowed::only([MechanismName::Plain]).danger_allow_clear_text();
    let mut client = Client::new(config).ok()?;
    let envelope = Envelope::new("alice@example.org", ["bob@example.net"]).ok()?;
    client.send(envelope, smtp_proto::body::LineEndings::Canonical).ok()?;
    client.quit().ok()?;
    let config = server::Config::new("mx.example.org").ok()?.mechanisms([MechanismName::Plain]);
    let mut server = Box::new(Server::new(config.danger_allow_clear_text_auth(true)));
    let (mut up, mut down, mut arrived) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..20 {
        server.transmit(NOW, &mut down);
        let mut input = &down[..];
        while let Some(event) = client.receive(NOW, &mut input).ok()? {
            if matches!(event, client::Event::Closed(_)) {
                return Some(arrived == b".hello\r\n");
            }
        }
        down.clear();
        if let Some(mut body) = client.body(NOW, &mut up, 1000) {
            body.write(&mut &b".hello"[..]).ok()?;
            body.end();
        }
        client.transmit(NOW, &mut up);
        let mut input = &up[..];
        while let Some(event) = server.receive(NOW, &mut input).ok()? {
            match event {
                server::Event::Content { octets, .. } => arrived.extend(octets),
                server::Event::Authenticate { .. } => {
                    server.authentication()?.begin(&Channel::clear(), [9; 24]).ok()?
                }
                server::Event::Credentials(_) => server.credentials()?.answer(sasl::server::Answer::Accept).ok()?,
                _ => {}
            }
            while let Some(decision) = server.decision() {
                decision.accept();
            }
        }
        up.clear();
    }
    Some(false)
}
