//! The fuzz target `sasl`: each mechanism, the client's side and the server's.

use smtp_proto::Secret;
use smtp_proto::sasl::server::{Answer, Event as Asked, ScramKeys};
use smtp_proto::sasl::{self, BindingKind, Channel, Credentials, MechanismName, ScramHash};

use super::control::{Control, turns};
use crate::laws;

/// Each mechanism, from both sides, keeps the laws; nobody is let in who has not proved it, and no server is believed.
pub fn sasl(input: &[u8]) {
    let (mut control, data) = Control::split(input);
    let names = MechanismName::BY_STRENGTH;
    let name = &names[usize::from(control.next()) % names.len()];
    let is_server = control.flag();
    let messages = turns(data);
    let channel = Channel::secured().binding(BindingKind::TlsExporter, vec![1; 32]).plus_offered(true);
    // A hostile server may ask for a second of work, and no more; that is its law, and not for here.
    if data.windows(2).any(|pair| pair == b"i=") && !data.windows(6).any(|part| part == b"i=4096") {
        return;
    }
    if !is_server {
        let all = [
            Credentials::password("tim", "secret"),
            Credentials::token("tim", "token"),
            Credentials::external(""),
            Credentials::anonymous("trace"),
        ];
        let credentials = all.iter().find(|one| one.drives(name)).expect("each mechanism is driven by something");
        let mut client = sasl::start(name, credentials, &channel, "mx.example.org", [7; 24]).expect("it fits");
        let trace = laws::run_messages(client.as_mut(), &messages, |_, _| {});
        let proves = name.as_str().starts_with("SCRAM") || *name == MechanismName::DigestMd5;
        assert!(!proves || trace.end.is_err(), "{name} is content with a server that cannot know");
        return;
    }
    if !sasl::server::is_available(name) {
        return;
    }
    let mut server = sasl::server::start(name, &channel, "mx.example.org", [9; 24]).expect("it fits");
    let trace = laws::run_messages(server.as_mut(), &messages, |server, event| {
        if matches!(event, None | Some(Asked::Authenticated { .. } | Asked::Refused)) {
            return;
        }
        let answered = match name.as_str() {
            "CRAM-MD5" => server.answer(Answer::Password(Secret::from("not to be guessed"))),
            scram if scram.starts_with("SCRAM") => {
                let hash = match scram {
                    name if name.contains("512") => ScramHash::Sha512,
                    name if name.contains("256") => ScramHash::Sha256,
                    _ => ScramHash::Sha1,
                };
                let keys = ScramKeys::decoy(hash, &Secret::from("x"), "tim", 4096).expect("keys");
                server.answer(Answer::Scram(keys))
            }
            _ => server.answer(Answer::Refuse),
        };
        answered.expect("an answer that fits");
        assert!(server.answer(Answer::Refuse).is_err(), "one question, one answer");
    });
    assert!(trace.end.is_err(), "{name} lets anybody in");
}
