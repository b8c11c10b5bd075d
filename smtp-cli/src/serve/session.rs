//! One connection, from the greeting to the end.
//!
//! The rules of this file: every question of the machine is answered, the dull ones with yes; only a message that was
//! accepted is told of.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use smtp_proto::reply::{Code, Reply};
use smtp_proto::server::{Event, Question};
use smtp_proto::{sasl, tls};
use smtp_tokio::serve::{Served, Stopping};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::faulty::Faulty;
use super::mail::{Arrived, Draft};
use super::policy::Policy;
use crate::args::EarlyArg;

type Connection = Served<Faulty<TcpStream>>;

/// How long somebody in the middle of something may pause, once the server is being stopped.
const GRACE: Duration = Duration::from_secs(3);

/// Holds one conversation; `arrived` is told of each message that was accepted.
pub(crate) async fn hold(
    policy: &Policy,
    stream: TcpStream,
    peer: SocketAddr,
    stopping: Stopping,
    arrived: &(dyn Fn(Arrived) + Sync),
) {
    // The settings were tried before the server began to listen.
    let Ok(accepted) = policy.accept() else { return };
    let stream = Faulty::new(stream, policy.slow, policy.drop_after);
    let mut served = Served::new(accepted, stream).until(stopping.clone());
    // What is slow on purpose is no pause of the client's.
    let patience = GRACE + policy.slow.unwrap_or_default();
    let mut draft = None;
    let mut event = match policy.greet_after {
        None => next(&mut served, &stopping, patience).await,
        Some(delay) => match timeout(delay, next(&mut served, &stopping, patience)).await {
            Ok(event) => event,
            Err(_) if greet(policy, &mut served, peer) => next(&mut served, &stopping, patience).await,
            Err(_) => return,
        },
    };
    while let Some(happened) = event {
        let_out(policy, &mut served).await;
        if let Some(mail) = answer(policy, &mut served, peer, happened, &mut draft).await {
            arrived(mail);
        }
        event = next(&mut served, &stopping, patience).await;
    }
}

/// Greets, or not, who was made to wait for it; `false` where nothing is to be said.
fn greet(policy: &Policy, served: &mut Connection, peer: SocketAddr) -> bool {
    let early = served.connection().session().spoke_early() && !policy.lets_speak_early();
    if !early || policy.early == EarlyArg::Serve {
        if let Some(decision) = served.connection().decision() {
            decision.accept();
        }
        return true;
    }
    let done = if policy.early == EarlyArg::Drop { "dropped" } else { "refused" };
    let _ = writeln!(io::stderr(), "smtp: {peer} spoke before the greeting: {done}");
    if policy.early == EarlyArg::Refuse {
        // RFC 5321 section 4.3.1: the client must wait.
        refuse(served, 554, "You spoke before the greeting");
    }
    policy.early == EarlyArg::Refuse
}

/// Says what there is to say before the question that is open is answered: else a slow server's replies to what was asked for at once
/// would be said at once, too.
async fn let_out(policy: &Policy, served: &mut Connection) {
    /// What a timer may be late.
    const TICK: Duration = Duration::from_millis(2);
    let (connection, mut patience) = (served.connection(), Duration::ZERO);
    let asks =
        connection.decision().is_some() || connection.authentication().is_some() || connection.credentials().is_some();
    if policy.slow.is_none() || !asks {
        return;
    }
    // While a question is open nothing happens but that words go out, or that it is over.
    while timeout(patience, served.next()).await.is_err() {
        match served.stream().holds_until() {
            // Who does not read is not waited for.
            Some(until) if Instant::now() < until + GRACE => patience = until.duration_since(Instant::now()).max(TICK),
            _ => return,
        }
    }
}

