//! Serving: sessions over any stream, the cap on connections, and the stop.

use std::future::Future;
use std::time::Duration;

use smtp_tokio::proto::server::{Config, Event};
use smtp_tokio::proto::{Accepted, AcceptedError};
use smtp_tokio::serve::{Error, Served, serve};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

fn accepted() -> Accepted {
    Accepted::new(Config::new("mx.example.org").unwrap(), None).unwrap()
}

/// Yes to everything, until the end.
async fn hold<S: AsyncRead + AsyncWrite + Unpin>(mut served: Served<S>) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    while let Some(event) = served.next().await? {
        if let Event::Content { octets, .. } = event {
            content.extend(octets);
        }
        while let Some(decision) = served.connection().decision() {
            decision.accept();
        }
    }
    Ok(content)
}

#[test]
fn a_session_over_any_stream_and_any_pipe() {
    // The narrow one makes every write a partial one.
    for width in [7, 4096] {
        run(async move {
            let (mut client, stream) = tokio::io::duplex(width);
            let session = tokio::spawn(hold(Served::new(accepted(), stream)));
            let (mut read, mut write) = tokio::io::split(&mut client);
            let said = b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n..x\r\n.\r\nQUIT\r\n";
            let mut heard = String::new();
            let (wrote, got) = tokio::join!(write.write_all(said), read.read_to_string(&mut heard));
            assert!(wrote.is_ok() && got.is_ok());
            assert!(heard.contains("\r\n354 ") && heard.ends_with("221 2.0.0 Closing the connection\r\n"), "{heard}");
            assert_eq!(session.await.unwrap().unwrap(), b".x\r\n");
        });
    }
}

#[test]
fn a_client_that_goes_without_a_word_is_an_error() {
    run(async {
        let (client, stream) = tokio::io::duplex(64);
        drop(client);
        assert!(matches!(
            hold(Served::new(accepted(), stream)).await,
            Err(Error { error: AcceptedError::Smtp(_), .. })
        ));
    });
}

#[test]
fn no_more_than_permitted_are_met_and_all_are_told_of_the_stop() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(serve(listener, 1, async { drop(stopped.await) }, |stream, _, stopping| async {
            let _ = hold(Served::new(accepted(), stream).until(stopping)).await;
        }));
        let mut first = BufReader::new(TcpStream::connect(address).await.unwrap());
        let mut second = BufReader::new(TcpStream::connect(address).await.unwrap());
        let mut line = String::new();
        first.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("220"));
        let early = tokio::time::timeout(Duration::from_millis(100), second.read_line(&mut line)).await;
        assert!(early.is_err(), "met beside the first");
        first.write_all(b"QUIT\r\n").await.unwrap();
        first.read_line(&mut line).await.unwrap();
        drop(first);
        second.read_line(&mut line).await.unwrap();
        stop.send(()).unwrap();
        line.clear();
        second.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("421"), "{line}");
        drop(second);
        serving.await.unwrap();
    });
}

#[test]
fn the_last_reply_reaches_who_is_still_writing() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = hold(Served::new(accepted(), stream)).await;
        });
        let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
        // Much more than any buffer on the way behind QUIT: a socket closed over it would reset.
        let wrote = tokio::spawn(async move {
            write.write_all(b"QUIT\r\n").await?;
            write.write_all(&[b'x'; 1 << 20]).await
        });
        let mut heard = String::new();
        read.read_to_string(&mut heard).await.unwrap();
        assert!(heard.ends_with("221 Closing the connection\r\n"), "{heard}");
        let _ = wrote.await.unwrap();
        serving.await.unwrap();
    });
}
