//! Sessions and races without an adapter: turn by turn, in memory and in virtual time.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smtp_proto::client::{Envelope, Outcome, Report};
use smtp_proto::command::Command;
use smtp_proto::dial::{Dialer, Policy, Why};
use smtp_proto::session::{
    Did, Error, FAREWELL, Fitness, Next, Once, OpenMessage, Race, Reuse, Session, Source, Step, Task, is_lost_in_vain,
};
use smtp_proto::{Cause, Config, Instant, Misuse, Route, Security};

type Octets = &'static [u8];
type Failed = Error<&'static str>;

const NOW: Instant = Instant::EPOCH;

fn at(millis: u64) -> Instant {
    Instant::from_epoch(Duration::from_millis(millis))
}

/// A server that takes everything, but what it was told to refuse.
struct Server {
    offer: &'static str,
    /// A command that is answered otherwise, and how.
    refuse: (&'static str, &'static str),
    heard: String,
    in_message: bool,
    said: Vec<u8>,
}

impl Server {
    fn new(offer: &'static str) -> Self {
        let said = b"220 mx.example.org\r\n".to_vec();
        Self { offer, refuse: ("nothing", ""), heard: String::new(), in_message: false, said }
    }

    fn hear(&mut self, octets: &[u8]) {
        self.heard.push_str(std::str::from_utf8(octets).unwrap());
        while let Some(end) = self.heard.find("\r\n") {
            let line: String = self.heard.drain(..end + 2).collect();
            let line = line.trim_end();
            let reply = match line {
                "." if self.refuse.0 != "." => "250 taken",
                _ if self.in_message && line != "." => continue,
                _ if line.starts_with(self.refuse.0) => self.refuse.1,
                "DATA" => "354 go",
                "QUIT" => "221 bye",
                _ if line.starts_with("EHLO") => self.offer,
                _ => "250 ok",
            };
            self.in_message = reply == "354 go";
            self.said.extend([reply.as_bytes(), b"\r\n"].concat());
        }
    }
}

fn session() -> Session<&'static str> {
    Session::new(&config(), Route::direct()).unwrap()
}

fn config() -> Config {
    Config::new("mx.example.org", 25).security(Security::None).helo("client.example.org")
}

fn fill(source: &mut Source<Octets, &'static str>) {
    // What is read is nobody's business.
    let shown = format!("{source:?}");
    assert!(shown.contains("taken") && !shown.contains("hello") && !shown.contains("secret"), "{shown}");
    source.fill(|from, into| {
        let n = from.len().min(into.len());
        into[..n].copy_from_slice(&from[..n]);
        *from = &from[n..];
        Ok(n)
    });
}

/// One turn of a session with a server.
fn take_turn(session: &mut Session<&'static str>, server: &mut Server) {
    let turn = session.turn(NOW);
    let did = if !turn.write.is_empty() {
        server.hear(turn.write);
        Did::Wrote(Ok(turn.write.len()))
    } else if turn.flush {
        Did::Flushed(Ok(()))
    } else if turn.close {
        Did::Closed
    } else {
        let n = server.said.len().min(turn.read.len());
        assert!(n > 0, "both ends wait");
        turn.read[..n].copy_from_slice(&server.said[..n]);
        server.said.drain(..n);
        Did::Read(Ok(n))
    };
    session.did(did);
}

fn run<T>(
    session: &mut Session<&'static str>,
    server: &mut Server,
    task: &mut impl Task<&'static str, Outcome = T, From = Octets>,
) -> Result<T, Failed> {
    for _ in 0..1000 {
        match session.step(NOW, task) {
            Step::Done(outcome) => return Ok(outcome),
            Step::Failed(error) => return Err(error),
            Step::Turn(Some(source)) => fill(source),
            Step::Turn(None) => {}
        }
        take_turn_if_any(session, server);
    }
    panic!("it comes to no end")
}

fn take_turn_if_any(session: &mut Session<&'static str>, server: &mut Server) {
    let turn = session.turn(NOW);
    if !turn.write.is_empty() || turn.flush || turn.close || !(server.said.is_empty() || turn.read.is_empty()) {
        take_turn(session, server);
    }
}

