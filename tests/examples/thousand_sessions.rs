//! Many sessions at once on one thread of tokio, against a server on another: how long it takes, what it costs, and that none is
//! lost. `thousand_sessions [SESSIONS] [tls]`; a thousand without.
use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use smtp_proto::client::Envelope;
use smtp_proto::server::{self, Event};
use smtp_proto::{Accepted, Config, Limits, Security, tls};
use smtp_tokio::serve::{Served, serve};
use tests::tls::Pki;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Barrier, oneshot};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let sessions = words.iter().find_map(|word| word.parse().ok()).unwrap_or(1000);
    let secured = words.iter().any(|word| word == "tls");
    let seen = run(sessions, secured)?;
    let word = if secured { "with STARTTLS" } else { "in clear" };
    println!("{sessions} sessions {word}, {} of them open at once; both ends in this process", seen.at_once);
    println!("ready: {:.3} s; sent and closed: {:.3} s", seen.ready.as_secs_f64(), seen.sent.as_secs_f64());
    println!("accepted: {}; arrived once: {}; lost: {}", seen.accepted, seen.arrived, sessions - seen.arrived);
    if let (Some(before), Some(open), Some(peak)) = seen.memory {
        let each = open.saturating_sub(before) as f64 / sessions as f64;
        println!(
            "resident: {before} KiB before, {open} KiB all open ({each:.1} KiB for both ends of one), {peak} KiB at most"
        );
    }
    if seen.arrived == sessions { Ok(()) } else { Err("some were lost".into()) }
}

/// What was seen of a run.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Sessions that the server had open when all were ready.
    pub(crate) at_once: usize,
    /// Messages that the server has taken responsibility for, as the clients heard it.
    pub(crate) accepted: usize,
    /// Messages that arrived, each of them once.
    pub(crate) arrived: usize,
    /// Until all were ready.
    pub(crate) ready: Duration,
    /// From there until all had sent and were closed.
    pub(crate) sent: Duration,
    /// Resident memory in KiB, where the system tells: before, with all open, and at most.
    pub(crate) memory: (Option<u64>, Option<u64>, Option<u64>),
}

/// What the server sees: how many sessions are open, and every message with how often it came.
#[derive(Default)]
struct Desk {
    open: usize,
    arrived: HashMap<Vec<u8>, usize>,
}

pub(crate) fn run(sessions: usize, secured: bool) -> Result<Seen, Box<dyn Error>> {
    more_files();
    let pki = Pki::new();
    let acceptor = secured.then(|| Arc::new(pki.server.clone()) as Arc<dyn tls::Acceptor>);
    let (desk, (stop, stopped), (tell, hear)) =
        (Arc::new(Mutex::new(Desk::default())), oneshot::channel::<()>(), std::sync::mpsc::channel());
    let server = {
        let desk = desk.clone();
        std::thread::spawn(move || {
            one_thread().block_on(async move {
                let listener = listen(sessions).expect("a port");
                tell.send(listener.local_addr().expect("an address").port()).expect("a client");
                serve(listener, sessions, async { drop(stopped.await) }, move |stream, _, stopping| {
                    let config = server::Config::new("localhost").expect("a name");
                    let accepted = Accepted::new(config, acceptor.clone()).expect("a configuration");
                    attend(Served::new(accepted, stream).until(stopping), desk.clone())
                })
                .await;
            });
        })
    };
    let security = if secured { Security::StartTls } else { Security::None };
    // All of them are busy at once, so each waits for all others.
    let config = Config::new("localhost", hear.recv()?).address("127.0.0.1").security(security).tls(pki.client);
    let config = config.limits(Limits::rfc5321());
    let before = resident("VmRSS:");
    let (at_once, accepted, ready, sent, open) = one_thread().block_on(async {
        let (begin, all) = (Instant::now(), Arc::new(Barrier::new(sessions + 1)));
        let clients: Vec<_> =
            (0..sessions).map(|number| tokio::spawn(client(number, config.clone(), all.clone()))).collect();
        all.wait().await;
        let (ready, at_once, open) = (begin.elapsed(), desk.lock().map_or(0, |desk| desk.open), resident("VmRSS:"));
        all.wait().await;
        let mut accepted = 0;
        for client in clients {
            accepted += usize::from(matches!(client.await, Ok(Ok(true))));
        }
        (at_once, accepted, ready, begin.elapsed() - ready, open)
    });
    let _ = stop.send(());
    server.join().map_err(|_| "the server has panicked")?;
    let arrived =
        desk.lock().map_err(|_| "the server has panicked")?.arrived.values().filter(|times| **times == 1).count();
    Ok(Seen { at_once, accepted, arrived, ready, sent, memory: (before, open, resident("VmHWM:")) })
}

/// Connects, waits for all others, sends a message that nobody else sends, and quits.
async fn client(number: usize, config: Config, all: Arc<Barrier>) -> Result<bool, smtp_tokio::Error> {
    let smtp = smtp_tokio::connect(&config).await;
    all.wait().await; // all are ready
    all.wait().await; // and were counted
    let mut smtp = smtp?;
    let envelope = Envelope::new("alice@example.org", ["bob@example.net"])?;
    let message = format!("Subject: {number}\r\n\r\nHello, Bob.\r\n");
    let report = smtp.send(&envelope, message.as_bytes()).await?;
    smtp.quit().await?;
    Ok(report.is_accepted())
}

/// Accepts whatever comes, and keeps it.
async fn attend(mut served: Served, desk: Arc<Mutex<Desk>>) {
    let count = |change: fn(&mut usize)| desk.lock().map(|mut desk| change(&mut desk.open)).unwrap_or_default();
    count(|open| *open += 1);
    let mut content = Vec::new();
    while let Ok(Some(event)) = served.next().await {
        if let Event::Content { octets, last } = event {
            content.extend(octets);
            if let (true, Ok(mut desk)) = (last, desk.lock()) {
                *desk.arrived.entry(std::mem::take(&mut content)).or_default() += 1;
            }
        }
        while let Some(decision) = served.connection().decision() {
            decision.accept();
        }
    }
    count(|open| *open -= 1);
}

/// With room for all to wait in: of a crowd that finds none, some would wait for a greeting until their limit has passed.
fn listen(sessions: usize) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    socket.listen(u32::try_from(sessions).unwrap_or(u32::MAX).max(1024))
}

fn one_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A line of the system's account of this process, in KiB.
fn resident(what: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(what))?.split_whitespace().next()?.parse().ok()
}

/// Two sockets a session are more than some systems allow by themselves.
fn more_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}
