//! Published vectors, and every way to be wrong.

use hyper::header::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_700_000_000;
const SECRET: &[u8] = b"a secret of 28 bytes, enough";
const OTHER: &[u8] = b"another secret, also 28 byte";
const WHSEC: &[u8] = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY: &[u8] = br#"{"id":"s-1","type":"cost.usage"}"#;

/// Headers; `None` when HTTP itself would not let one through.
fn try_headers(pairs: &[(&'static str, &[u8])]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).ok()?);
    }
    Some(headers)
}

fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
    try_headers(pairs).unwrap()
}

fn signed(keyring: &Keyring, body: &[u8], id: &str, at: u64) -> HeaderMap {
    let pairs = keyring.sign(body, id, at);
    headers(&pairs.iter().map(|(name, value)| (*name, value.as_bytes())).collect::<Vec<_>>())
}

fn hmac_ring() -> Keyring {
    Keyring::new("signals", Scheme::Hmac, &[("k1", SECRET)], 300).unwrap()
}

fn webhooks_ring() -> Keyring {
    Keyring::new("signals", Scheme::StandardWebhooks, &[("k1", WHSEC)], 300).unwrap()
}

fn refusal(keyring: &Keyring, headers: &HeaderMap) -> Refusal {
    keyring.verify(headers, Bytes::from_static(BODY), NOW).unwrap_err()
}

#[test]
fn standard_webhooks_vectors_verify_and_are_made_anew() {
    let vectors = [
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            r#"{"email":"test@example.com","username":"test_user"}"#,
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
    ];
    for (secret, id, at, body, signature) in vectors {
        let secrets = [("k1", secret.as_bytes())];
        let keyring = Keyring::new("signals", Scheme::StandardWebhooks, &secrets, 300).unwrap();
        let made = signed(&keyring, body.as_bytes(), id, at);
        assert_eq!(made["webhook-signature"], signature);
        let verified = keyring.verify(&made, Bytes::from_static(body.as_bytes()), at).unwrap();
        assert_eq!(verified.provenance().assurance, Assurance::B);
        assert_eq!(verified.beside().assurance, Assurance::D);
        assert_eq!(verified.body(), body);
        let late = Bytes::from_static(body.as_bytes());
        assert_eq!(keyring.verify(&made, late, at + 301).unwrap_err(), Refusal::TooOld { by_seconds: 1 });
    }
}

/// Their secrets are shorter than a source may have, so the keys are made by hand.
#[test]
fn plain_hex_vectors_verify_and_are_made_anew() {
    let vectors = [
        (
            "convoy-webhook-secret",
            r#"{"event":"charge.success","amount":1000,"currency":"NGN"}"#,
            "244449b7f48cbc2709060c9dcdc2b3aa47a78f540430579015c579fb12defbb4",
        ),
        (
            "Jefe",
            "what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
    ];
    for (secret, body, signature) in vectors {
        let refused = Keyring::new("signals", Scheme::Hmac, &[("k1", secret.as_bytes())], 300);
        assert_eq!(refused.unwrap_err(), BadKey::Short(secret.len()));
        let key = Key {
            mac: mac::Key::new(mac::HMAC_SHA256, secret.as_bytes()),
            provenance: Provenance::intern("signals", "k1", Assurance::C).unwrap(),
            beside: Provenance::intern("signals", "k1", Assurance::D).unwrap(),
        };
        assert_eq!(hmac::sign(&key, body.as_bytes()), [("x-signature", signature.to_owned())]);
        let keys = [key];
        for text in [signature.to_owned(), format!("sha256={signature}"), signature.to_uppercase()] {
            let headers = headers(&[("x-signature", text.as_bytes())]);
            assert!(hmac::verify(&keys, &headers, body.as_bytes()).is_ok(), "{text}");
        }
    }
}

#[test]
fn what_the_signature_proves_is_named() {
    let (hmac, webhooks) = (hmac_ring(), webhooks_ring());
    assert_eq!((hmac.scheme.assurance(), webhooks.scheme.assurance()), (Assurance::C, Assurance::B));
    let verified = hmac.verify(&signed(&hmac, BODY, "", 0), Bytes::from_static(BODY), NOW).unwrap();
    assert_eq!(verified.provenance(), Provenance::intern("signals", "k1", Assurance::C).unwrap());
    assert_eq!(verified.beside(), Provenance::intern("signals", "k1", Assurance::D).unwrap());
    assert_eq!(verified.into_body(), BODY);
}

#[test]
fn a_key_prints_its_name_and_not_its_secret() {
    let text = format!("{:?}", hmac_ring());
    assert!(text.contains("k1") && !text.contains("secret"), "{text}");
}

#[test]
fn missing_headers_are_refused() {
    assert_eq!(refusal(&hmac_ring(), &HeaderMap::new()), Refusal::Missing);
    let webhooks = webhooks_ring();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut headers = signed(&webhooks, BODY, "msg_1", NOW);
        headers.remove(name);
        assert_eq!(refusal(&webhooks, &headers), Refusal::Missing, "{name}");
    }
}

