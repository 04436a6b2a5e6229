//! The `gemba` binary: allocator and exit code; everything else is in the library.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    use gemba::*;
    use std::sync::Arc;
    let data: std::path::PathBuf = std::env::args().nth(1).unwrap().into();
    let threads: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let secret = b"0123456789abcdef0123456789abcdef";
    let keyring = signature::Keyring::new("signals", signature::Scheme::Hmac, &[("k1", secret)], 300).unwrap();
    let settings = line::settings::Settings {
        origin: "gemba.local/dev".into(),
        data_dir: data,
        listen: "127.0.0.1:8080".parse().unwrap(),
        admin_listen: "127.0.0.1:9090".parse().unwrap(),
        ingress_threads: threads,
        shards: 1,
        tokens: operator::Tokens::new(vec![operator::Token::new("root", operator::Role::Admin, b"root")]),
        sources: Arc::new(vec![ingress::stage::Source { name: "signals".into(), keyring, fixed: Default::default() }]),
        rate: None,
        rules: Default::default(),
        dedup: kanban::dedup::Settings { capacity: 8_000_000, horizon_millis: 96 * 3_600_000, floor_millis: 600_000 },
        segment_bytes: 64 << 20,
        low_water_bytes: 256 << 20,
        receipt_secret: zeroize::Zeroizing::new(vec![1; 32]),
        log_seed: zeroize::Zeroizing::new(vec![2; 32]),
    };
    let drain = ring::Switch::new();
    let d2 = drain.clone();
    std::thread::spawn(move || {
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        rt.block_on(async { let mut s = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap(); s.recv().await; d2.turn_on(); });
    });
    let r = line::serve(settings, drain, || eprintln!("ready"));
    eprintln!("{r:?}");
}
