//! smol, without async-std. Sends one message to the server given as HOST:PORT.
use smtp_async_std::Smtp;
use smtp_async_std::proto::client::Envelope;
use smtp_async_std::proto::{Config, Route, Security};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::args().nth(1).ok_or("usage: smol HOST:PORT")?;
    smol::block_on(async {
        let stream = smol::net::TcpStream::connect(&server).await?;
        let timer = |limit| async move { _ = smol::Timer::after(limit).await };
        let config = Config::new("localhost", 25).security(Security::None);
        let mut smtp = Smtp::over(stream, timer, &config, Route::direct()).await?;
        let envelope = Envelope::new("me@example.org", ["you@example.org"])?;
        let report = smtp.send(&envelope, &b"Subject: hello\r\n\r\nHello from smol.\r\n"[..]).await?;
        println!("{}", report.is_accepted());
        Ok(smtp.quit().await?)
    })
}