fn opened(server: &mut Server) -> Session<&'static str> {
    let mut session = session();
    let mut ready = session.ready();
    run(&mut session, server, &mut ready).unwrap();
    session
}

fn told(report: &Report) -> Vec<(&str, bool, bool)> {
    let outcome = |one: &Outcome| (matches!(one, Outcome::Accepted(_)), one.is_not_sent());
    report.recipients.iter().map(|one| (one.path.as_str(), outcome(&one.outcome).0, outcome(&one.outcome).1)).collect()
}

const THREE: [&str; 3] = ["a@example.net", "b@example.net", "c@example.net"];

#[test]
fn a_part_that_cannot_be_begun_is_told_of_as_not_sent() {
    // The server takes one recipient a transaction (RFC 9422), and one transaction or two a connection.
    for (offer, accepted) in [
        ("250-mx\r\n250 LIMITS RCPTMAX=1 MAILMAX=1", 1),
        ("250-mx\r\n250 LIMITS RCPTMAX=1 MAILMAX=2", 2),
        ("250-mx\r\n250 LIMITS RCPTMAX=1", 3),
    ] {
        let mut server = Server::new(offer);
        let mut session = opened(&mut server);
        let message = || -> Result<Octets, &'static str> { Ok(b"hello\r\n") };
        let mut task = session.send(NOW, Envelope::new("s@example.org", THREE).unwrap(), message).unwrap();
        let report = run(&mut session, &mut server, &mut task).unwrap().unwrap();
        let expected: Vec<_> = THREE.iter().enumerate().map(|(n, to)| (*to, n < accepted, n >= accepted)).collect();
        assert_eq!(told(&report), expected, "{offer}");
        assert_eq!(report.is_accepted(), accepted == 3);
    }
}

#[test]
fn a_message_that_cannot_be_opened_again_is_told_of_for_those_it_did_not_reach() {
    let mut server = Server::new("250-mx\r\n250 LIMITS RCPTMAX=1");
    let mut session = opened(&mut server);
    let mut times = 0;
    let message = move || -> Result<Octets, &'static str> {
        times += 1;
        if times == 2 { Err("gone") } else { Ok(b"hello\r\n") }
    };
    let mut task = session.send(NOW, Envelope::new("s@example.org", THREE).unwrap(), message).unwrap();
    let report = run(&mut session, &mut server, &mut task).unwrap().unwrap();
    assert_eq!(told(&report), [(THREE[0], true, false), (THREE[1], false, true), (THREE[2], false, true)]);
}

/// Says that it can be opened again, and cannot.
struct Boastful(Option<Octets>);

impl OpenMessage<&'static str> for Boastful {
    type From = Octets;

    fn open(&mut self) -> Option<Result<Octets, &'static str>> {
        self.0.take().map(Ok)
    }

    fn reopens(&self) -> bool {
        true
    }
}

#[test]
fn a_message_that_does_not_open_though_it_said_so_is_told_of_too() {
    let mut server = Server::new("250-mx\r\n250 LIMITS RCPTMAX=2");
    let mut session = opened(&mut server);
    let message = Boastful(Some(b"hello\r\n"));
    let mut task = session.send(NOW, Envelope::new("s@example.org", THREE).unwrap(), message).unwrap();
    let report = run(&mut session, &mut server, &mut task).unwrap().unwrap();
    assert_eq!(told(&report), [(THREE[0], true, false), (THREE[1], true, false), (THREE[2], false, true)]);
    // One that never opens is a slip, and is told at once.
    let mut task = session.send(NOW, Envelope::new("s@example.org", THREE).unwrap(), Boastful(None)).unwrap();
    let outcome = run(&mut session, &mut server, &mut task).unwrap();
    assert!(matches!(outcome, Err(Error::Misuse(Misuse::Empty { .. }))), "{outcome:?}");
}

#[test]
fn whom_a_server_that_closes_amid_the_parts_leaves_out_is_told_as_not_sent() {
    let mut server = Server::new("250-mx\r\n250 LIMITS RCPTMAX=1");
    server.refuse = ("RCPT TO:<b@", "421 4.3.2 going down");
    let mut session = opened(&mut server);
    let message = || -> Result<Octets, &'static str> { Ok(b"hello\r\n") };
    let mut task = session.send(NOW, Envelope::new("s@example.org", THREE).unwrap(), message).unwrap();
    let report = run(&mut session, &mut server, &mut task).unwrap().unwrap();
    let told: Vec<_> = told(&report).into_iter().map(|(to, accepted, _)| (to, accepted)).collect();
    assert_eq!(told, [(THREE[0], true), (THREE[1], false), (THREE[2], false)]);
    assert!(report.recipients[2].outcome.is_not_sent());
}

