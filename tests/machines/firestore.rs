//! The client of Firestore against a server that follows the documented rules: what a writer is told, and what was
//! written then.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gemba::limits::{FIRESTORE_DEADLINE, FIRESTORE_PING};
use gemba::net::firestore::{
    Change, Endpoint, Fields, Firestore, Presumes, Site, Timestamp, Trouble, Value, Version, Write,
};

use crate::firestore_fake::{Fake, Fault};

mod emulator;
mod tls;
mod tokens;

/// Runs what a test does with clients.
fn run<T>(act: impl AsyncFnOnce() -> T) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(act())
}

fn site(endpoint: Endpoint) -> Site {
    Site { project: "p".to_owned(), database: "(default)".to_owned(), endpoint }
}

fn client(address: &str) -> Firestore {
    Firestore::new(site(Endpoint::Emulator(address.to_owned()))).unwrap()
}

fn fields(number: i64) -> Fields {
    Fields::from([("number".to_owned(), Value::Integer(number))])
}

fn put(document: &str, number: i64, presumes: impl Into<Option<Presumes>>) -> Write {
    Write { document: document.to_owned(), change: Change::Put(fields(number)), presumes: presumes.into() }
}

async fn version(client: &Firestore, document: &str) -> Option<Version> {
    client.get(&[document]).await.unwrap()[0].as_ref().map(|document| document.version)
}

async fn number(client: &Firestore, document: &str) -> Option<i64> {
    let document = client.get(&[document]).await.unwrap().remove(0)?;
    match document.fields["number"] {
        Value::Integer(number) => Some(number),
        _ => panic!("{document:?}"),
    }
}

