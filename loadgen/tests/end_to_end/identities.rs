//! Who asks: certificates, bearer tokens, sessions.

use crate::harness::{Mock, file, framed, right, run, serve, valid, wrong_server};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

/// An authority, and what it signed, as PEM files in a directory of their own.
struct Papers {
    dir: PathBuf,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Papers {
    fn new(name: &str) -> Papers {
        let dir = std::env::temp_dir().join(format!("tidegate-loadgen-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("temp dir");
        let mut params = CertificateParams::new(vec![]).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        Papers { dir, ca }
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("names");
        (params.signed_by(&key, &self.ca).expect("signed"), key)
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A server on 127.0.0.1 that wants a certificate of the same authority from its clients. Ends with the process.
fn secure_server(papers: &Papers) -> String {
    let (cert, key) = papers.sign("127.0.0.1");
    let mut roots = RootCertStore::empty();
    roots.add(papers.ca.der().clone()).expect("a root");
    let provider = Arc::new(default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(clients.build().expect("a verifier"))
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("settings");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("addr");
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            let stream = StreamOwned::new(session, socket);
            thread::spawn(move || serve(stream, |_, body| Some(framed(&right(body)))));
        }
    });
    format!("https://{addr}/mcp")
}

#[test]
fn tls_with_client_certificates() {
    let papers = Papers::new("tls");
    let url = secure_server(&papers);
    let (cert, key) = papers.sign("agent.example");
    let ca = papers.write("ca.pem", &papers.ca.pem());
    let identity = [
        "--cert".to_owned(),
        papers.write("cert.pem", &cert.pem()),
        "--key".to_owned(),
        papers.write("key.pem", &key.serialize_pem()),
    ];
    let identity: Vec<&str> = identity.iter().map(String::as_str).collect();
    let load =
        ["--connections", "3", "--requests", "60", "--warmup", "0", "--timeout", "2", "--size", "100000"];
    let report = valid(&url, &[&load[..], &identity, &["--ca", &ca]].concat());
    assert_eq!((&report["tls"], &report["requests"]), (&true.into(), &60.into()));
    valid(&url, &[&load[..], &identity, &["--insecure"]].concat());

    let refused = |options: &[&str], why: &str| {
        let (output, report) = run(&url, &[&load[..], options].concat());
        assert_eq!(output.status.code(), Some(1), "{why}");
        assert!(report["wrong_by_kind"]["tls"].as_u64() > Some(0), "{why}: {report}");
    };
    refused(&["--ca", &ca], "no client certificate");
    let other = Papers::new("tls-other");
    let other_ca = other.write("ca.pem", &other.ca.pem());
    refused(&[&identity[..], &["--ca", &other_ca]].concat(), "an authority that we do not trust");
}

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn note_token(head: &str, body: &str) -> Option<String> {
    let line = head.lines().find_map(|l| l.strip_prefix("Authorization: ")).unwrap_or("none");
    SEEN.lock().expect("no panic").push(line.to_owned());
    Some(framed(&right(body)))
}

#[test]
fn tokens_take_turns() {
    let mock = Mock::start("tokens", &[]);
    let tokens = file(&mock, "tokens", "# three agents\nalpha\n\n  beta\ngamma\n");
    let options = ["--connections", "1", "--requests", "7", "--warmup", "0", "--tokens", &tokens];
    let report = valid(&wrong_server(note_token), &options);
    assert_eq!(report["tokens"], 3);
    let want: Vec<String> =
        ["alpha", "beta", "gamma"].iter().cycle().take(7).map(|t| format!("Bearer {t}")).collect();
    assert_eq!(*SEEN.lock().expect("no panic"), want);
    let bad = file(&mock, "bad", "alpha\nbe ta\n");
    let (output, _) = run(&mock.url(), &["--tokens", &bad]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("line 2") && !text.contains("be ta"), "where, not what: {text}");
}

#[test]
fn sessions_belong_to_connections() {
    let mock = Mock::start("sessions", &["--result-size", "64"]);
    let scenario = file(&mock, "half.yaml", "legacy_share: 0.5\ncalls: [{ call: tools/call, result: 64 }]\n");
    let options = ["--connections", "6", "--requests", "120", "--warmup", "0", "--scenario", &scenario];
    let report = valid(&mock.url(), &options);
    assert_eq!(report["legacy_share"], 0.5);
    let counts = mock.stop();
    assert_eq!(
        (&counts["initialize"], &counts["deleted"], &counts["rejected"]),
        (&3.into(), &3.into(), &0.into())
    );
    assert_eq!(counts["tools_calls"], 120);
}