#[test]
fn a_watcher_sees_a_message_grow_and_debug_shows_none_of_it() {
    let mut server = Server::new("250 mx");
    let mut session = opened(&mut server);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    session.watch(move |progress| kept.lock().unwrap().push(progress));
    let message: Octets = b"a secret\r\n";
    let envelope = Envelope::new("s@example.org", ["a@example.net"]).unwrap().size(message.len() as u64);
    let mut task = session.send(NOW, envelope, Once::new(message)).unwrap();
    let before = format!("{task:?} {session:?}");
    assert!(!before.contains("secret"), "{before}");
    assert!(run(&mut session, &mut server, &mut task).unwrap().unwrap().is_accepted());
    let seen = seen.lock().unwrap();
    assert_eq!(seen.last().map(|one| (one.taken, one.total)), Some((10, Some(10))));
    assert!(seen.windows(2).all(|two| two[0].taken < two[1].taken));
}

#[test]
fn behind_quit_a_task_is_told_that_nothing_is_open() {
    let mut server = Server::new("250 mx");
    let mut session = opened(&mut server);
    let mut ready = session.ready();
    assert_eq!(run(&mut session, &mut server, &mut ready).ok(), Some(()), "it is so already");
    let mut quit = session.quit(NOW).unwrap();
    run(&mut session, &mut server, &mut quit).unwrap();
    let command = session.command(NOW, Command::noop());
    assert!(matches!(command, Err(Error::Misuse(Misuse::NotOpen))), "{command:?}");
    assert_eq!(session.fitness(NOW, &Reuse::default()), Fitness::Over);
}

#[test]
fn who_leaves_says_quit_where_it_may_and_waits_for_nobody() {
    // A reply is due, or none is; QUIT is no answer to anything, and is not said behind a command that is not answered.
    for waiting in [false, true] {
        let mut server = Server::new("250 mx");
        let mut session = opened(&mut server);
        if waiting {
            let mut command = session.command(NOW, Command::noop()).unwrap();
            assert!(matches!(session.step(NOW, &mut command), Step::Turn(None)));
            let said = session.turn(NOW).write.len();
            session.did(Did::Wrote(Ok(said)));
        }
        let mut quit = session.leave(NOW);
        let within = NOW.after(FAREWELL);
        let (mut said, mut closed) = (Vec::new(), false);
        for _ in 0..10 {
            if let Step::Done(()) = session.step(NOW, &mut quit) {
                break;
            }
            let turn = session.turn(NOW);
            assert!(turn.deadline.is_some_and(|due| due <= within), "{turn:?}");
            let did = if !turn.write.is_empty() {
                said.extend_from_slice(turn.write);
                Did::Wrote(Ok(turn.write.len()))
            } else if turn.flush {
                Did::Flushed(Ok(()))
            } else {
                assert!(turn.close, "there is nothing to wait for");
                closed = true;
                Did::Closed
            };
            session.did(did);
        }
        assert!(closed && matches!(session.step(NOW, &mut quit), Step::Done(())));
        assert_eq!(said, if waiting { &b""[..] } else { b"QUIT\r\n" });
    }
}

#[test]
fn a_task_that_was_asked_for_before_the_goodbye_is_told_that_nothing_is_open() {
    let mut server = Server::new("250 mx");
    let mut session = opened(&mut server);
    let mut command = session.command(NOW, Command::noop()).unwrap();
    session.leave(NOW);
    let outcome = run(&mut session, &mut server, &mut command);
    assert!(matches!(outcome, Err(Error::Misuse(Misuse::NotOpen))), "{outcome:?}");
}