/// One of each kind; the time has the microseconds that are kept.
fn of_each_kind() -> Fields {
    let inner = Fields::from([
        ("null".to_owned(), Value::Null),
        ("list".to_owned(), Value::Array(vec![Value::Integer(1), Value::Text("zwei".to_owned())])),
    ]);
    let values = [
        ("null", Value::Null),
        ("true", Value::Bool(true)),
        ("false", Value::Bool(false)),
        ("zero", Value::Integer(0)),
        ("negative", Value::Integer(-7)),
        ("text", Value::Text("ü\n\u{1F980}".to_owned())),
        ("empty", Value::Text(String::new())),
        ("bytes", Value::Bytes(Bytes::from_static(&[0, 1, 254, 255]))),
        ("time", Value::Time(Timestamp { seconds: 1_760_000_000, nanos: 123_000_000 })),
        ("list", Value::Array(vec![Value::Bool(false), Value::Map(inner.clone())])),
        ("map", Value::Map(inner)),
    ];
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[test]
fn a_first_write_finds_nothing_and_each_later_one_the_version_before_it() {
    let fake = Fake::start();
    let client = client(&fake.address());
    run(async || {
        let first = client.commit(vec![put("g/a:1", 1, Presumes::Absent)]).await.unwrap()[0].unwrap();
        assert_eq!(version(&client, "g/a:1").await, Some(first));
        assert_eq!(client.commit(vec![put("g/a:1", 9, Presumes::Absent)]).await, Err(Trouble::Stale));
        let presumed = Presumes::Version(first);
        let second = client.commit(vec![put("g/a:1", 2, presumed)]).await.unwrap()[0].unwrap();
        assert!(second > first);
        // Whoever has seen only the first is too late.
        assert_eq!(client.commit(vec![put("g/a:1", 9, presumed)]).await, Err(Trouble::Stale));
        assert_eq!(number(&client, "g/a:1").await, Some(2));
        // Nothing changes, so nobody who has seen the second has missed anything.
        let again = client.commit(vec![put("g/a:1", 2, Presumes::Version(second))]).await.unwrap();
        assert_eq!(again, [Some(second)]);
        let gone = Write {
            document: "g/a:1".to_owned(),
            change: Change::Delete,
            presumes: Some(Presumes::Version(second)),
        };
        assert_eq!(client.commit(vec![gone]).await, Ok(vec![None]));
        for presumes in [Presumes::Present, Presumes::Version(second)] {
            assert_eq!(client.commit(vec![put("g/a:1", 9, presumes)]).await, Err(Trouble::Stale));
        }
        assert_eq!(number(&client, "g/a:1").await, None);
        assert_eq!(client.commit(Vec::new()).await, Ok(Vec::new()));
    });
    let applied = fake.commits().iter().filter(|commit| commit.code == 0).count();
    assert_eq!((applied, fake.commits().len(), fake.writes("g/a:1").len()), (4, 8, 4));
    fake.assert_nobody_stale_wrote();
    assert_eq!(fake.connections(), 1);
}

#[test]
fn a_writer_that_is_stale_for_one_document_writes_none() {
    let fake = Fake::start();
    let (old, new) = (client(&fake.address()), client(&fake.address()));
    run(async || {
        let both = vec![put("g/a", 1, Presumes::Absent), put("g/b", 1, Presumes::Absent)];
        let seen = old.commit(both).await.unwrap();
        let [a, b] = [seen[0].unwrap(), seen[1].unwrap()];
        new.commit(vec![put("g/b", 2, Presumes::Version(b))]).await.unwrap();
        let late = vec![
            put("g/c", 3, Presumes::Absent),
            put("g/a", 3, Presumes::Version(a)),
            put("g/b", 3, Presumes::Version(b)),
            put("g/d", 3, None),
        ];
        assert_eq!(old.commit(late).await, Err(Trouble::Stale));
        let numbers: Vec<Option<i64>> = [
            number(&new, "g/a").await,
            number(&new, "g/b").await,
            number(&new, "g/c").await,
            number(&new, "g/d").await,
        ]
        .to_vec();
        assert_eq!(numbers, [Some(1), Some(2), None, None]);
        assert_eq!(version(&old, "g/a").await, Some(a));
    });
    assert_eq!(fake.documents("g/").len(), 2);
    fake.assert_nobody_stale_wrote();
}

#[test]
fn what_was_surely_not_written_is_told_apart_from_what_may_have_been() {
    let fake = Fake::start();
    let client = client(&fake.address());
    run(async || {
        let cases = [
            (Fault::Abort, false),
            (Fault::Refuse(7), false),
            (Fault::Unavailable, false),
            (Fault::Refuse(8), false),
            (Fault::ApplyThenFail, true),
            (Fault::ApplyThenDrop, true),
            (Fault::ApplyThenEnd, true),
            (Fault::Slow(Duration::from_millis(100)), true),
        ];
        for (index, (fault, written)) in cases.into_iter().enumerate() {
            let document = format!("g/{index}");
            fake.next(fault);
            let told = client.commit(vec![put(&document, 1, Presumes::Absent)]).await;
            match fault {
                Fault::Abort => assert_eq!(told, Err(Trouble::Contended)),
                Fault::Refuse(7) => {
                    let words = "PERMISSION_DENIED: as the test wishes, 100% sure: ü";
                    assert_eq!(told, Err(Trouble::Refused(words.to_owned())));
                }
                Fault::Slow(_) => assert!(told.is_ok(), "{told:?}"),
                _ => assert!(matches!(told, Err(Trouble::Unknown(_))), "{fault:?}: {told:?}"),
            }
            // Reading back tells.
            assert_eq!(number(&client, &document).await.is_some(), written, "{fault:?}");
        }
    });
}

fn no_answer_in_time(fault: Fault, written: bool) {
    let fake = Fake::start();
    let client = client(&fake.address());
    run(async || {
        assert_eq!(number(&client, "g/a").await, None);
        fake.next(fault);
        let begun = Instant::now();
        let told = client.commit(vec![put("g/a", 1, Presumes::Absent)]).await;
        let took = begun.elapsed();
        assert_eq!(told, Err(Trouble::Unknown("no answer within 10s".to_owned())));
        assert!(took >= FIRESTORE_DEADLINE && took < FIRESTORE_DEADLINE + Duration::from_secs(2), "{took:?}");
        assert_eq!(number(&client, "g/a").await.is_some(), written);
    });
}

#[test]
fn without_an_answer_in_time_it_is_not_known_and_was_not_written() {
    no_answer_in_time(Fault::DeadlineBefore, false);
}

#[test]
fn without_an_answer_in_time_it_is_not_known_and_was_written() {
    no_answer_in_time(Fault::DeadlineAfter, true);
}

#[test]
fn a_peer_that_gives_no_sign_of_life_is_given_up_before_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = client(&listener.local_addr().unwrap().to_string());
    run(async || {
        let begun = Instant::now();
        let told = client.commit(vec![put("g/a", 1, None)]).await;
        assert_eq!(told, Err(Trouble::Unknown("the connection gave no sign of life for 4s".to_owned())));
        assert!(begun.elapsed() < FIRESTORE_PING * 2 + Duration::from_secs(1), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_read_that_is_torn_is_no_answer_and_the_next_one_is_whole() {
    let fake = Fake::start();
    let client = client(&fake.address());
    run(async || {
        client.commit(vec![put("g/a", 1, None), put("g/b", 2, None)]).await.unwrap();
        fake.next_get(Fault::ApplyThenDrop);
        let told = client.get(&["g/a", "g/b"]).await;
        assert!(matches!(told, Err(Trouble::Unknown(_))), "{told:?}");
        assert_eq!(number(&client, "g/b").await, Some(2));
    });
    assert_eq!(fake.connections(), 2);
}

#[test]
fn a_server_that_is_down_has_written_nothing_and_one_that_is_back_goes_on() {
    let fake = Fake::start_at(crate::node::free_ports(1));
    let client = client(&fake.address());
    fake.stop();
    run(async || {
        for _ in 0..2 {
            let told = client.commit(vec![put("g/a", 1, Presumes::Absent)]).await;
            let words = "no connection: connection refused";
            assert_eq!(told, Err(Trouble::Unreachable(words.to_owned())));
            // Also of those that wait for the same connection.
            let told = tokio::join!(client.get(&["g/a"]), client.get(&["g/b"]), client.get(&["g/c"]));
            for told in [told.0, told.1, told.2] {
                assert!(matches!(told, Err(Trouble::Unreachable(_))), "{told:?}");
            }
        }
        fake.start_again();
        let seen = client.commit(vec![put("g/a", 1, Presumes::Absent)]).await.unwrap()[0].unwrap();
        fake.stop();
        // The connection's end is seen at once or with the first call over it.
        let told = client.commit(vec![put("g/a", 2, Presumes::Version(seen))]).await;
        assert!(matches!(told, Err(Trouble::Unknown(_) | Trouble::Unreachable(_))), "{told:?}");
        let told = client.commit(vec![put("g/a", 2, Presumes::Version(seen))]).await;
        assert!(matches!(told, Err(Trouble::Unreachable(_))), "{told:?}");
        fake.start_again();
        assert_eq!(version(&client, "g/a").await, Some(seen));
        client.commit(vec![put("g/a", 2, Presumes::Version(seen))]).await.unwrap();
    });
    assert_eq!(fake.documents("").len(), 1);
}

#[test]
fn documents_come_in_the_order_of_the_question_however_the_answer_is_cut() {
    let fake = Fake::start();
    let client = client(&fake.address());
    let document = |index: i64| format!("g/{index}");
    run(async || {
        let writes = (0..20).map(|index| put(&document(index), index, None)).collect();
        client.commit(writes).await.unwrap();
        let asked: Vec<String> = [7, 99, 3, 19, 7, 0, 98].map(document).to_vec();
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        for piece in [1, 2, 3, 5, 7, 64, usize::MAX] {
            fake.split(piece);
            let documents = client.get(&asked).await.unwrap();
            let found: Vec<Option<Fields>> =
                documents.into_iter().map(|document| document.map(|document| document.fields)).collect();
            let expected =
                [Some(7), None, Some(3), Some(19), Some(7), Some(0), None].map(|number| number.map(fields));
            assert_eq!(found, expected, "in pieces of {piece} bytes");
        }
        assert_eq!(client.get(&[]).await, Ok(Vec::new()));
    });
    assert_eq!(fake.gets(), 7);
}

#[test]
fn values_of_each_kind_come_back_and_times_to_the_microsecond() {
    let fake = Fake::start();
    let client = client(&fake.address());
    run(async || {
        let mut sent = of_each_kind();
        sent.insert("fine".to_owned(), Value::Time(Timestamp { seconds: 1, nanos: 1999 }));
        sent.insert("large".to_owned(), Value::Integer(i64::MIN));
        let write = Write { document: "g/a".to_owned(), change: Change::Put(sent.clone()), presumes: None };
        client.commit(vec![write]).await.unwrap();
        sent.insert("fine".to_owned(), Value::Time(Timestamp { seconds: 1, nanos: 1000 }));
        assert_eq!(client.get(&["g/a"]).await.unwrap()[0].as_ref().unwrap().fields, sent);
        // Nothing of the former fields stays.
        client.commit(vec![put("g/a", 1, Presumes::Present)]).await.unwrap();
        assert_eq!(client.get(&["g/a"]).await.unwrap()[0].as_ref().unwrap().fields, fields(1));
    });
}

#[test]
fn large_documents_pass_and_what_is_too_large_is_refused() {
    let fake = Fake::start();
    let client = client(&fake.address());
    let large = |index: usize, bytes: usize| Write {
        document: format!("g/{index}"),
        change: Change::Put(Fields::from([("b".to_owned(), Value::Bytes(vec![7; bytes].into()))])),
        presumes: None,
    };
    let paths: Vec<String> = (0..10).map(|index| format!("g/{index}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    run(async || {
        let writes = (0..10).map(|index| large(index, 1_000_000)).collect();
        client.commit(writes).await.unwrap();
        let documents = client.get(&paths).await.unwrap();
        assert!(documents.into_iter().all(|document| {
            document.is_some_and(
                |document| matches!(&document.fields["b"], Value::Bytes(bytes) if bytes.len() == 1_000_000),
            )
        }));
        // Its name, field and value have 1,048,577 bytes together.
        let told = client.commit(vec![large(0, 1024 * 1024 - 53)]).await;
        assert!(matches!(told, Err(Trouble::Refused(_))), "{told:?}");
        client.commit(vec![large(0, 1024 * 1024 - 54)]).await.unwrap();
        let came = fake.commits().len();
        let told = client.commit((0..11).map(|index| large(index, 1_000_000)).collect()).await;
        assert!(matches!(told, Err(Trouble::Refused(_))), "{told:?}");
        assert_eq!(fake.commits().len(), came, "it is not even sent");
        // There has been no bound of 500 writes since March 2023.
        let many = (0..2000).map(|index| large(index, 1)).collect();
        assert_eq!(client.commit(many).await.unwrap().len(), 2000);
    });
}

#[test]
fn calls_share_one_connection() {
    let fake = Fake::start();
    let client = client(&fake.address());
    run(async || {
        let mut calls = tokio::task::JoinSet::new();
        for index in 0..20 {
            let client = client.clone();
            calls.spawn(async move { client.commit(vec![put(&format!("g/{index}"), index, None)]).await });
        }
        for told in calls.join_all().await {
            told.unwrap();
        }
    });
    assert_eq!((fake.connections(), fake.documents("g/").len()), (1, 20));
}

#[test]
fn a_site_that_can_never_be_reached_makes_no_client() {
    for wrong in ["", "http://127.0.0.1:8080", "a b"] {
        let made = Firestore::new(site(Endpoint::Emulator(wrong.to_owned())));
        assert_eq!(made.unwrap_err().to_string(), format!("`{wrong}` is no host, with or without a port"));
    }
    let named = Site { project: "p\n".to_owned(), ..site(Endpoint::Emulator("127.0.0.1:1".to_owned())) };
    assert!(Firestore::new(named).is_err());
}
