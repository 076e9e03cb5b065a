//! A socket, with TLS on it or not. Never blocks: what cannot go on says `WouldBlock`.

use mio::net::TcpStream;
use rustls::{ClientConfig, ClientConnection};
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

/// Where to connect and whether with TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Trust and identity.
    pub config: Arc<ClientConfig>,
    /// The name that the server's certificate must have.
    pub name: rustls::pki_types::ServerName<'static>,
}

#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls { socket: TcpStream, session: Box<ClientConnection> },
}

impl Transport {
    pub fn new(socket: TcpStream, tls: Option<&Tls>) -> io::Result<Transport> {
        let Some(tls) = tls else { return Ok(Transport::Plain(socket)) };
        let session = ClientConnection::new(Arc::clone(&tls.config), tls.name.clone()).map_err(invalid)?;
        Ok(Transport::Tls { socket, session: Box::new(session) })
    }

    pub fn socket(&self) -> &TcpStream {
        match self {
            Transport::Plain(socket) | Transport::Tls { socket, .. } => socket,
        }
    }

    /// A read shorter than the space means that nothing is left; with TLS, records may be.
    pub fn short_read_drains(&self) -> bool {
        matches!(self, Transport::Plain(_))
    }

    /// Goes on with the TLS handshake; `true` once calls can be sent.
    pub fn shake_hands(&mut self) -> io::Result<bool> {
        let Transport::Tls { socket, session } = self else { return Ok(true) };
        while session.is_handshaking() {
            let moved =
                if session.wants_write() { session.write_tls(socket) } else { receive(session, socket) };
            match moved {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        send_out(session, socket).map(|()| true)
    }

    pub fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (socket, session) = match self {
            Transport::Plain(socket) => return socket.read(buf),
            Transport::Tls { socket, session } => (socket, session),
        };
        loop {
            match session.reader().read(buf) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // Closed without a farewell: HTTP's own framing tells whether something is missing.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            if receive(session, socket)? == 0 && session.reader().read(&mut []).is_err() {
                return Ok(0);
            }
        }
    }

    /// Takes what it can of `bytes`. With TLS, what was taken may still be in the session: see [`flush`](Self::flush).
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.write(bytes),
            Transport::Tls { socket, session } => {
                send_out(session, socket)?;
                let taken = session.writer().write(bytes)?;
                send_out(session, socket)?;
                if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
            }
        }
    }

    /// Sends what the session has kept.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Transport::Plain(_) => Ok(()),
            Transport::Tls { socket, session } => send_out(session, socket),
        }
    }
}

/// Reads and decrypts once; what the session has to say in return is sent.
fn receive(session: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<usize> {
    let read = session.read_tls(socket)?;
    let state = session.process_new_packets();
    // A refusal is worth sending even if the session is over.
    let sent = send_out(session, socket);
    state.map_err(invalid)?;
    sent.map(|()| read)
}

/// Sends until nothing is left or the socket would block.
fn send_out(session: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<()> {
    while session.wants_write() {
        match session.write_tls(socket) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
