//! Where tokens come from, how long they are kept, and that neither they nor keys are in anything that is printed.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use gemba::net::firestore::{Credentials, Endpoint, Firestore, ServiceAccount, Trouble};

use super::{Presumes, put, run, site};
use crate::firestore_fake::Fake;

/// A server of HTTP/1.1 that gives tokens.
struct Issuer {
    port: u16,
    state: Arc<Mutex<Issued>>,
}

#[derive(Default)]
struct Issued {
    answers: VecDeque<(u16, String)>,
    /// Heads and bodies.
    requests: Vec<(String, String)>,
}

impl Issuer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = Self { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = Arc::clone(&issuer.state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &state);
            }
        });
        issuer
    }

    fn next(&self, status: u16, body: &str) {
        self.state.lock().unwrap().answers.push_back((status, body.to_owned()));
    }

    fn next_token(&self, token: &str, seconds: u32) {
        self.next(
            200,
            &format!(r#"{{"access_token":"{token}","expires_in":{seconds},"token_type":"Bearer"}}"#),
        );
    }

    fn requests(&self) -> Vec<(String, String)> {
        self.state.lock().unwrap().requests.clone()
    }
}

fn answer(stream: TcpStream, state: &Mutex<Issued>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while reader.read_line(&mut head).unwrap() > 2 {}
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let mut state = state.lock().unwrap();
    state.requests.push((head, String::from_utf8(body).unwrap()));
    let Some((status, body)) = state.answers.pop_front() else { return };
    let head =
        format!("HTTP/1.1 {status} X\r\nmetadata-flavor: Google\r\ncontent-length: {}\r\n\r\n", body.len());
    reader.get_mut().write_all((head + &body).as_bytes()).unwrap();
}

struct Account {
    key: RsaKeyPair,
    file: String,
    pem: String,
}

impl Account {
    fn new(token_uri: &str) -> Self {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap();
        let pem = BASE64.encode(der.as_ref());
        let file = serde_json::json!({
            "type": "service_account",
            "project_id": "p",
            "private_key_id": "7f",
            "private_key": format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n"),
            "client_email": "gemba@p.iam.gserviceaccount.com",
            "token_uri": token_uri,
        });
        Self { key, file: file.to_string(), pem }
    }

    fn client(&self, fake: &Fake) -> Firestore {
        let account = ServiceAccount::parse(self.file.as_bytes()).unwrap();
        client(fake, Credentials::ServiceAccount(account))
    }

    /// Checks the claim of a form and gives its content.
    fn claims(&self, form: &str) -> serde_json::Value {
        let assertion = form
            .strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
            .unwrap();
        let (text, signature) = assertion.rsplit_once('.').unwrap();
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.key.public_key().as_ref())
            .verify(text.as_bytes(), &signature)
            .unwrap();
        let claims = text.split_once('.').unwrap().1;
        serde_json::from_slice(&BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap()).unwrap()
    }
}

fn client(fake: &Fake, credentials: Credentials) -> Firestore {
    let url = format!("http://{}", fake.address());
    Firestore::new(site(Endpoint::At { url, credentials })).unwrap()
}

#[test]
fn a_service_account_asks_once_with_a_signed_claim_and_anew_after_a_refusal() {
    let (fake, issuer) = (Fake::start(), Issuer::start());
    let uri = format!("http://127.0.0.1:{}/token", issuer.port);
    let account = Account::new(&uri);
    let client = account.client(&fake);
    issuer.next_token("first-token", 3600);
    fake.accept("first-token");
    run(async || {
        // Calls that begin together ask for one.
        let (a, b) = tokio::join!(client.get(&["g/a"]), client.get(&["g/b"]));
        assert_eq!((a, b), (Ok(vec![None]), Ok(vec![None])));
        client.commit(vec![put("g/a", 1, Presumes::Absent)]).await.unwrap();
        assert_eq!(issuer.requests().len(), 1);
        fake.accept("second-token");
        let told = client.commit(vec![put("g/a", 2, None)]).await;
        let words = "UNAUTHENTICATED: invalid authentication credentials";
        assert_eq!(told, Err(Trouble::Refused(words.to_owned())));
        issuer.next_token("second-token", 3600);
        client.commit(vec![put("g/a", 2, None)]).await.unwrap();
        assert_eq!(issuer.requests().len(), 2);
    });
    let (head, form) = &issuer.requests()[0];
    assert!(head.starts_with("post /token http/1.1"), "{head}");
    assert!(head.contains("content-type: application/x-www-form-urlencoded"), "{head}");
    let claims = account.claims(form);
    assert_eq!(claims["iss"], "gemba@p.iam.gserviceaccount.com");
    assert_eq!(claims["aud"], uri);
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/datastore");
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
}

