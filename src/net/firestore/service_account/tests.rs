//! Known answers: the key and the signature of RFC 7515, A.2.

use super::*;

/// The key of RFC 7515, A.2, in PKCS#8.
const KEY: &str = "\
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCh+BYK4uPJtGXOjS1lYmM2K5J9vinh8CR3/BYlzJChNuOL2TSX\
xbbqY913EeZ8dCn5VrD7io8ImtxLaYk8wTM/U+3QGbh3hCUv7JFP5IV3aVlL6kKA0ywPVb9ilE8TA5a8bpvfbr3SvaNnjuygxmj3\
AbONv/s4yDQs4v5tJ/reSlpIdJed1LnPmt7Ex1sFhSwsD174pcF1A5L5ROjtZMEQxrZHYJqkeDrrnGya11UxMFBji4NmXG9veoKj\
lnAqH2QbgtPr8jkiGUkftoaHLFcW9Qr4NY2ai50Xw0Byj3+H2JoY2PyrZ62EWQwuz3WTOTY8BwNNb2BvniHgVFbK5emhAgMBAAEC\
ggEAEq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7/GQ5sLKMgvfTeXZx9SE+7YwVol2NXOoAJe\
46sui395IW/GO+pWJ1O0BkTGoVEn2bKVRUCgu+GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M/V51gfpRLI9JYanr\
C4D4qAdGcopV/0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl/x/jTj3ccPDVZFD9pIuhLhBOneuf\
uBiB4cS98l2SR/RQyGWSeWjnczT0QU91p1DhOVRuOopznQKBgQDgHMQQ60imZV1URk0KpLttoLhyt3SmqdEf/kgHePDdtzEafpAu\
+cS191R2JiuoF2yzWXnwFDcqGigp5BNr0AHQfD8/Lk8l1Mk09jxxCfui5nYooNyac8YFjm3vItzVCVDnEd3BbVWG8qf6deqElMGA\
g+C2V0L4oNXnP7LZcPAZRwKBgQC5A8R+CZW2MvRTLLHzwZkUXV866cff7tx6kqa0finGG0KgeqlaZPxgCZnFp7AeAcCMtiynVlJ7\
vMVgePsLq6XtON4tB5kP9jAPrq3rbAOal78eUH5OcED6eNuCV8ixEu1eWcPNCS/l1OW1EnXUEoEHKl54Xrrz2uNwkgMTP1FZ1wKB\
gAcCn1dwJKufzBWQxWQp1vsM5fggqPN1qGb5y0MAk3g7/Ls5bkUp5u9SN0Ai3Ya6hNnvWJMb7sXQX6U/zyO2M/hTip7tUeh7CXgw\
o59dkpN75gJLVds29+DAncu3KXU4f2Fa+7bLNrur53k8KwPOq2bbuTG69QtV7Jr5MR0AHWKNAoGBAIf/evpitUf+4JYbLpvNXWcY\
052Mpz22aR84mY3nh3F2LF2mjMJDpTg7FmuyPcVw6EcGyoAe9fa65iNqCq+jdw6PVNGo2hxfjSiZ8IIzHdsPXI89//pMjZcQK9r+\
CCoRjaZjOYiIDktVWZzmevJuv6WywUqd57LE3Zar3dLSIkx1AoGAIYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd+DlcxyVuuM9s\
QLdgjVk2oy26F0EmpScGLq2MowX7fhd/QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp/gh6A56\
03k2+ZQwVK0JKSHuLFkuQ3U=";
const SIGNED: &str = "\
eyJhbGciOiJSUzI1NiJ9.\
eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-\
0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--\
f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--\
xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhW\
kWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

fn key_file(more: &str) -> String {
    let pem = format!("-----BEGIN PRIVATE KEY-----\\n{KEY}\\n-----END PRIVATE KEY-----\\n");
    format!(
        r#"{{"type":"service_account","client_email":"gemba@p.iam.gserviceaccount.com","private_key":"{pem}"{more}}}"#
    )
}

#[test]
fn the_example_of_the_rfc_is_signed_alike() {
    let account = ServiceAccount::parse(key_file("").as_bytes()).unwrap();
    let (text, _) = SIGNED.rsplit_once('.').unwrap();
    assert_eq!(signed(&account.key, text.to_owned()).as_deref(), Some(SIGNED));
}

#[test]
fn a_claim_says_who_asks_whom_for_what() {
    let more = r#","private_key_id":"7f","token_uri":"https://oauth2.googleapis.com/token","project_id":"p""#;
    let account = ServiceAccount::parse(key_file(more).as_bytes()).unwrap();
    let claim = account.claim(1_760_000_000).unwrap();
    let parts: Vec<&str> = claim.expose_secret().split('.').collect();
    let part =
        |index: usize| String::from_utf8(BASE64URL_NOPAD.decode(parts[index].as_bytes()).unwrap()).unwrap();
    assert_eq!(part(0), r#"{"alg":"RS256","typ":"JWT","kid":"7f"}"#);
    assert_eq!(
        part(1),
        r#"{"iss":"gemba@p.iam.gserviceaccount.com","scope":"https://www.googleapis.com/auth/datastore","aud":"https://oauth2.googleapis.com/token","iat":1760000000,"exp":1760003600}"#
    );
    assert_eq!(parts.len(), 3);
}

#[test]
fn what_is_no_key_file_is_refused_and_not_quoted() {
    let refused = |text: &str| ServiceAccount::parse(text.as_bytes()).unwrap_err();
    assert_eq!(refused("{"), KeyFileError::Json { line: 1, column: 1 });
    // serde_json itself would quote the text that stands where a map should.
    let quoted = refused(r#""a secret that is no map""#).to_string();
    assert!(!quoted.contains("secret"), "{quoted}");
    assert_eq!(refused(&key_file("").replace("service_account", "authorized_user")), KeyFileError::Type);
    assert_eq!(refused(&key_file("").replace("MIIEv", "MIIEw")), KeyFileError::Key);
    assert_eq!(refused(&key_file("").replace("PRIVATE KEY", "RSA PRIVATE KEY")), KeyFileError::Key);
    let elsewhere = key_file(r#","token_uri":"http://elsewhere.example/token""#);
    assert_eq!(refused(&elsewhere), KeyFileError::TokenUri("http://elsewhere.example/token".to_owned()));
}

#[test]
fn a_private_key_is_not_printed() {
    let account = ServiceAccount::parse(key_file("").as_bytes()).unwrap();
    let printed = format!("{account:?}");
    assert_eq!(printed, r#"ServiceAccount { email: "gemba@p.iam.gserviceaccount.com", .. }"#);
}
