//! Runs that end before their time, and those that never begin.

use super::*;

/// A node that dies after so many answers: its connections are reset and it listens no more. With `back` it is there
/// again after a while.
fn mortal(listener: TcpListener, answers: usize, back: Option<Duration>) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let address = listener.local_addr().unwrap();
    let (node, given) = (Arc::new(Node::default()), Arc::new(AtomicUsize::new(0)));
    let serving = move |listener: TcpListener, most: usize| {
        listener.set_nonblocking(true).unwrap();
        while given.load(Ordering::Relaxed) < most {
            let Ok((socket, _)) = listener.accept() else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            socket.set_nonblocking(false).unwrap();
            let (node, given) = (Arc::clone(&node), Arc::clone(&given));
            let answer = move |_, request: &str| {
                (given.fetch_add(1, Ordering::Relaxed) < most).then(|| node.answer(request, ""))
            };
            thread::spawn(move || connection(socket, &answer));
        }
    };
    thread::spawn(move || {
        serving(listener, answers);
        if let Some(back) = back {
            thread::sleep(back);
            serving(TcpListener::bind(address).unwrap(), usize::MAX);
        }
    });
}

#[test]
fn a_node_that_dies_ends_the_run_and_what_was_measured_is_kept() {
    for protocol in ["h1", "h2"] {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let flags = format!("--duration 600 --rate 500 --connections 3 --threads 1 --protocol {protocol}");
        let options = options(directory.path(), &listener, &flags);
        match protocol {
            "h1" => mortal(listener, 100, None),
            // Something before the node takes the connections, and there is no node.
            _ => _ = thread::spawn(move || listener.incoming().for_each(drop)),
        }
        let begun = clock::now();
        let summary = run(&options, &Stop::default()).unwrap();
        assert_eq!(summary.ended_early, Some(Ended::NodeGone), "{protocol}");
        assert_eq!(summary.ended_early.map(Ended::exit_code), Some(3));
        assert!(clock::now() - begun < Duration::from_mins(1), "not the whole run");
        assert!(summary.seconds < 60.0, "{}", summary.seconds);
        assert_eq!(summary.requests.unsent, 0, "nobody says what was due");
        assert!(protocol == "h2" || summary.signals.accepted == 100, "{:?}", summary.signals);
        assert!(render(&summary).contains("the node is gone"));
    }
}

#[test]
fn a_node_that_dies_in_the_last_moment_was_gone_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = options(directory.path(), &listener, "--duration 1 --rate 100 --connections 2");
    mortal(listener, 60, None);
    let summary = run(&options, &Stop::default()).unwrap();
    assert_eq!((summary.ended_early, summary.signals.accepted), (Some(Ended::NodeGone), 60));
}

#[test]
fn a_node_that_is_back_in_time_was_not_gone() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = options(directory.path(), &listener, "--duration 3 --rate 100 --connections 2");
    mortal(listener, 60, Some(Duration::from_millis(800)));
    let summary = run(&options, &Stop::default()).unwrap();
    assert_eq!(summary.ended_early, None);
    assert!(summary.signals.accepted > 100 && summary.connections_broken > 2, "{:?}", summary.signals);
}

#[test]
fn a_node_that_stalls_is_not_gone() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = options(directory.path(), &listener, "--duration 6.5 --rate 50 --connections 2");
    let node = Node::default();
    serve(listener, move |count, request| {
        // One connection breaks, the other stalls for longer than a node is waited for.
        if count == 20 {
            thread::sleep(Duration::from_millis(6200));
        }
        Some(node.answer(request, ""))
    });
    let summary = run(&options, &Stop::default()).unwrap();
    assert_eq!((summary.ended_early, summary.requests.unknown), (None, 0));
}

#[test]
fn an_order_to_stop_ends_the_run_with_what_there_is() {
    for protocol in ["h1", "h2"] {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let flags = format!("--duration 600 --rate 200 --connections 2 --protocol {protocol}");
        let options = options(directory.path(), &listener, &flags);
        let node = Node::default();
        // From some time on there is no answer: that is not waited for as long as at an ordinary end.
        match protocol {
            "h1" => serve(listener, move |count, request| {
                if count > 50 {
                    thread::sleep(Duration::from_hours(1));
                }
                Some(node.answer(request, ""))
            }),
            _ => _ = thread::spawn(move || listener.incoming().collect::<Vec<_>>()),
        }
        let stop = Stop::default();
        let order = stop.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(2));
            order.interrupt();
        });
        let begun = clock::now();
        let summary = run(&options, &stop).unwrap();
        assert_eq!(summary.ended_early, Some(Ended::Interrupted));
        assert!(clock::now() - begun < Duration::from_secs(9), "{:?}", clock::now() - begun);
        assert!(summary.requests.unknown > 0, "{:?}", summary.requests);
        assert!(protocol == "h2" || summary.signals.accepted > 10, "{:?}", summary.signals);
        assert!(summary.seconds < 60.0, "{}", summary.seconds);
    }
}

#[test]
fn an_operator_plane_that_refuses_or_is_none_is_told_before_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let sent = Arc::new(Mutex::new(0));
    for (status, exit) in [("401 Unauthorized", 2), ("403 Forbidden", 2), ("HTTP is not spoken", 3)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut options = options(directory.path(), &listener, "--duration 0.1 --verify");
        options.admin_url = options.url.clone();
        options.admin_token_file = directory.path().join("token");
        private(&options.admin_token_file, "0123456789abcdef-operator");
        let posts = Arc::clone(&sent);
        serve(listener, move |_, request| {
            *posts.lock().unwrap() += u32::from(request.starts_with("POST"));
            Some(answer(status, "", ""))
        });
        let error = run(&options, &Stop::default()).unwrap_err();
        assert_eq!(error.exit_code(), exit, "{status}: {error}");
    }
    assert_eq!(*sent.lock().unwrap(), 0);
}

#[test]
fn a_name_with_several_addresses_is_tried_at_each() {
    for bound in ["127.0.0.1:0", "[::1]:0"] {
        // A machine may have no IPv6.
        let Ok(listener) = TcpListener::bind(bound) else { continue };
        let port = listener.local_addr().unwrap().port();
        let others = [format!("[::1]:{port}"), format!("127.0.0.1:{port}")].map(|text| text.parse().unwrap());
        let found = reachable(&others, &Stop::default()).unwrap();
        assert_eq!(found.ok(), listener.local_addr().ok(), "{bound}");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options(directory.path(), &listener, "--duration 0.1");
    let file = directory.path().join("file");
    fs::write(&file, "text").unwrap();
    let taken = directory.path().join("taken");
    fs::create_dir_all(taken.join("latency.hgrm")).unwrap();
    for report in [file.clone(), file.join("below"), taken, "/proc/report".into()] {
        options.report = Some(report.clone());
        let error = run(&options, &Stop::default()).unwrap_err();
        assert!(error.exit_code() == 3 && error.to_string().contains("cannot write the report"), "{error}");
    }
    assert!(listener.set_nonblocking(true).is_ok() && listener.accept().is_err(), "the node was not asked");
    // What is there stays until there is something better.
    let report = directory.path().join("report");
    fs::create_dir(&report).unwrap();
    fs::write(report.join("index.html"), "old").unwrap();
    report::check(&report).unwrap();
    assert_eq!(fs::read_to_string(report.join("index.html")).unwrap(), "old");
    assert!(!report.join("latency.hgrm").exists());
}