#[test]
fn a_machine_asks_its_metadata_server_and_again_a_minute_before_the_tokens_end() {
    let (fake, issuer) = (Fake::start(), Issuer::start());
    let client = client(&fake, Credentials::Metadata(format!("127.0.0.1:{}", issuer.port)));
    issuer.next_token("short", 61);
    issuer.next_token("long", 3600);
    fake.accept("short");
    run(async || {
        assert_eq!(client.get(&["g/a"]).await, Ok(vec![None]));
        assert_eq!(client.get(&["g/a"]).await, Ok(vec![None]));
        assert_eq!(issuer.requests().len(), 1);
        fake.accept("long");
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        assert_eq!(client.get(&["g/a"]).await, Ok(vec![None]));
    });
    let requests = issuer.requests();
    assert_eq!(requests.len(), 2);
    for (head, _) in requests {
        let asked = "get /computemetadata/v1/instance/service-accounts/default/token http/1.1";
        assert!(head.starts_with(asked) && head.contains("metadata-flavor: google"), "{head}");
    }
}

#[test]
fn without_a_token_nothing_is_sent() {
    let (fake, issuer) = (Fake::start(), Issuer::start());
    let account = Account::new(&format!("http://127.0.0.1:{}/token", issuer.port));
    let client = account.client(&fake);
    run(async || {
        issuer.next(400, r#"{"error":"invalid_grant","error_description":"eyJ.claim.signature"}"#);
        issuer.next(500, "<html>eyJ.claim.signature</html>");
        issuer.next(200, "{}");
        let words = [
            "no token: the answer has status 400 Bad Request, `invalid_grant`",
            "no token: the answer has status 500 Internal Server Error",
            "no token: the answer cannot be read",
            // It hangs up.
            "no token: the connection broke before an answer came",
        ];
        for words in words {
            let told = client.commit(vec![put("g/a", 1, None)]).await;
            assert_eq!(told, Err(Trouble::Unreachable(words.to_owned())));
        }
        let nobody = Account::new("http://127.0.0.1:1/token").client(&fake);
        let told = nobody.get(&["g/a"]).await;
        let words = "no token: no connection: connection refused";
        assert_eq!(told, Err(Trouble::Unreachable(words.to_owned())));
    });
    assert_eq!((fake.connections(), fake.commits().len()), (0, 0));
}

#[test]
fn neither_keys_nor_tokens_are_printed() {
    let (fake, issuer) = (Fake::start(), Issuer::start());
    let account = Account::new(&format!("http://127.0.0.1:{}/token", issuer.port));
    let credentials = Credentials::ServiceAccount(ServiceAccount::parse(account.file.as_bytes()).unwrap());
    let site = site(Endpoint::At { url: format!("http://{}", fake.address()), credentials });
    let mut printed = format!("{site:?}");
    let client = Firestore::new(site).unwrap();
    issuer.next_token("a-secret-token", 3600);
    run(async || {
        // The server takes another one, and says so.
        let told = client.get(&["g/a"]).await.unwrap_err();
        printed += &format!("{told:?} {told}");
        issuer.next(401, "a-secret-token");
        let told = client.get(&["g/a"]).await.unwrap_err();
        printed += &format!("{told:?} {told}");
        issuer.next_token("a-secret-token", 3600);
        fake.accept("a-secret-token");
        client.get(&["g/a"]).await.unwrap();
    });
    printed += &format!("{client:?}");
    let wrong = account.file.replace("service_account", "another");
    printed += &format!("{:?}", ServiceAccount::parse(wrong.as_bytes()).unwrap_err());
    assert!(
        printed.contains("gemba@p.iam") && printed.contains("projects/p/databases/(default)"),
        "{printed}"
    );
    for secret in ["secret-token", "eyJ", &account.pem[..40], &account.pem[200..240]] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

/// The address of a metadata server that gives this token once.
pub fn metadata_with(token: &str) -> String {
    let issuer = Issuer::start();
    issuer.next_token(token, 3600);
    format!("127.0.0.1:{}", issuer.port)
}
