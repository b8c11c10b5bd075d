//! The fuzz targets `reply` and `ehlo`: what a server says, and what it offers.

use smtp_proto::extension::Extensions;
use smtp_proto::reply::ReplyReader;
use smtp_proto::sasl::MechanismName;

use super::control::Control;

/// Replies are read the same at every cut, can be written again, and are shown without control characters.
pub fn reply(input: &[u8]) {
    let (mut control, data) = Control::split(input);
    let read = |pieces: Vec<&[u8]>| {
        let (mut reader, mut replies) = (ReplyReader::default(), Vec::new());
        for mut piece in pieces {
            loop {
                match reader.receive(&mut piece) {
                    Ok(Some(reply)) => replies.push(reply),
                    Ok(None) => break,
                    Err(error) => return (replies, Some(error)),
                }
            }
            assert!(piece.is_empty());
        }
        (replies, None)
    };
    let whole = read(vec![data]);
    let size = usize::from(control.next()).max(1);
    assert_eq!(read(data.chunks(size).collect()), whole);
    assert_eq!(read(data.chunks(1).collect()), whole);
    for reply in whole.0 {
        assert!(!reply.to_string().contains(char::is_control), "{reply:?}");
        assert!((200..600).contains(&reply.code().number()) && reply.lines().count() > 0);
        let mut wire = Vec::new();
        reply.encode(&mut wire);
        // A CR at the very end of a line belongs to the line's end when it is read again.
        if !reply.lines().any(|line| line.ends_with(b"\r")) && wire.len() < 2000 {
            assert_eq!(read(vec![&wire]), (vec![reply], None));
        }
    }
}

/// The offer is read from any reply: what is offered is found in any case, once, and can be switched off.
pub fn ehlo(input: &[u8]) {
    let (_, data) = Control::split(input);
    let Ok(Some(reply)) = ReplyReader::default().receive(&mut &data[..]) else { return };
    let mut extensions = Extensions::from_reply(&reply);
    let keywords: Vec<String> = extensions.iter().map(|one| one.keyword.clone()).collect();
    for keyword in &keywords {
        assert!(extensions.offers(keyword) && extensions.offers(&keyword.to_ascii_lowercase()));
        assert!(!keyword.is_empty() && !keyword.contains(|c: char| c.is_ascii_whitespace()));
        let mut other = keywords.iter().filter(|other| other.eq_ignore_ascii_case(keyword));
        assert_eq!((other.next().is_some(), other.next()), (true, None), "{keyword} twice");
    }
    let _ = (extensions.size_limit(), extensions.mechanisms(), extensions.pipelining());
    for name in extensions.mechanisms() {
        if let Ok(name) = name.parse::<MechanismName>() {
            assert_eq!(name.as_str().parse(), Ok(name.clone()));
        }
    }
    for keyword in &keywords {
        extensions.remove(keyword);
    }
    assert_eq!(extensions, Extensions::default());
}