#[test]
fn doubled_headers_are_refused_even_when_equal() {
    for (keyring, names) in [
        (hmac_ring(), &["x-signature"][..]),
        (webhooks_ring(), &["webhook-id", "webhook-timestamp", "webhook-signature"]),
    ] {
        for name in names {
            let mut headers = signed(&keyring, BODY, "msg_1", NOW);
            let value = headers[*name].clone();
            headers.append(*name, value);
            assert_eq!(refusal(&keyring, &headers), Refusal::Twice, "{name}");
        }
    }
}

#[test]
fn unreadable_hex_is_refused() {
    let keyring = hmac_ring();
    let right = keyring.sign(BODY, "", 0).remove(0).1;
    let texts = [
        String::new(),
        "sha256=".to_owned(),
        right[1..].to_owned(),
        format!("{right}0"),
        format!("{right}00"),
        format!("{right} "),
        format!(" {right}"),
        format!("0x{}", &right[2..]),
        format!("sha1={right}"),
        format!("SHA256={right}"),
        format!("sha256=sha256={right}"),
        format!("{}g", &right[1..]),
        right.repeat(200),
    ];
    for text in texts {
        let headers = headers(&[("x-signature", text.as_bytes())]);
        assert_eq!(refusal(&keyring, &headers), Refusal::Malformed, "{text}");
    }
    let mut latin = right.into_bytes();
    latin[9] = 0xe9;
    assert_eq!(refusal(&keyring, &headers(&[("x-signature", &latin)])), Refusal::Malformed);
}

#[test]
fn unreadable_timestamps_are_refused() {
    let keyring = webhooks_ring();
    for text in
        ["", "-1", "+1700000000", "1700000000.0", " 1700000000", "17e8", "0x6553f100", "1700000000000"]
    {
        let mut headers = signed(&keyring, BODY, "msg_1", NOW);
        headers.insert("webhook-timestamp", HeaderValue::from_str(text).unwrap());
        assert_eq!(refusal(&keyring, &headers), Refusal::Malformed, "{text}");
    }
    let mut headers = signed(&keyring, BODY, "msg_1", NOW);
    let arabic_digits = HeaderValue::from_bytes("١٧٠٠٠٠٠٠٠٠".as_bytes()).unwrap();
    headers.insert("webhook-timestamp", arabic_digits);
    assert_eq!(refusal(&keyring, &headers), Refusal::Malformed);
}

#[test]
fn base64_has_one_spelling() {
    let keyring = webhooks_ring();
    let right = keyring.sign(BODY, "msg_1", NOW).remove(2).1;
    let mut loose_bits = right.clone();
    let last = right.len() - 2;
    let character = char::from(right.as_bytes()[last] + 1);
    loose_bits.replace_range(last..=last, &character.to_string());
    let texts = [
        "v1,".to_owned(),
        right.trim_end_matches('=').to_owned(),
        format!("{right}="),
        right.replace('=', "=="),
        format!("v1,{}", right.replace("v1,", "AAAA")),
        right.replace("v1,", "v1, ").replace(' ', ""),
        loose_bits,
    ];
    for text in texts.iter().filter(|text| **text != right) {
        let mut headers = signed(&keyring, BODY, "msg_1", NOW);
        headers.insert("webhook-signature", HeaderValue::from_str(text).unwrap());
        assert_eq!(refusal(&keyring, &headers), Refusal::Malformed, "{text}");
    }
}

