//! TLS to servers: rustls between two socket halves. The session is shared by a reading and a writing half that never
//! hold it across a wait, so both directions run at once and the rules of `rt` for reads hold under TLS too.

use crate::rt::{TcpRead, TcpWrite};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// Cipher bytes read at a time: a whole record and its frame.
const READ_BYTES: usize = 18 << 10;
/// Plain bytes encrypted at a time: keeps the cipher buffer small for large bodies.
const WRITE_BYTES: usize = 64 << 10;

/// Client settings that trust the system's authorities, or those in `ca`.
///
/// # Errors
/// A sentence for the operator.
pub fn client_config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let certs =
                CertificateDer::pem_file_iter(path).map_err(|e| format!("{}: {e}", path.display()))?;
            for cert in certs {
                let cert = cert.map_err(|e| format!("{}: {e}", path.display()))?;
                roots.add(cert).map_err(|e| format!("{}: {e}", path.display()))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        let place = ca.map_or("the system's certificate store".into(), |p| p.display().to_string());
        return Err(format!("{place} has no usable certificate authority"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The reading half.
pub struct TlsRead {
    tcp: TcpRead,
    session: Rc<RefCell<ClientConnection>>,
    /// Bytes from the socket; those from `at` on have not been given to the session.
    cipher: Vec<u8>,
    at: usize,
}

/// The writing half.
pub struct TlsWrite {
    tcp: TcpWrite,
    session: Rc<RefCell<ClientConnection>>,
}

fn broken(e: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e)
}

/// Makes the handshake.
///
/// # Errors
/// Of the socket, or `InvalidData` when the peer cannot be trusted.
pub async fn connect(
    tcp: (TcpRead, TcpWrite),
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> io::Result<(TlsRead, TlsWrite)> {
    let session = ClientConnection::new(config, name).map_err(broken)?;
    let session = Rc::new(RefCell::new(session));
    let mut write = TlsWrite { tcp: tcp.1, session: session.clone() };
    let mut read = TlsRead { tcp: tcp.0, session, cipher: Vec::new(), at: 0 };
    loop {
        write.flush().await?;
        let state = |session: &ClientConnection| (session.is_handshaking(), session.wants_read());
        let (handshaking, wants_read) = state(&read.session.borrow());
        if !handshaking {
            return Ok((read, write));
        }
        if wants_read && !read.feed()? && read.fill().await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

impl TlsRead {
    /// Gives cipher bytes at hand to the session, until it has plain ones; false when there were none.
    fn feed(&mut self) -> io::Result<bool> {
        let mut session = self.session.borrow_mut();
        let mut rest = &self.cipher[self.at..];
        let any = !rest.is_empty();
        while !rest.is_empty() {
            if session.read_tls(&mut rest)? == 0 {
                rest = &[]; // behind close_notify nothing counts
                break;
            }
            if session.process_new_packets().map_err(broken)?.plaintext_bytes_to_read() > 0 {
                break;
            }
        }
        self.at = self.cipher.len() - rest.len();
        Ok(any)
    }

    /// Takes cipher bytes from the socket; 0 when the peer has closed.
    async fn fill(&mut self) -> io::Result<usize> {
        let mut cipher = std::mem::take(&mut self.cipher);
        cipher.clear();
        self.at = 0;
        let (res, cipher) = self.tcp.read(cipher, READ_BYTES).await;
        self.cipher = cipher;
        res
    }

    /// As [`TcpRead::read`].
    pub async fn read(&mut self, mut buf: Vec<u8>, want: usize) -> (io::Result<usize>, Vec<u8>) {
        let (len, want) = (buf.len(), want.min(READ_BYTES));
        loop {
            buf.reserve(want + crate::rt::PADDING);
            buf.resize(len + want, 0);
            let got = self.session.borrow_mut().reader().read(&mut buf[len..]);
            buf.truncate(len + *got.as_ref().unwrap_or(&0));
            match got {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => return (other, buf),
            }
            match self.feed() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(e) => return (Err(e), buf),
            }
            match self.fill().await {
                // The end without close_notify: whoever frames the messages decides whether that is one too few.
                Ok(0) => return (Ok(0), buf),
                Ok(_) => {}
                Err(e) => return (Err(e), buf),
            }
        }
    }

    /// Nothing has come that was not read, and the peer has not said goodbye.
    pub fn is_quiet(&self) -> bool {
        let state = self.session.borrow_mut().process_new_packets();
        let clean = state.is_ok_and(|s| s.plaintext_bytes_to_read() == 0 && !s.peer_has_closed());
        clean && self.at == self.cipher.len()
    }
}

impl TlsWrite {
    async fn flush(&mut self) -> io::Result<()> {
        let mut cipher = Vec::new();
        {
            let mut session = self.session.borrow_mut();
            while session.wants_write() {
                session.write_tls(&mut cipher)?;
            }
        }
        let end = cipher.len();
        if end == 0 { Ok(()) } else { self.tcp.write_all(cipher, 0..end).await.0 }
    }

    /// As [`TcpWrite::write_all`]; the count is of plain bytes handed over.
    pub async fn write_all(&mut self, buf: Vec<u8>, range: Range<usize>) -> (io::Result<()>, Vec<u8>, usize) {
        let mut at = range.start;
        while at < range.end {
            let part = at..(at + WRITE_BYTES).min(range.end);
            let taken = self.session.borrow_mut().writer().write(&buf[part]);
            match taken {
                Ok(n) => at += n,
                Err(e) => return (Err(e), buf, at - range.start),
            }
            if let Err(e) = self.flush().await {
                return (Err(e), buf, at - range.start);
            }
        }
        (Ok(()), buf, at - range.start)
    }
}