#[test]
fn a_write_of_nothing_is_a_failed_write_and_a_close_that_nobody_asked_for_means_nothing() {
    let mut session = session();
    let mut ready = session.ready();
    assert!(matches!(session.step(NOW, &mut ready), Step::Turn(None)));
    session.did(Did::Closed);
    assert!(matches!(session.step(NOW, &mut ready), Step::Turn(None)));
    let n = {
        let turn = session.turn(NOW);
        let greeting = b"220 mx\r\n";
        turn.read[..greeting.len()].copy_from_slice(greeting);
        greeting.len()
    };
    session.did(Did::Read(Ok(n)));
    assert!(matches!(session.step(NOW, &mut ready), Step::Turn(None)));
    assert!(session.turn(NOW).write.starts_with(b"EHLO "));
    session.did(Did::Wrote(Ok(0)));
    // What the server said before is still read, and there is nothing more.
    assert!(matches!(session.step(NOW, &mut ready), Step::Turn(None)));
    session.did(Did::Read(Ok(0)));
    assert!(matches!(session.step(NOW, &mut ready), Step::Turn(None)), "it parts");
    let failed = match session.step(at(60_000), &mut ready) {
        Step::Failed(error) => Some(error),
        _ => None,
    };
    let Some(Error::Session { error, .. }) = failed else { panic!("{failed:?}") };
    assert!(matches!(error.cause, Cause::Closed { .. }), "{error}");
}

#[test]
fn what_was_answered_to_a_task_that_was_left_is_nobodys() {
    let mut server = Server::new("250 mx");
    let mut session = opened(&mut server);
    let mut left = session.command(NOW, Command::noop()).unwrap();
    assert!(matches!(session.step(NOW, &mut left), Step::Turn(None)));
    // Its words leave, and the answer is there, when the next is asked for.
    while !session.turn(NOW).write.is_empty() || session.turn(NOW).flush {
        take_turn(&mut session, &mut server);
    }
    take_turn(&mut session, &mut server);
    server.refuse = ("VRFY", "252 perhaps");
    let mut next = session.command(NOW, Command::vrfy("somebody").unwrap()).unwrap();
    let reply = run(&mut session, &mut server, &mut next).unwrap().unwrap();
    assert_eq!(reply.code().number(), 252);
}

#[test]
fn lost_in_vain_is_a_message_that_nobody_can_have() {
    // Where the server stops, and with which words; `None`, with none.
    for (stop, words, vain) in [
        ("MAIL", Some("421 4.3.2 going down"), true),
        ("RCPT", Some("421 4.3.2 going down"), true),
        ("DATA", Some("421 4.3.2 going down"), true),
        (".", Some("421 4.3.2 going down"), false),
        ("MAIL", Some("451 4.3.0 later"), false),
        ("RCPT", Some("550 5.1.1 nobody"), false),
        ("MAIL", None, true),
        ("RCPT", None, true),
        ("DATA", None, true),
        (".", None, false),
    ] {
        let mut server = Server::new("250 mx");
        server.refuse = (stop, words.unwrap_or_default());
        let mut session = opened(&mut server);
        let message: Octets = b"hello\r\n";
        let envelope = Envelope::new("s@example.org", ["a@example.net"]).unwrap();
        let mut task = session.send(NOW, envelope, Once::new(message)).unwrap();
        let mut report = None;
        for _ in 0..100 {
            match session.step(NOW, &mut task) {
                Step::Done(outcome) => {
                    report = Some(outcome.unwrap());
                    break;
                }
                Step::Failed(error) => panic!("{stop}: {error}"),
                Step::Turn(Some(source)) => fill(source),
                Step::Turn(None) => {}
            }
            // An answer without words is the end of the stream.
            let silent = words.is_none() && server.said == b"\r\n";
            match silent && session.turn(NOW).write.is_empty() && !session.turn(NOW).flush {
                true => session.did(Did::Read(Ok(0))),
                false => take_turn_if_any(&mut session, &mut server),
            }
        }
        let report = report.expect("an outcome");
        assert!(!report.is_accepted());
        assert_eq!(is_lost_in_vain(&report), vain, "{stop} {words:?}: {report}");
    }
}

#[test]
fn debug_of_a_link_shows_how_it_stands_and_no_octet() {
    use smtp_proto::session::Link;
    let connection = smtp_proto::Connection::new(config(), Route::direct()).unwrap();
    let mut link: Link<_, &str> = Link::new(connection);
    assert_eq!(format!("{link:?}"), "Link { parting: false, .. }");
    link.leave(NOW);
    assert_eq!(format!("{link:?}"), "Link { parting: true, .. }");
}

