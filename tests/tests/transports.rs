//! The examples of transports and runtimes of one's own, each against a server: what they send arrives, in clear and within TLS.
//!
//! `no_std` has no example here, because its proof is that it links: `tests/no_std/check`.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use smtp_proto::client::Report;
use smtp_proto::server::{self, Event};
use smtp_proto::tls::RustlsServer;
use smtp_proto::{Accepted, Config, Security};
use smtp_tokio::serve::Served;
use tests::tls::Pki;
use tokio::io::{AsyncRead, AsyncWrite};

macro_rules! examples {
    ($($name:ident: $path:literal),*) => {
        $(#[path = $path]
        #[allow(dead_code)] // its main
        mod $name;)*
    };
}

examples!(mio_example: "../examples/mio.rs", child: "../examples/child.rs");
#[cfg(unix)]
examples!(callbacks: "../examples/callbacks.rs", unix_socket: "../examples/unix_socket.rs");
#[cfg(target_os = "linux")]
examples!(io_uring: "../examples/io_uring.rs");

/// A small message whose lines begin with dots, and one of several turns.
fn messages() -> [Vec<u8>; 2] {
    let line = b"..and a line that is as long as most lines in a message are.\r\n";
    [b"Subject: hello\r\n\r\n.\r\n".to_vec(), line.repeat(5000)]
}

/// Says yes to everything, and tells what arrived.
async fn hold<S: AsyncRead + AsyncWrite + Unpin>(tls: RustlsServer, stream: S) -> Vec<u8> {
    let config = server::Config::new("mx.example.org").unwrap();
    let mut served = Served::new(Accepted::new(config, Some(Arc::new(tls))).unwrap(), stream);
    let mut content = Vec::new();
    while let Some(event) = served.next().await.unwrap() {
        if let Event::Content { octets, .. } = event {
            content.extend(octets);
        }
        while let Some(decision) = served.connection().decision() {
            decision.accept();
        }
    }
    content
}

/// Runs a server for one connection, and tells where it listens and what it hears.
fn serve(pki: &Pki) -> (SocketAddr, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, hear) = channel();
    let server = pki.server.clone();
    thread::spawn(move || {
        on_tokio(async {
            let stream = listener.accept().unwrap().0;
            stream.set_nonblocking(true).unwrap();
            tell.send(hold(server, tokio::net::TcpStream::from_std(stream).unwrap()).await).unwrap();
        });
    });
    (address, hear)
}

fn on_tokio<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Every message, in clear and within TLS, sent to a server on TCP.
fn each(send: impl Fn(SocketAddr, Config, &[u8]) -> Result<Report, Box<dyn std::error::Error>>) {
    let pki = Pki::new();
    for security in [Security::None, Security::StartTls] {
        for message in messages() {
            let (address, hear) = serve(&pki);
            let config = Config::new("localhost", address.port()).security(security).tls(pki.client.clone());
            let report = send(address, config, &message).unwrap();
            assert!(report.is_accepted(), "{report:?}");
            assert!(hear.recv().unwrap() == message, "what arrived is not what was sent");
        }
    }
}

#[test]
fn mio() {
    each(|address, config, message| {
        let stream = TcpStream::connect(address)?;
        stream.set_nonblocking(true)?;
        mio_example::send(::mio::net::TcpStream::from_std(stream), config, message)
    });
}

#[cfg(unix)]
#[test]
fn a_loop_of_callbacks() {
    each(|address, config, message| callbacks::send(TcpStream::connect(address)?, config, message));
}

#[test]
fn the_pipes_of_a_child_process() {
    each(|address, config, message| {
        let mut relay = Command::new(env!("CARGO_BIN_EXE_relay"));
        let mut child = relay.arg(address.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let report = child::send(&mut child, config, message);
        child.kill()?;
        child.wait()?;
        report
    });
}

#[cfg(target_os = "linux")]
#[test]
fn io_uring() {
    let ring = match compio::runtime::Runtime::new() {
        Ok(ring) => ring,
        Err(refused) => return eprintln!("skipped: the kernel refuses io_uring: {refused}"),
    };
    each(|address, config, message| ring.block_on(io_uring::send(&address.to_string(), config, message)));
}

#[cfg(unix)]
#[test]
fn a_unix_socket() {
    let pki = Pki::new();
    for security in [Security::None, Security::StartTls] {
        for message in messages() {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            let server = pki.server.clone();
            let serving = thread::spawn(move || {
                on_tokio(async {
                    theirs.set_nonblocking(true).unwrap();
                    hold(server, tokio::net::UnixStream::from_std(theirs).unwrap()).await
                })
            });
            let config = Config::new("localhost", 24).security(security).tls(pki.client.clone());
            let report = unix_socket::send(ours, config, &message).unwrap();
            assert!(report.is_accepted(), "{report:?}");
            assert!(serving.join().unwrap() == message, "what arrived is not what was sent");
        }
    }
}
