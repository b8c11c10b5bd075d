//! The phases of a session, as limits, errors and transcripts name them.

use proxy_proto::Phase;

/// Looking up the server's or a proxy's name (adapters).
pub const RESOLVE: Phase = Phase::named("resolve");
/// Opening the TCP connection (adapters).
pub const CONNECT: Phase = Phase::named("connect");
/// The TLS handshake, with the server or with a proxy.
pub const TLS: Phase = Phase::named("TLS handshake");
/// The server's first word (RFC 5321 section 3.1).
pub const GREETING: Phase = Phase::named("greeting");
/// EHLO, or HELO where EHLO is refused (RFC 5321 section 4.1.1.1).
pub const EHLO: Phase = Phase::named("EHLO");
/// STARTTLS, up to its reply (RFC 3207).
pub const STARTTLS: Phase = Phase::named("STARTTLS");
/// AUTH, with all its challenges (RFC 4954).
pub const AUTH: Phase = Phase::named("AUTH");
/// MAIL (RFC 5321 section 4.1.1.2).
pub const MAIL: Phase = Phase::named("MAIL");
/// RCPT (RFC 5321 section 4.1.1.3).
pub const RCPT: Phase = Phase::named("RCPT");
/// DATA, up to its 354 (RFC 5321 section 4.1.1.4).
pub const DATA: Phase = Phase::named("DATA");
/// The message itself, while it goes out.
pub const BLOCK: Phase = Phase::named("data block");
/// The wait for the reply to the final dot.
pub const MESSAGE: Phase = Phase::named("final dot");
/// RSET (RFC 5321 section 4.1.1.5).
pub const RSET: Phase = Phase::named("RSET");
/// A command of the caller's own.
pub const COMMAND: Phase = Phase::named("command");
/// QUIT (RFC 5321 section 4.1.1.10).
pub const QUIT: Phase = Phase::named("QUIT");
/// The session is open, and nothing is under way.
pub const IDLE: Phase = Phase::named("idle");
