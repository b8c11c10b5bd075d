//! A message as it arrives: its envelope, the beginning of its content, and the file it is kept in.
//!
//! The rules of this file: what is held in memory is bounded; a stored message is written aside and gets its name when it
//! is complete, the content first, so that whoever sees the envelope finds the message.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use smtp_proto::Accepted;
use smtp_proto::command::{ForwardPath, Parameter, ReversePath};
use smtp_proto::parameter::{MailParameters, RcptParameters};
use tempfile::NamedTempFile;

/// What is kept of the content in memory: the headers, and short messages as a whole.
const HEAD: usize = 64 * 1024;

/// A header field.
#[derive(Serialize)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// The envelope of a message, and what is known of its session.
#[derive(Serialize)]
pub(crate) struct Arrived {
    pub(crate) from: String,
    pub(crate) parameters: Vec<String>,
    pub(crate) recipients: Vec<To>,
    pub(crate) peer: String,
    pub(crate) helo: Option<String>,
    pub(crate) tls: Option<String>,
    pub(crate) cipher: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) mechanism: Option<String>,
    pub(crate) octets: u64,
    pub(crate) headers: Vec<Field>,
    /// Where it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<PathBuf>,
    #[serde(skip)]
    pub(crate) head: Vec<u8>,
}

#[derive(Serialize)]
pub(crate) struct To {
    pub(crate) address: String,
    pub(crate) parameters: Vec<String>,
}

/// A message on its way in.
pub(crate) struct Draft {
    arrived: Arrived,
    file: io::Result<Option<NamedTempFile>>,
    store: Option<PathBuf>,
}

impl Draft {
    pub(crate) fn new(
        peer: SocketAddr,
        connection: &Accepted,
        from: &ReversePath,
        parameters: &MailParameters,
    ) -> Self {
        let (session, tls) = (connection.session(), connection.tls());
        let arrived = Arrived {
            from: from.as_str().into(),
            parameters: parameters.raw().iter().map(text).collect(),
            recipients: Vec::new(),
            peer: peer.to_string(),
            helo: session.helo().map(Into::into),
            tls: tls.map(|facts| facts.version.clone()),
            cipher: tls.map(|facts| facts.cipher.clone()),
            user: session.user().map(Into::into),
            mechanism: session.identity().map(|identity| identity.mechanism.to_string()),
            octets: 0,
            headers: Vec::new(),
            file: None,
            head: Vec::new(),
        };
        Self { arrived, file: Ok(None), store: None }
    }

    pub(crate) fn recipient(&mut self, to: &ForwardPath, parameters: &RcptParameters) {
        let parameters = parameters.raw().iter().map(text).collect();
        self.arrived.recipients.push(To { address: to.as_str().into(), parameters });
    }

    /// Takes the next octets, and keeps them in `store`, where there is one.
    pub(crate) fn content(&mut self, octets: &[u8], store: Option<&Path>) {
        self.arrived.octets += octets.len() as u64;
        let room = HEAD - self.arrived.head.len();
        self.arrived.head.extend_from_slice(&octets[..octets.len().min(room)]);
        let Some(store) = store else { return };
        if let Ok(file @ None) = &mut self.file {
            self.store = Some(store.into());
            match part(store) {
                Ok(part) => *file = Some(part),
                Err(error) => self.file = Err(error),
            }
        }
        if let Ok(Some(file)) = &mut self.file {
            if let Err(error) = file.write_all(octets) {
                self.file = Err(error);
            }
        }
    }

    /// The message is complete: it gets its name.
    pub(crate) fn finish(self) -> io::Result<Arrived> {
        let mut arrived = self.arrived;
        arrived.headers = headers(&arrived.head);
        if let (Some(content), Some(store)) = (self.file?, self.store) {
            let name = name();
            let path = store.join(format!("{name}.eml"));
            arrived.file = Some(path.clone());
            content.persist(&path)?;
            let mut envelope = part(&store)?;
            serde_json::to_writer_pretty(&mut envelope, &arrived)?;
            envelope.write_all(b"\n")?;
            envelope.persist(store.join(format!("{name}.json")))?;
        }
        Ok(arrived)
    }
}

/// A file without a name of its own yet, for whoever may see the folder: temporary files are private otherwise.
fn part(store: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666)); // less what the umask takes
    }
    builder.tempfile_in(store)
}

fn text(parameter: &Parameter) -> String {
    match parameter.value() {
        Some(value) => format!("{}={value}", parameter.keyword()),
        None => parameter.keyword().into(),
    }
}

/// A name that sorts by time, and that no other process takes.
fn name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}.{:06}-{}-{count}", now.as_secs(), now.subsec_micros(), std::process::id())
}

/// The header fields of a message, unfolded.
fn headers(head: &[u8]) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for line in String::from_utf8_lossy(head).split("\r\n") {
        if line.is_empty() {
            break;
        }
        match (line.starts_with([' ', '\t']), fields.last_mut()) {
            (true, Some(field)) => field.value.push_str(line),
            _ => match line.split_once(':') {
                Some((name, value)) => {
                    fields.push(Field { name: name.trim_end().into(), value: value.trim_start().into() });
                }
                // Not a header any more, or never one.
                None => break,
            },
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_unfolded_and_end_at_the_empty_line() {
        let fields = headers(b"Subject: one\r\n two\r\nX-Empty:\r\n\r\nNo: header\r\n");
        let found: Vec<_> = fields.iter().map(|field| (field.name.as_str(), field.value.as_str())).collect();
        assert_eq!(found, [("Subject", "one two"), ("X-Empty", "")]);
        assert!(headers(b"just text\r\n").is_empty());
    }

    #[test]
    fn names_differ() {
        assert_ne!(name(), name());
    }
}