/// Padding in the middle would spell the same 32 bytes another way.
#[test]
fn padding_stands_only_at_the_end() {
    let keyring = webhooks_ring();
    let right = keyring.sign(BODY, "msg_1", NOW).remove(2).1;
    let bytes = data_encoding::BASE64.decode(&right.as_bytes()[3..]).unwrap();
    let (head, tail) = bytes.split_at(2);
    let encode = |bytes| data_encoding::BASE64.encode(bytes);
    let mut headers = signed(&keyring, BODY, "msg_1", NOW);
    let text = format!("v1,{}{}", encode(head), encode(tail));
    headers.insert("webhook-signature", HeaderValue::from_str(&text).unwrap());
    assert_eq!(refusal(&keyring, &headers), Refusal::Malformed, "{text}");
}

#[test]
fn the_svix_names_are_an_alias_and_do_not_mix() {
    let keyring = webhooks_ring();
    let pairs = keyring.sign(BODY, "msg_1", NOW);
    let value = |at: usize| pairs[at].1.as_bytes();
    let svix = headers(&[("svix-id", value(0)), ("svix-timestamp", value(1)), ("svix-signature", value(2))]);
    assert!(keyring.verify(&svix, Bytes::from_static(BODY), NOW).is_ok());
    let mixed =
        headers(&[("svix-id", value(0)), ("svix-timestamp", value(1)), ("webhook-signature", value(2))]);
    assert_eq!(refusal(&keyring, &mixed), Refusal::Missing);
}

#[test]
fn every_live_key_verifies_and_is_named() {
    let new = Keyring::new("signals", Scheme::Hmac, &[("new", OTHER)], 300).unwrap();
    let old = Keyring::new("signals", Scheme::Hmac, &[("old", SECRET)], 300).unwrap();
    let both = Keyring::new("signals", Scheme::Hmac, &[("new", OTHER), ("old", SECRET)], 300).unwrap();
    for (signer, name) in [(&new, "new"), (&old, "old"), (&both, "new")] {
        let verified = both.verify(&signed(signer, BODY, "", NOW), Bytes::from_static(BODY), NOW).unwrap();
        assert_eq!(&*verified.provenance().key, name);
        assert_eq!(&*verified.beside().key, name);
    }
    assert_eq!(refusal(&new, &signed(&old, BODY, "", NOW)), Refusal::NoMatch);
}

#[test]
fn a_list_holds_at_most_eight_signatures() {
    let keyring = webhooks_ring();
    let right = keyring.sign(BODY, "msg_1", NOW).remove(2).1;
    let wrong = format!("v1,{}", data_encoding::BASE64.encode(&[7; 32]));
    let listed = |items: &[&str]| {
        let mut headers = signed(&keyring, BODY, "msg_1", NOW);
        headers.insert("webhook-signature", HeaderValue::from_str(&items.join(" ")).unwrap());
        keyring.verify(&headers, Bytes::from_static(BODY), NOW).map(|_| ())
    };
    for place in 0..SIGNATURES_MAX {
        let mut items = [wrong.as_str(); SIGNATURES_MAX];
        items[place] = &right;
        assert_eq!(listed(&items), Ok(()), "place {place}");
    }
    assert_eq!(listed(&[wrong.as_str(); SIGNATURES_MAX]), Err(Refusal::NoMatch));
    let mut nine = vec![wrong.as_str(); SIGNATURES_MAX];
    nine.insert(0, &right);
    assert_eq!(listed(&nine), Err(Refusal::TooMany));
    let mut others = ["v1a,abc", "v2,", "v0,x", "", "V1,x", "v1"].repeat(5);
    assert_eq!(listed(&others), Err(Refusal::NoMatch));
    others.push(&right);
    assert_eq!(listed(&others), Ok(()));
    assert_eq!(listed(&[&right, "v1,not base64"]), Err(Refusal::Malformed));
}

