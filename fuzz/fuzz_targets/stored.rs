//! What stands in the state store and in the log is read or refused, whatever the bytes are; what is read is written as it
//! was read.
#![no_main]

use gemba::andon::log::frame;
use gemba::jidoka::governor::Governor;
use gemba::receipt::canonical;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [which, bytes @ ..] = input else { return };
    match which % 3 {
        0 => {
            let Ok(governor) = Governor::decode(bytes) else { return };
            let mut written = Vec::new();
            governor.encode(&mut written);
            // What an older version wrote is written as this one writes it.
            let known = if bytes.first() == written.first() { bytes } else { &written };
            assert_eq!(known, written);
            let mut again = Vec::new();
            Governor::decode(known).expect("what is written can be read").encode(&mut again);
            assert_eq!(known, again);
        }
        1 => {
            let Some(fields) = canonical::load(bytes) else { return };
            let mut again = Vec::new();
            canonical::store(&fields, &mut again);
            assert_eq!(canonical::load(&again), Some(fields));
        }
        _ => {
            let Some((record, rest)) = frame::record(bytes) else { return };
            let fixed = 2 + record.entry.len() + record.salt.len() + record.signature.len();
            assert_eq!(bytes.len(), fixed + record.compact.len() + rest.len());
        }
    }
});