// --- Races.

type Racers = Race<&'static str, &'static str>;

fn race(config: Config) -> Racers {
    let policy = Policy { stagger: Duration::from_millis(250), ..Policy::default() };
    Race::new(Dialer::new(config, policy).unwrap())
}

fn addresses(all: [&str; 2]) -> Vec<IpAddr> {
    all.iter().map(|one| one.parse().unwrap()).collect()
}

fn connect(race: &mut Racers, now: Instant) -> smtp_proto::dial::Id {
    match race.next(now) {
        Next::Connect { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

/// Lets a runner read this, and write what it has to say.
fn talk(race: &mut Racers, now: Instant, who: smtp_proto::dial::Id, reply: &[u8]) {
    let dids = {
        let (_, _, turn) = race.runners(now).find(|(id, ..)| *id == who).expect("a runner");
        turn.read[..reply.len()].copy_from_slice(reply);
        [Did::Wrote(Ok(turn.write.len())), Did::Read(Ok(reply.len()))]
    };
    let [wrote, read] = dids;
    if !matches!(wrote, Did::Wrote(Ok(0))) {
        race.did(who, wrote);
    }
    race.did(who, read);
}

#[test]
fn who_is_ready_first_wins_and_the_others_are_let_go() {
    // The second has a stream, or is still waiting for one.
    for open in [false, true] {
        let mut race = race(config());
        assert!(matches!(race.next(at(0)), Next::Resolve { name, .. } if name == "mx.example.org"));
        race.found(at(0), "mx.example.org", Ok(addresses(["192.0.2.1", "192.0.2.2"])));
        let first = connect(&mut race, at(0));
        assert!(matches!(race.next(at(0)), Next::Wait(Some(_))));
        let second = connect(&mut race, at(250));
        race.connected(at(260), first, Ok(("first", None)));
        if open {
            race.connected(at(260), second, Ok(("second", Some("192.0.2.77".parse().unwrap()))));
        }
        let shown = format!("{race:?}");
        assert!(shown.contains(if open { "running: 2" } else { "opening: 1, running: 1" }), "{shown}");
        assert!(matches!(race.next(at(260)), Next::Wait(Some(_))));
        talk(&mut race, at(300), first, b"220 mx\r\n");
        assert!(matches!(race.next(at(300)), Next::Wait(Some(_))));
        talk(&mut race, at(340), first, b"250 mx\r\n");
        match race.next(at(340)) {
            Next::Forget(id) => assert!(id == second && !open),
            Next::Leave(_, stream) => assert!(stream == "second" && open),
            other => panic!("{other:?}"),
        }
        assert!(matches!(race.next(at(340)), Next::Won(_, "first", _)));
    }
}

#[test]
fn a_watcher_sees_who_failed_and_all_that_failed_is_told() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let mut race = race(config()).watch(move |id, connection| {
        kept.lock().unwrap().push((id, connection.greeting().map(|reply| reply.code().number())));
    });
    assert!(matches!(race.next(at(0)), Next::Resolve { .. }));
    race.found(at(0), "mx.example.org", Ok(addresses(["192.0.2.1", "192.0.2.2"])));
    let first = connect(&mut race, at(0));
    race.connected(at(10), first, Err("refused"));
    let second = connect(&mut race, at(10));
    race.connected(at(20), second, Ok(("second", None)));
    assert!(matches!(race.next(at(20)), Next::Wait(_)));
    talk(&mut race, at(30), second, b"554 no service\r\n");
    let failure = loop {
        match race.next(at(10_000)) {
            Next::Lost(failure) => break failure,
            Next::Wait(_) => {
                let ids: Vec<_> = race.runners(at(10_000)).map(|(id, ..)| id).collect();
                ids.into_iter().for_each(|id| race.did(id, Did::Read(Ok(0))));
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(seen.lock().unwrap()[..], [(second, Some(554))]);
    assert!(matches!(failure.attempts[0].why, Why::Connect("refused")));
    let error = Error::Dial(failure);
    assert!(matches!(error.session().map(|error| &error.cause), Some(Cause::Refused(_))), "{error}");
}
