//! What one connection brings.
//!
//! The rules of this file: a message is told of once, when its last octet has come and it was accepted. Nonces are counted.

use std::string::String;
use std::sync::atomic::{AtomicU64, Ordering};
use std::vec::Vec;

use super::policy::{Policy, reply};
use crate::Accepted;
use crate::command::{ForwardPath, ReversePath};
use crate::parameter::{MailParameters, RcptParameters};
use crate::reply::Reply;
use crate::sasl::server::Answer;
use crate::server::{Event, Identity};
use crate::tls::Facts;

/// A message that was accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Received {
    /// MAIL's path.
    pub from: ReversePath,
    /// MAIL's parameters.
    pub parameters: MailParameters,
    /// The accepted recipients, with RCPT's parameters.
    pub recipients: Vec<(ForwardPath, RcptParameters)>,
    /// What the client called itself.
    pub helo: String,
    /// What TLS agreed on, where there was TLS.
    pub tls: Option<Facts>,
    /// Who has authenticated.
    pub identity: Option<Identity>,
    /// The message's octets, unstuffed.
    pub octets: Vec<u8>,
}

impl Received {
    /// The message as text, for comparisons; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.octets).into_owned()
    }

    /// The addresses of the accepted recipients.
    pub fn to(&self) -> Vec<&str> {
        self.recipients.iter().map(|(path, _)| path.as_str()).collect()
    }

    /// The name of the user who has authenticated.
    pub fn user(&self) -> Option<&str> {
        self.identity.as_ref().map(|identity| identity.user.as_str())
    }
}

/// One connection's part in it: answers what the machine asks.
pub struct Attendant {
    policy: Policy,
    message: Option<Received>,
}

impl Attendant {
    /// For one connection.
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, message: None }
    }

    /// Answers one event, every question that it brings; gives a message where that was its end and it was accepted.
    ///
    /// Where this is wanted, each event of [`Accepted::poll`] goes through here.
    pub fn attend(&mut self, connection: &mut Accepted, event: Event) -> Option<Received> {
        match event {
            Event::Mail { from, parameters } => self.mail(connection, from, parameters),
            Event::Recipient { to, parameters } => {
                let refused = self.policy.refused.iter().find(|(one, _)| one.eq_ignore_ascii_case(to.as_str()));
                match refused {
                    Some((_, reply)) => refuse(connection, reply),
                    None => self.message.as_mut().map_or((), |message| message.recipients.push((to, parameters))),
                }
            }
            Event::Content { octets, last } => {
                if let Some(message) = &mut self.message {
                    message.octets.extend_from_slice(&octets);
                }
                if last {
                    return self.complete(connection);
                }
            }
            Event::Abandoned(_) => self.message = None,
            Event::Authenticate { .. } => begin(connection),
            Event::Credentials(asked) => {
                let answer = self.policy.answer(&asked);
                let answered = connection.credentials().map(|question| question.answer(answer));
                if !matches!(answered, Some(Ok(()))) {
                    // The mechanism cannot take such an answer; a refusal it always can.
                    let _ = connection.credentials().map(|question| question.answer(Answer::Refuse));
                }
            }
            _ => {}
        }
        while let Some(decision) = connection.decision() {
            decision.accept();
        }
        None
    }

    fn mail(&mut self, connection: &mut Accepted, from: ReversePath, parameters: MailParameters) {
        let session = connection.session();
        let identity = session.identity().cloned();
        if self.policy.requires_auth && identity.is_none() {
            return refuse(connection, &reply(530, "5.7.0 Authentication required"));
        }
        let helo = session.helo().unwrap_or_default().to_string();
        let tls = connection.tls().cloned();
        self.message =
            Some(Received { from, parameters, recipients: Vec::new(), helo, tls, identity, octets: Vec::new() });
    }

    /// Settles a message that is complete; in LMTP for each recipient.
    fn complete(&mut self, connection: &mut Accepted) -> Option<Received> {
        let message = self.message.take();
        while let Some(decision) = connection.decision() {
            match &self.policy.message {
                Some(reply) => {
                    if decision.refuse(reply).is_err() {
                        let _ = connection.decision().map(|decision| decision.reject());
                    }
                }
                None => decision.accept(),
            }
        }
        message.filter(|_| self.policy.message.is_none())
    }
}

fn refuse(connection: &mut Accepted, reply: &Reply) {
    let refused = connection.decision().map(|decision| decision.refuse(reply));
    if matches!(refused, Some(Err(_))) {
        // A reply that is no refusal was given for one: it is meant as one all the same.
        let _ = connection.decision().map(|decision| decision.reject());
    }
}

fn begin(connection: &mut Accepted) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut nonce = [0x5a; 24];
    nonce[..8].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let channel = connection.tls().map_or_else(crate::sasl::Channel::clear, Facts::channel);
    let begun = connection.authentication().map(|question| question.begin(&channel, nonce));
    if !matches!(begun, Some(Ok(()))) {
        let _ = connection.authentication().map(|question| question.refuse(&reply(454, "4.7.0 Not now")));
    }
}