#[test]
fn the_tolerance_holds_to_the_second_on_both_sides() {
    let keyring = webhooks_ring();
    let verify = |now| {
        let headers = signed(&keyring, BODY, "msg_1", NOW);
        keyring.verify(&headers, Bytes::from_static(BODY), now).map(|_| ())
    };
    for now in [NOW - 300, NOW, NOW + 300] {
        assert_eq!(verify(now), Ok(()), "{now}");
    }
    assert_eq!(verify(NOW + 301), Err(Refusal::TooOld { by_seconds: 1 }));
    assert_eq!(verify(NOW - 301), Err(Refusal::TooNew { by_seconds: 1 }));
    assert_eq!(verify(0), Err(Refusal::TooNew { by_seconds: NOW - 300 }));
    assert_eq!(verify(u64::MAX), Err(Refusal::TooOld { by_seconds: u64::MAX - NOW - 300 }));
}

#[test]
fn secrets_that_are_no_keys_are_refused() {
    let new = |scheme, secret: &[u8]| {
        Keyring::new("signals", scheme, &[("k1", secret)], 300).map(|_| ()).map_err(|why| why.to_string())
    };
    let why = |why: BadKey| Err(why.to_string());
    for scheme in [Scheme::Hmac, Scheme::StandardWebhooks] {
        for published in ["default_secret", "default"] {
            assert_eq!(new(scheme, published.as_bytes()), why(BadKey::Published));
        }
    }
    assert_eq!(new(Scheme::Hmac, b""), why(BadKey::Short(0)));
    assert_eq!(new(Scheme::Hmac, &[b'x'; 23]), why(BadKey::Short(23)));
    assert_eq!(new(Scheme::Hmac, &[b'x'; 24]), Ok(()));
    let whsec = |bytes: usize| format!("whsec_{}", data_encoding::BASE64.encode(&vec![b'x'; bytes]));
    assert_eq!(new(Scheme::StandardWebhooks, whsec(23).as_bytes()), why(BadKey::Short(23)));
    for bytes in [24, 25, 26, 64] {
        assert_eq!(new(Scheme::StandardWebhooks, whsec(bytes).as_bytes()), Ok(()));
        let unpadded = whsec(bytes);
        assert_eq!(new(Scheme::StandardWebhooks, unpadded.trim_end_matches('=').as_bytes()), Ok(()));
    }
    assert_eq!(new(Scheme::StandardWebhooks, whsec(65).as_bytes()), why(BadKey::NotWhsec));
    for text in [SECRET, b"whsec_", b"whsec_!!!!", b"whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
        assert!(new(Scheme::StandardWebhooks, text).is_err(), "{text:?}");
    }
}

#[test]
fn a_source_has_between_one_and_eight_keys() {
    let new = |count: usize| Keyring::new("signals", Scheme::Hmac, &vec![("k", SECRET); count], 300);
    assert_eq!(new(0).unwrap_err(), BadKey::Count);
    assert!(new(1).is_ok() && new(KEYS_MAX).is_ok());
    assert_eq!(new(KEYS_MAX + 1).unwrap_err(), BadKey::Count);
}

fn flip(bytes: &mut [u8], bit: usize) {
    let bit = bit % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
}

