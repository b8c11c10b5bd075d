//! One message to more recipients than fit into one transaction, by every adapter: one report, and each has it once.

use std::io;

use smtp_blocking::test_util::{Policy, Server};
use smtp_proto::client::{Envelope, Outcome, Report};
use smtp_proto::reply::Code;
use smtp_proto::reply::Reply;
use smtp_proto::server::Limits;
use smtp_proto::{Config, Misuse};
use smtp_tokio::Error;

const MESSAGE: &[u8] = b"Subject: many\r\n\r\nHello.\r\n";

type Run = fn(&Config, &Envelope) -> Result<Report, Error>;

fn tokio(config: &Config, envelope: &Envelope) -> Result<Report, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut smtp = smtp_tokio::connect(config).await?;
        let report = smtp.send_from(envelope, || Ok(MESSAGE)).await?;
        smtp.quit().await?;
        Ok(report)
    })
}

fn blocking(config: &Config, envelope: &Envelope) -> Result<Report, Error> {
    let mut smtp = smtp_blocking::connect(config)?;
    let report = smtp.send_from(envelope, || Ok(MESSAGE))?;
    smtp.quit()?;
    Ok(report)
}

fn async_std(config: &Config, envelope: &Envelope) -> Result<Report, Error> {
    async_std::task::block_on(async {
        let mut smtp = smtp_async_std::connect(config).await?;
        let report = smtp.send_from(envelope, || Ok(MESSAGE)).await?;
        smtp.quit().await?;
        Ok(report)
    })
}

const ADAPTERS: [Run; 3] = [tokio, blocking, async_std];

/// A server that states how many it takes.
fn stating(most: usize) -> Policy {
    Policy::new().configure(move |config| {
        config.limits(Limits { recipients: most, ..Limits::default() }).with("LIMITS").expect("an extension")
    })
}

/// A server that takes so many recipients at a time, and does not say so before.
fn taking(most: usize) -> Policy {
    Policy::new().configure(move |config| config.limits(Limits { recipients: most, ..Limits::default() }))
}

fn envelope(count: usize) -> Envelope {
    Envelope::new("alice@example.org", (0..count).map(|at| format!("r{at}@example.net"))).unwrap()
}

#[test]
fn a_stated_limit_is_kept_and_the_reports_are_one() {
    for run in ADAPTERS {
        let server = Server::start(stating(3)).unwrap();
        let report = run(&server.client(), &envelope(8)).unwrap();
        assert!(report.is_accepted(), "{report:?}");
        let to: Vec<_> = report.recipients.iter().map(|one| one.path.as_str().to_owned()).collect();
        assert_eq!(to, (0..8).map(|at| format!("r{at}@example.net")).collect::<Vec<_>>());
        let received = server.take();
        assert_eq!(received.iter().map(|one| one.recipients.len()).collect::<Vec<_>>(), [3, 3, 2]);
        assert!(received.iter().all(|one| one.octets == MESSAGE));
    }
}

#[test]
fn whom_there_was_no_room_for_goes_in_a_further_transaction() {
    for run in ADAPTERS {
        let server = Server::start(taking(3)).unwrap();
        let report = run(&server.client(), &envelope(8)).unwrap();
        assert!(report.is_accepted(), "{report:?}");
        let received = server.take();
        assert_eq!(received.iter().map(|one| one.recipients.len()).sum::<usize>(), 8);
        assert!(received.iter().all(|one| one.recipients.len() <= 3 && one.octets == MESSAGE));
    }
}

#[test]
fn a_message_that_can_be_read_but_once_goes_once() {
    let server = Server::start(taking(3)).unwrap();
    let mut smtp = smtp_blocking::connect(&server.client()).unwrap();
    let report = smtp.send(&envelope(5), MESSAGE).unwrap();
    let accepted = |one: &Outcome| matches!(one, Outcome::Accepted(_));
    assert_eq!(report.recipients.iter().filter(|one| accepted(&one.outcome)).count(), 3);
    let deferred = |reply: &Reply| reply.code() == Code::new(452).unwrap();
    assert!(
        report.recipients[3..].iter().all(|one| matches!(&one.outcome, Outcome::Refused(reply) if deferred(reply)))
    );

    let server = Server::start(stating(3)).unwrap();
    let mut smtp = smtp_blocking::connect(&server.client()).unwrap();
    let refused = smtp.send(&envelope(5), MESSAGE).unwrap_err();
    assert!(matches!(refused, Error::Misuse(Misuse::TooManyRecipients { limit: 3 })), "{refused}");
}

#[test]
fn results_keep_the_order_of_messages_though_transactions_do_not() {
    let server = Server::start(taking(2)).unwrap();
    let mut smtp = smtp_blocking::connect(&server.client()).unwrap();
    let messages = [5, 1, 3].map(|count| (envelope(count), move || io::Result::Ok(MESSAGE)));
    let mut told = Vec::new();
    smtp.send_all_from(messages, |sent| told.push(sent.unwrap())).unwrap();
    assert_eq!(told.iter().map(|report| report.recipients.len()).collect::<Vec<_>>(), [5, 1, 3]);
    assert!(told.iter().all(Report::is_accepted), "{told:?}");
}

#[test]
fn a_message_that_cannot_be_opened_again_leaves_the_rest_told() {
    let server = Server::start(taking(2)).unwrap();
    let mut smtp = smtp_blocking::connect(&server.client()).unwrap();
    let mut opened = 0;
    let open = || {
        opened += 1;
        if opened == 1 { Ok(MESSAGE) } else { Err(io::ErrorKind::NotFound.into()) }
    };
    let report = smtp.send_from(&envelope(4), open).unwrap();
    let outcomes: Vec<_> = report.recipients.iter().map(|one| matches!(one.outcome, Outcome::Accepted(_))).collect();
    assert_eq!(outcomes, [true, true, false, false]);
    smtp.noop().unwrap();
}