/// What happens next; `None` at the end. Once the server is being stopped, a message that goes on is taken to its end, however
/// long it is, and a peer that stalls is not waited for.
async fn next(served: &mut Connection, stopping: &Stopping, patience: Duration) -> Option<Event> {
    let mut stopping = stopping.clone();
    let stalled = async {
        stopping.wait().await;
        sleep(patience).await;
    };
    tokio::select! {
        event = served.next() => event.ok().flatten(),
        () = stalled => None,
    }
}

/// Answers one event; a message, where that was the end of an accepted one.
async fn answer(
    policy: &Policy,
    served: &mut Connection,
    peer: SocketAddr,
    event: Event,
    draft: &mut Option<Draft>,
) -> Option<Arrived> {
    let connection = served.connection();
    match event {
        Event::Mail { from, parameters } => {
            *draft = Some(Draft::new(peer, connection, &from, &parameters));
        }
        Event::Recipient { to, .. } if policy.refuses(to.as_str()) => {
            refuse(served, 550, "5.1.1 No such mailbox");
            return None;
        }
        Event::Recipient { to, parameters } => {
            if let Some(draft) = draft {
                draft.recipient(&to, &parameters);
            }
        }
        Event::Content { octets, last } => {
            if let Some(open) = draft {
                open.content(&octets, policy.store.as_deref());
            }
            if !last {
                return None;
            }
            // A message without MAIL cannot be; if it could, it would be no message.
            let Some(draft) = draft.take() else {
                refuse(served, 451, "4.3.0 Try again later");
                return None;
            };
            return complete(policy, served, draft).await;
        }
        Event::Abandoned(_) => *draft = None,
        Event::Authenticate { .. } => begin(served),
        Event::Credentials(question) => {
            let answer = match &policy.account {
                Some(account) => account.answer(&question),
                None => sasl::server::Answer::Refuse,
            };
            let answered = served.connection().credentials().map(|open| open.answer(answer));
            if !matches!(answered, Some(Ok(()))) {
                // An answer that the mechanism cannot take: whatever it asked, the answer is no.
                if let Some(open) = served.connection().credentials() {
                    let _ = open.answer(sasl::server::Answer::Refuse);
                }
            }
        }
        _ => {}
    }
    if let Some(decision) = served.connection().decision() {
        decision.accept();
    }
    None
}

/// Settles a message that is complete.
async fn complete(policy: &Policy, served: &mut Connection, draft: Draft) -> Option<Arrived> {
    if policy.tempfail {
        refuse(served, 451, "4.3.0 Try again later");
        return None;
    }
    let stored: io::Result<Arrived> = draft.finish();
    let Ok(arrived) = stored else {
        refuse(served, 452, "4.3.1 The message cannot be stored");
        return None;
    };
    // In LMTP each recipient is a question of its own.
    while let Some(decision) = served.connection().decision() {
        decision.accept();
        let_out(policy, served).await;
    }
    Some(arrived)
}

/// Answers no to all that is asked.
fn refuse(served: &mut Connection, code: u16, text: &str) {
    let reply = Code::new(code).and_then(|code| Reply::new(code, text).ok());
    while let Some(decision) = served.connection().decision() {
        let asks_once = !matches!(decision.question(), Question::MessageFor(_));
        match &reply {
            Some(reply) => drop(decision.refuse(reply)),
            None => decision.reject(),
        }
        if asks_once {
            return;
        }
    }
}

fn begin(served: &mut Connection) {
    let connection = served.connection();
    let channel = connection.tls().map_or_else(sasl::Channel::clear, tls::Facts::channel);
    let mut nonce: sasl::Nonce = [0; 24];
    let random = getrandom::fill(&mut nonce).is_ok();
    let begun = connection.authentication().filter(|_| random).map(|open| open.begin(&channel, nonce));
    if !matches!(begun, Some(Ok(()))) {
        if let (Some(open), Some(code)) = (connection.authentication(), Code::new(454)) {
            if let Ok(reply) = Reply::new(code, "4.7.0 Not now") {
                let _ = open.refuse(&reply);
            }
        }
    }
}
