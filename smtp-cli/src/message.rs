//! The messages to be sent: files as they are, standard input, or one that is built.
//!
//! The rules of this file: files are opened and looked through before anything is connected to, so that a missing one costs
//! no session and the server is told what it must know; none is held in memory; what cannot be read twice is put into a
//! temporary file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use mail_builder::MessageBuilder;
use smtp_proto::body::Survey;
use smtp_proto::client::{BodyKind, Envelope};
use tokio::io::{AsyncRead, ReadBuf};

use crate::failure::Failure;

/// One message, which can be read as often as it is to be sent.
pub(crate) struct Message {
    kept: Kept,
    survey: Survey,
}

enum Kept {
    File(File),
    Memory(Vec<u8>),
}

impl Kept {
    fn read(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self {
            Self::File(file) => Box::new(Place::of(file)?),
            Self::Memory(message) => Box::new(&message[..]),
        })
    }
}

impl Message {
    /// Opens a file, or standard input where the name is `-`.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let fault = |error: io::Error| Failure::input(format_args!("{}: {error}", path.display()));
        if path.as_os_str() == "-" {
            return Self::spool(io::stdin().lock()).map_err(fault);
        }
        let file = File::open(path).map_err(fault)?;
        let facts = file.metadata().map_err(fault)?;
        if facts.is_dir() {
            return Err(Failure::input(format_args!("{}: this is a directory", path.display())));
        }
        // A pipe can be read but once.
        if facts.is_file() { Self::of(Kept::File(file)) } else { Self::spool(file) }.map_err(fault)
    }

    fn spool(mut from: impl Read) -> io::Result<Self> {
        let none =
            |error: io::Error| io::Error::new(error.kind(), format!("there is no temporary file for it: {error}"));
        let mut file = tempfile::tempfile().map_err(none)?;
        io::copy(&mut from, &mut file)?;
        Self::of(Kept::File(file))
    }

    /// Looks the message through: what it is made of decides what the server must be told.
    fn of(kept: Kept) -> io::Result<Self> {
        let mut survey = Survey::default();
        let mut from = kept.read()?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => survey.write(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        drop(from);
        Ok(Self { kept, survey })
    }

    /// A message of these parts.
    pub(crate) fn build(from: &str, to: &[String], subject: &str, body: &str) -> Result<Self, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let domain = from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| Failure::input(format_args!("no randomness: {error}")))?;
        let id = format!("{}.{:016x}@{domain}", now.as_micros(), u64::from_ne_bytes(random));
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let message = MessageBuilder::new()
            .message_id(id)
            .from(from)
            .to(to)
            .subject(subject)
            .text_body(body)
            .write_to_vec()
            .map_err(|error| Failure::input(format_args!("the message cannot be built: {error}")))?;
        Self::of(Kept::Memory(message)).map_err(|error| Failure::input(format_args!("the message: {error}")))
    }

    /// The length.
    pub(crate) fn octets(&self) -> u64 {
        self.survey.octets()
    }

    /// The envelope, with what the server must be told of this message.
    pub(crate) fn declare(&self, envelope: Envelope) -> Envelope {
        let envelope = envelope.size(self.octets());
        // A line of more than 998 octets would need BINARYMIME by the letter; everybody carries it, and few offer that.
        let envelope = if self.survey.has_eight_bit() { envelope.body(BodyKind::EightBitMime) } else { envelope };
        if self.survey.has_eight_bit_header() { envelope.smtputf8() } else { envelope }
    }

    /// The message from its beginning.
    pub(crate) fn read(&self) -> io::Result<Box<dyn Read + '_>> {
        self.kept.read()
    }

    /// The same for tokio.
    pub(crate) fn read_tokio(&self) -> io::Result<Box<dyn AsyncRead + Unpin + '_>> {
        Ok(match &self.kept {
            Kept::File(file) => Box::new(Place::of(file)?),
            Kept::Memory(message) => Box::new(&message[..]),
        })
    }

    /// The same for async-std.
    pub(crate) fn read_async_std(&self) -> io::Result<Box<dyn futures_io::AsyncRead + Unpin + '_>> {
        Ok(match &self.kept {
            Kept::File(file) => Box::new(Place::of(file)?),
            Kept::Memory(message) => Box::new(&message[..]),
        })
    }
}

/// A place in a regular file. Several messages may be read from one file, each in its own place; handles share one.
struct Place {
    file: File,
    at: u64,
}

impl Place {
    fn of(file: &File) -> io::Result<Self> {
        Ok(Self { file: file.try_clone()?, at: 0 })
    }
}

impl Read for Place {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.seek(SeekFrom::Start(self.at))?;
        let read = self.file.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl futures_io::AsyncRead for Place {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.read(buffer))
    }
}

impl AsyncRead for Place {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self.read(buffer.initialize_unfilled())?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn text(message: &Message) -> String {
        let mut text = String::new();
        message.read().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_file_is_read_from_its_beginning_each_time() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"A: b\n\nc\n").unwrap();
        let message = Message::open(file.path()).unwrap();
        assert_eq!(message.octets(), 8);
        // One begins before the other is through.
        let mut begun = message.read().unwrap();
        begun.read_exact(&mut [0; 3]).unwrap();
        assert_eq!(text(&message), "A: b\n\nc\n");
        let mut rest = String::new();
        begun.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "b\n\nc\n");
        assert_eq!(text(&message), "A: b\n\nc\n");
    }

    #[test]
    fn what_is_spooled_can_be_read_again() {
        let message = Message::spool(&b"A: b\n"[..]).unwrap();
        assert_eq!((text(&message), text(&message)), ("A: b\n".into(), "A: b\n".into()));
    }

    #[test]
    fn a_missing_file_and_a_directory_are_no_input() {
        for path in ["/nonexistent/message", "/"] {
            assert_eq!(Message::open(Path::new(path)).err().unwrap().status, crate::failure::status::INPUT);
        }
    }

    #[test]
    fn a_built_message_has_what_a_message_needs() {
        let message = Message::build("a@b.example", &["c@d.example".into()], "Grüße", "Hello.\n.\n").unwrap();
        let text = text(&message);
        for field in ["Date: ", "Message-ID: <", "From: <a@b.example>", "To: <c@d.example>", "Subject: =?"] {
            assert!(text.contains(field), "{field} in {text}");
        }
        assert!(text.is_ascii());
    }
}
