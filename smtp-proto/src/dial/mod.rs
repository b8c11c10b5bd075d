//! The dialer: which address, which port and which security to try, when, and beside what.
//!
//! A [`Dialer`] knows no socket. It gives [orders](Order) with numbers, and is told what became of them:
//!
//! - [`Order::Resolve`]: look a name up; answer with [`Dialer::found`] and [`Dialer::looked_up`].
//! - [`Order::Open`]: connect to an address and drive the [`Connection`](crate::Connection) that
//!   [`Open::connection`] makes; tell [`Dialer::reached`] what it comes to, or [`Dialer::failed`].
//! - [`Order::Close`]: give it up politely: QUIT or a close alert, said once, and nobody waits for the answer.
//!
//! It is over when [`Dialer::won`] names a connection, which is ready then (greeted, secured, authenticated), or
//! [`Dialer::is_lost`], and [`Dialer::into_failure`] tells all that was tried.
//!
//! ```
//! use core::net::IpAddr;
//! use smtp_proto::dial::{Dialer, Mode, Order, Policy, Reached};
//! use smtp_proto::{Config, Instant};
//!
//! let now = Instant::EPOCH;
//! let mut dialer = Dialer::<String>::new(Config::any_port("mx.example.org"), Policy::default())?;
//! let Some(Order::Resolve { name, .. }) = dialer.poll(now) else { panic!() };
//! dialer.found(now, &name, &[IpAddr::from([192, 0, 2, 1])]);
//! dialer.looked_up(now, &name, Ok(()));
//! let Some(Order::Open(open)) = dialer.poll(now) else { panic!() };
//! assert_eq!(open.to.to_string(), "192.0.2.1:465");
//! assert!(dialer.poll(now).is_none(), "nothing more to do until the deadline");
//! assert_eq!(dialer.deadline().map(|deadline| deadline.at.since_epoch().as_millis()), Some(250));
//! // A socket was opened, and a connection driven over it:
//! dialer.reached(now, open.id, Reached::Ready(Mode::Implicit));
//! let (id, verdict) = dialer.won().expect("somebody is ready");
//! assert_eq!((id, verdict.to_string().as_str()), (open.id, "192.0.2.1:465/implicit"));
//! # Ok::<(), smtp_proto::Misuse>(())
//! ```
//!
//! # The rules
//!
//! - *Ports.* Where none is known: 465 with TLS first, then 587 with STARTTLS, then 25 ([`Policy::ports`], RFC 8314).
//! - *Addresses* alternate between families (RFC 8305 section 4), and all of them are tried on one port before the next
//!   port's turn.
//! - *Stagger.* The next attempt begins when nothing was heard of those under way for [`Policy::stagger`], or at once
//!   when one has failed. Every sign of life starts the stagger anew: who gets on is not raced, so nobody is
//!   authenticated twice for being slow.
//! - *Guesses.* With [`Security::Auto`](crate::Security::Auto), one guess is tried first: TLS on 465, listening
//!   elsewhere. When it is silent, the other is tried on a connection beside it. An answer in clear where TLS was
//!   spoken proves the other mode: it is tried at once, on a new connection, and once. What is proven ends what is
//!   guessed.
//! - *No downgrade.* Who is ready in clear wins only when nothing that would be secure on another port is on its way, so
//!   delaying packets gains nothing; see [`Mode`].
//! - *A refusal of credentials is final*: no other address or port is asked, as each refusal counts towards a lock-out.
//! - *Nothing is forgotten.* Every attempt that was in vain is in the [`Failure`].
//! - *Limits.* `resolve` and `connect` are watched here, the others by the connection; `operation` counts from the first
//!   [`Dialer::poll`], over all attempts.

mod attempt;
mod decide;
mod dialer;
mod lookup;
mod order;
mod place;
mod policy;
mod records;
mod verdict;

pub use attempt::{Attempt, Failure, Why};
pub use dialer::Dialer;
pub use order::{Id, Open, Order, Reached};
pub use policy::Policy;
pub use records::{MailExchange, NotOffered, Service, mail_exchangers, services};
pub use verdict::{Mode, Verdict};