proptest! {
    #[test]
    fn what_is_signed_verifies(secret in prop::collection::vec(any::<u8>(), 24..=64), body: Vec<u8>, id in "[!-~]{1,64}") {
        let whsec = format!("whsec_{}", data_encoding::BASE64.encode(&secret));
        for (scheme, secret) in [(Scheme::Hmac, &secret[..]), (Scheme::StandardWebhooks, whsec.as_bytes())] {
            let keyring = Keyring::new("signals", scheme, &[("k1", secret)], 300).unwrap();
            let headers = signed(&keyring, &body, &id, NOW);
            let verified = keyring.verify(&headers, Bytes::from(body.clone()), NOW).unwrap();
            prop_assert_eq!(verified.body(), &body);
        }
    }

    /// A flipped bit in a header may be one that HTTP refuses before us.
    #[test]
    fn one_flipped_bit_never_passes(
        secret in prop::collection::vec(any::<u8>(), 24..=64),
        body in prop::collection::vec(any::<u8>(), 1..300),
        id in "[!-~]{1,64}",
        part in 0usize..5,
        bit: usize,
    ) {
        let ring = |secret: &[u8]| {
            let whsec = format!("whsec_{}", data_encoding::BASE64.encode(secret));
            Keyring::new("signals", Scheme::StandardWebhooks, &[("k1", whsec.as_bytes())], 300).unwrap()
        };
        let mut values: Vec<Vec<u8>> =
            ring(&secret).sign(&body, &id, NOW).into_iter().map(|(_, value)| value.into_bytes()).collect();
        let (mut secret, mut body) = (secret, body);
        match part {
            0 => flip(&mut secret, bit),
            1 => flip(&mut body, bit),
            header => flip(&mut values[header - 2], bit),
        }
        let pairs = [
            ("webhook-id", &values[0][..]),
            ("webhook-timestamp", &values[1]),
            ("webhook-signature", &values[2]),
        ];
        if let Some(headers) = try_headers(&pairs) {
            prop_assert!(ring(&secret).verify(&headers, body.into(), NOW).is_err());
        }
    }

    /// Hex has two spellings of a letter; every other flipped bit counts.
    #[test]
    fn one_flipped_bit_never_passes_plain_hex(
        secret in prop::collection::vec(any::<u8>(), 24..=64),
        body in prop::collection::vec(any::<u8>(), 1..300),
        part in 0usize..3,
        bit: usize,
    ) {
        let ring = |secret: &[u8]| Keyring::new("signals", Scheme::Hmac, &[("k1", secret)], 300).unwrap();
        let right = ring(&secret).sign(&body, "", 0).remove(0).1;
        let (mut secret, mut body, mut value) = (secret, body, right.clone().into_bytes());
        match part {
            0 => flip(&mut secret, bit),
            1 => flip(&mut body, bit),
            _ => flip(&mut value, bit),
        }
        let same = part == 2 && value.eq_ignore_ascii_case(right.as_bytes());
        if let Some(headers) = try_headers(&[("x-signature", &value)]) {
            prop_assert_eq!(ring(&secret).verify(&headers, body.into(), NOW).is_ok(), same);
        }
    }

    #[test]
    fn foreign_headers_never_panic(id: Vec<u8>, at: Vec<u8>, listed: Vec<u8>, now: u64) {
        let pairs = [
            ("webhook-id", &id[..]),
            ("webhook-timestamp", &at),
            ("webhook-signature", &listed),
            ("x-signature", &listed),
        ];
        if let Some(headers) = try_headers(&pairs) {
            for keyring in [hmac_ring(), webhooks_ring()] {
                prop_assert!(keyring.verify(&headers, Bytes::from_static(BODY), now).is_err());
            }
        }
    }
}

#[test]
fn what_we_send_is_signed_as_the_specification_says() {
    let signer = Signer::new(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let headers = signer.sign(b"{\"test\": 2432232314}", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330);
    let expected = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ];
    assert_eq!(headers.each_ref().map(|(name, value)| (*name, value.as_str())), expected);
    assert_eq!(Signer::new(b"default_secret").err(), Some(BadKey::Published));
    assert_eq!(Signer::new(b"0123456789abcdef01234567").err(), Some(BadKey::NotWhsec));
    assert!(!format!("{signer:?}").contains("MfKQ"));
}

#[test]
fn a_signature_is_fresh_that_is_fresh_by_either_clock() {
    let ring = webhooks_ring();
    let headers = signed(&ring, BODY, "msg_1", NOW);
    let verify = |wall, journal| ring.verify(&headers, Bytes::from_static(BODY), Now { wall, journal });
    let day = 86_400;
    for wrong in [NOW - day, NOW + day] {
        assert!(verify(NOW, wrong).is_ok(), "fresh by the wall clock");
        assert!(verify(wrong, NOW).is_ok(), "fresh by the journal's time");
        assert!(verify(wrong, wrong).is_err(), "fresh by neither");
    }
    assert!(verify(NOW - day, NOW + day).is_err(), "between the two is not fresh");
}
