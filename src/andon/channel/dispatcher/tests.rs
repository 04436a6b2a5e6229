//! Queues, pauses, rates and ends, under a clock that jumps to whatever is due next.

use std::collections::BTreeMap;

use super::super::delivery::Delivering;
use super::super::sent::SentPath;
use super::super::tests::notice;
use super::*;
use crate::alert::{Importance, NoticeKind};
use crate::clock;
use crate::disk::{Disk, RealDisk};

const TIMEOUT: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_hours(24);

#[derive(Clone, Copy, Debug)]
enum Does {
    Deliver,
    Refer(&'static str),
    Again,
    After(u64),
    Unsent,
    /// One part has it, and the others miss it.
    Partly(&'static str),
    Refuse,
    Hang,
}

/// A receiver that does what its script says, the last line for ever.
struct Scripted {
    script: Vec<Does>,
    seen: RefCell<Vec<(Instant, Notice, usize)>>,
}

impl Scripted {
    fn new(script: &[Does]) -> Rc<Self> {
        Rc::new(Self { script: script.to_vec(), seen: RefCell::default() })
    }

    fn names(&self) -> Vec<String> {
        self.seen.borrow().iter().map(|(_, notice, _)| notice.name.to_string()).collect()
    }

    /// Seconds from the first try to each.
    fn times(&self) -> Vec<u64> {
        let seen = self.seen.borrow();
        seen.iter().map(|(at, ..)| (*at - seen[0].0).as_secs()).collect()
    }
}

impl Deliver for Scripted {
    fn deliver<'a>(&'a self, delivery: &'a mut Delivery, _: &'a CallMeter, _: Instant) -> Delivering<'a> {
        Box::pin(async move {
            let number = self.seen.borrow().len();
            self.seen.borrow_mut().push((Instant::now(), delivery.notice.clone(), delivery.covers.len()));
            match self.script[number.min(self.script.len() - 1)] {
                Does::Deliver => Ok(Delivered::default()),
                Does::Refer(to) => Ok(Delivered { reference: Some(to.into()), opens: false }),
                Does::Again => Err(Miss::again("it answered 503")),
                Does::After(seconds) => Err(Miss::Again {
                    why: "it answered 429".into(),
                    after: Some(Duration::from_secs(seconds)),
                    is_unsent: true,
                }),
                Does::Unsent => Err(Miss::unsent("no connection")),
                Does::Partly(part) => {
                    delivery.finish(part);
                    Err(Miss::again("a member gave no answer"))
                }
                Does::Refuse => Err(Miss::refused("it answered 400")),
                Does::Hang => std::future::pending().await,
            }
        })
    }
}

fn channel(name: &str, deliver: &Rc<Scripted>, rate: RateLimit) -> EquippedChannel {
    let deliver = Rc::clone(deliver) as Rc<dyn Deliver>;
    EquippedChannel {
        name: name.into(),
        deliver,
        rate,
        waiting_max: 9,
        lists_all: false,
        timeout: TIMEOUT,
        give_up: DAY,
    }
}

/// A journal whose time is that of the machine.
fn around(sent: Option<Rc<SentFile>>) -> Around {
    Around { random: || u64::MAX, time: Rc::new(clock::wall), sent }
}

fn equipped(channels: &[(&str, &Rc<Scripted>)]) -> Dispatcher {
    let mut dispatcher = Dispatcher::new(around(None));
    let channels = channels.iter().map(|(name, deliver)| channel(name, deliver, RateLimit::default()));
    dispatcher.equip_with(channels.collect());
    dispatcher
}

/// A notice of now, so that it has all of its time.
fn now(name: &str, to: &str) -> Notice {
    let mut notice = notice(name, 1);
    notice.id.channel = to.into();
    notice.time = clock::wall();
    notice
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true);
    runtime.build_local(tokio::runtime::LocalOptions::default()).unwrap().block_on(work)
}

fn told(alarm: Alarm) -> (NoticeId, Option<String>, Option<String>, u32) {
    let Alarm::Notified { notice, failed, reference, tries, .. } = alarm else { panic!("{alarm:?}") };
    (notice, failed.map(|text| text.to_string()), reference.map(|text| text.to_string()), tries)
}

#[test]
fn a_notice_ends_with_what_the_receiver_answered() {
    run(async {
        let chat = Scripted::new(&[Does::Refer("C1:1.2"), Does::Refuse]);
        let mut dispatcher = equipped(&[("chat", &chat)]);
        for (name, failed, reference) in [("a", None, Some("C1:1.2")), ("b", Some("it answered 400"), None)] {
            dispatcher.submit(now(name, "chat"));
            let (_, was, referred, tries) = told(dispatcher.next().await);
            assert_eq!((was.as_deref(), referred.as_deref(), tries), (failed, reference, 1));
        }
        dispatcher.submit(now("c", "nobody"));
        let (.., failed, _, tries) = told(dispatcher.next().await);
        assert_eq!((failed.as_deref(), tries), (Some("no channel `nobody` is configured"), 0));
        let watch = &dispatcher.watches()[0];
        assert_eq!((watch.sent(), watch.failed(), watch.breaker(), watch.waiting()), (1, 1, 0, 0));
        assert!(dispatcher.lanes[0].lately.is_told.get(), "the log tells of a refusal");
        assert_eq!(dispatcher.under_way(), 0);
    });
}

#[test]
fn a_channel_that_fails_is_asked_once_a_pause_that_doubles_until_it_works() {
    run(async {
        let chat = Scripted::new(&[Does::Again, Does::Again, Does::Again, Does::Deliver]);
        let mut dispatcher = equipped(&[("chat", &chat)]);
        dispatcher.submit(now("a", "chat"));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(dispatcher.watches()[0].breaker(), 2);
        let (_, failed, _, tries) = told(dispatcher.next().await);
        assert_eq!((failed, tries), (None, 4));
        assert_eq!(dispatcher.watches()[0].breaker(), 0);
        // The longest pauses: 1, 2 and 4 s.
        assert_eq!(chat.times().len(), 4);
        assert!((6..=7).contains(&chat.times()[3]), "{:?}", chat.times());
    });
}

#[test]
fn a_channel_says_why_nothing_arrives_until_its_receiver_answers() {
    for (does, seconds, why) in [
        (Does::Again, 0, "it answered 503"),
        (Does::After(90), 0, "it answered 429"),
        (Does::Hang, 31, "no answer within 30 s"),
    ] {
        run(async {
            let chat = Scripted::new(&[does, Does::Refuse]);
            let mut dispatcher = equipped(&[("chat", &chat)]);
            dispatcher.submit(now("a", "chat"));
            tokio::time::sleep(Duration::from_secs(seconds) + Duration::from_millis(10)).await;
            let watch = Rc::clone(&dispatcher.watches()[0]);
            assert_eq!(watch.why().as_deref(), Some(why));
            dispatcher.next().await;
            assert_eq!(watch.why(), None);
        });
    }
}

#[test]
fn what_cannot_be_delivered_fails_after_its_time() {
    run(async {
        let chat = Scripted::new(&[Does::Again]);
        let mut dispatcher = equipped(&[("chat", &chat)]);
        let begin = Instant::now();
        dispatcher.submit(now("a", "chat"));
        let (_, failed, _, tries) = told(dispatcher.next().await);
        let failed = failed.unwrap();
        assert!(failed.starts_with("given up after") && failed.ends_with("it answered 503"), "{failed}");
        assert!(
            begin.elapsed() > Duration::from_hours(23) && begin.elapsed() <= DAY + Duration::from_secs(1)
        );
        // Once in five minutes at the most.
        assert!((280..310).contains(&tries), "{tries}");
    });
}

#[test]
fn an_old_notice_has_a_try_and_not_another_day() {
    run(async {
        let chat = Scripted::new(&[Does::Again]);
        let mut dispatcher = equipped(&[("chat", &chat)]);
        let mut old = Notice { maybe_twice: true, ..now("a", "chat") };
        old.time.0 -= 3 * 24 * 3_600_000;
        let begin = Instant::now();
        dispatcher.submit(old);
        let (_, failed, _, tries) = told(dispatcher.next().await);
        assert!(failed.is_some() && tries > 1);
        assert!(begin.elapsed() <= CHANNEL_PAUSE_MAX + Duration::from_secs(1));
    });
}

#[test]
fn a_receiver_that_asks_for_time_gets_it_for_the_whole_channel() {
    run(async {
        let chat = Scripted::new(&[Does::After(90), Does::Deliver]);
        let mut dispatcher = equipped(&[("chat", &chat)]);
        for name in ["a", "b", "c"] {
            dispatcher.submit(now(name, "chat"));
        }
        for _ in 0..3 {
            assert_eq!(told(dispatcher.next().await).1, None);
        }
        assert_eq!((chat.names().join(""), chat.times()), ("aabc".into(), vec![0, 90, 90, 90]));
        let watch = &dispatcher.watches()[0];
        assert_eq!((watch.rate_limited(), watch.failed(), watch.breaker()), (1, 0, 0));
    });
}

#[test]
fn a_receiver_that_hangs_holds_up_its_own_channel_alone() {
    run(async {
        let (hangs, works) = (Scripted::new(&[Does::Hang]), Scripted::new(&[Does::Deliver]));
        let mut dispatcher = equipped(&[("hangs", &hangs), ("works", &works)]);
        let begin = Instant::now();
        for number in 0..100 {
            dispatcher.submit(now(&format!("h{number}"), "hangs"));
            dispatcher.submit(now(&format!("w{number}"), "works"));
            let (notice, failed, ..) = told(dispatcher.next().await);
            assert_eq!((&*notice.channel, failed), ("works", None));
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert_eq!(dispatcher.under_way(), 100);
    });
}

#[test]
fn one_that_a_receiver_cannot_take_does_not_keep_others_from_it() {
    run(async {
        // Every other try fails: it is always that of the first notice, which waits longer each time.
        struct Picky(Cell<u32>);
        impl Deliver for Picky {
            fn deliver<'a>(
                &'a self,
                delivery: &'a mut Delivery,
                _: &'a CallMeter,
                _: Instant,
            ) -> Delivering<'a> {
                Box::pin(async move {
                    self.0.set(self.0.get() + 1);
                    if &*delivery.notice.name == "poison" {
                        Err(Miss::again("500"))
                    } else {
                        Ok(Delivered::default())
                    }
                })
            }
        }
        let mut dispatcher = Dispatcher::new(around(None));
        let deliver = Rc::new(Picky(Cell::new(0)));
        dispatcher.equip_with(vec![EquippedChannel {
            deliver,
            ..channel("chat", &Scripted::new(&[]), RateLimit::default())
        }]);
        dispatcher.submit(now("poison", "chat"));
        let begin = Instant::now();
        for number in 0..50 {
            dispatcher.submit(now(&format!("n{number}"), "chat"));
            assert_eq!(told(dispatcher.next().await).1, None);
        }
        assert!(begin.elapsed() < Duration::from_mins(5), "{:?}", begin.elapsed());
    });
}

#[test]
fn a_storm_is_a_few_messages_and_every_notice_ends_once() {
    run(async {
        let chat = Scripted::new(&[Does::After(60), Does::Refer("C1:1")]);
        let mut dispatcher = equipped(&[("chat", &chat)]);
        let mut under_way = BTreeMap::new();
        for number in 0..10_000 {
            let notice = now(&format!("g{number}"), "chat");
            under_way.insert(notice.id.clone(), 0);
            dispatcher.submit(notice);
            tokio::task::yield_now().await;
        }
        assert_eq!(dispatcher.under_way(), 10_000);
        let mut referred = 0;
        while dispatcher.under_way() > 0 {
            let (notice, failed, reference, _) = told(dispatcher.next().await);
            assert_eq!(failed, None);
            referred += u32::from(reference.is_some());
            *under_way.get_mut(&notice).unwrap() += 1;
        }
        assert!(under_way.values().all(|ends| *ends == 1));
        let seen = chat.seen.borrow();
        assert!(seen.len() <= 11, "{} messages", seen.len());
        let digests = seen.iter().filter(|(.., covers)| *covers > 1).count();
        assert_eq!(digests, 1);
        assert_eq!(referred as usize, seen.len() - 1 - digests, "a digest is nobody's first message");
    });
}

#[test]
fn beyond_the_bound_of_names_a_notice_fails_at_once() {
    run(async {
        let chat = Scripted::new(&[Does::Hang]);
        let mut dispatcher = equipped(&[("chat", &chat)]);
        for number in 0..=CHANNEL_NAMES_MAX {
            dispatcher.submit(now(&format!("{number}"), "chat"));
        }
        let (notice, failed, ..) = told(dispatcher.next().await);
        assert!(failed.unwrap().contains("without an end"));
        assert_eq!(notice, now(&CHANNEL_NAMES_MAX.to_string(), "chat").id);
        assert_eq!(dispatcher.under_way(), CHANNEL_NAMES_MAX);
    });
}

/// What is critical is not turned away for what is to know.
#[test]
fn beyond_the_bound_of_names_the_least_urgent_gives_way() {
    run(async {
        let chat = Scripted::new(&[Does::Hang]);
        let mut dispatcher = equipped(&[("chat", &chat)]);
        let of = |name: &str, importance| Notice { importance, ..now(name, "chat") };
        for number in 0..CHANNEL_NAMES_MAX {
            dispatcher.submit(of(&format!("{number}"), Importance::Info));
        }
        let newest = of(&(CHANNEL_NAMES_MAX - 1).to_string(), Importance::Info);
        dispatcher.submit(of("urgent", Importance::Critical));
        let (notice, failed, ..) = told(dispatcher.next().await);
        assert_eq!((notice, failed.unwrap().contains("more urgent")), (newest.id, true));
        assert_eq!(dispatcher.under_way(), CHANNEL_NAMES_MAX);
        dispatcher.submit(of("one more", Importance::Info));
        let (notice, failed, ..) = told(dispatcher.next().await);
        assert_eq!(
            (notice, failed.unwrap().contains("without an end")),
            (of("one more", Importance::Info).id, true)
        );
    });
}

#[test]
fn a_newer_notice_takes_the_place_of_one_that_waits() {
    run(async {
        let chat = Scripted::new(&[Does::Again, Does::Deliver]);
        let mut dispatcher = equipped(&[("chat", &chat)]);
        let first = now("a", "chat");
        let mut second = first.clone();
        (second.id.step, second.tells) = (2, NoticeKind::Resolved);
        dispatcher.submit(first.clone());
        tokio::task::yield_now().await;
        dispatcher.submit(second.clone());
        let (notice, failed, _, tries) = told(dispatcher.next().await);
        assert_eq!((notice, failed.as_deref(), tries), (first.id, Some("replaced by a newer one"), 1));
        let (notice, failed, ..) = told(dispatcher.next().await);
        assert_eq!((notice, failed), (second.id, None));
    });
}

#[test]
fn the_urgent_go_first_at_the_rate_of_the_channel() {
    run(async {
        let chat = Scripted::new(&[Does::Deliver]);
        let mut dispatcher = Dispatcher::new(around(None));
        dispatcher.equip_with(vec![channel("chat", &chat, RateLimit::slack())]);
        for (name, importance) in [
            ("i", Importance::Info),
            ("w", Importance::Warning),
            ("c", Importance::Critical),
            ("d", Importance::Critical),
        ] {
            dispatcher.submit(Notice { importance, ..now(name, "chat") });
        }
        for _ in 0..4 {
            told(dispatcher.next().await);
        }
        assert_eq!((chat.names().join(""), chat.times()), ("cdwi".into(), vec![0, 1, 2, 3]));
    });
}

/// Pays for a message, and does what a script says.
struct Paid(Rc<Scripted>);

impl Paid {
    fn new(scripted: &Rc<Scripted>) -> Rc<Self> {
        Rc::new(Self(Rc::clone(scripted)))
    }
}

impl Deliver for Paid {
    fn deliver<'a>(
        &'a self,
        delivery: &'a mut Delivery,
        meter: &'a CallMeter,
        until: Instant,
    ) -> Delivering<'a> {
        Box::pin(async move {
            meter.message().await?;
            self.0.deliver(delivery, meter, until).await
        })
    }
}

fn paid(name: &str, deliver: &Rc<Paid>, rate: RateLimit) -> EquippedChannel {
    let deliver = Rc::clone(deliver) as Rc<dyn Deliver>;
    EquippedChannel { deliver, ..channel(name, &Scripted::new(&[]), rate) }
}

#[test]
fn what_is_paid_for_is_bounded_whatever_becomes_of_it() {
    run(async {
        for does in [Does::Again, Does::Hang, Does::After(1)] {
            let sms = Scripted::new(&[does]);
            let mut dispatcher = Dispatcher::new(around(None));
            dispatcher.equip_with(vec![paid("sms", &Paid::new(&sms), RateLimit::sms(30))]);
            dispatcher.submit(now("a", "sms"));
            dispatcher.submit(now("b", "sms"));
            // A reload does not begin the ladder anew.
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_mins(3)).await;
                dispatcher.equip_with(vec![paid("sms", &Paid::new(&sms), RateLimit::sms(30))]);
            }
            let (times, hour) = (sms.times(), 3600);
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 60), "{does:?}: {times:?}");
            assert!(times.iter().filter(|at| **at < hour).count() <= 11, "{does:?}: {times:?}");
            assert_eq!(times.len(), 30, "{does:?}: a month has no more");
        }
    });
}

#[test]
fn a_restart_begins_neither_the_ladder_nor_the_month_anew() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    // The file is written by a thread, so the clock is that of the machine.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build_local(tokio::runtime::LocalOptions::default()).unwrap();
    runtime.block_on(async {
        for (start, expected) in [(0, Some(None)), (1, None), (2, None)] {
            let sms = Scripted::new(&[Does::Deliver]);
            let sent = Some(Rc::new(SentFile::read(SentPath::of(&disk, dir.path()))));
            let mut dispatcher = Dispatcher::new(around(sent));
            let rate = RateLimit { windows: vec![(1, Duration::from_hours(1))], month_max: Some(2) };
            dispatcher.equip_with(vec![paid("sms", &Paid::new(&sms), rate)]);
            dispatcher.submit(now(&format!("{start}"), "sms"));
            let until = if expected.is_some() { Duration::from_mins(1) } else { Duration::from_millis(300) };
            let told = tokio::time::timeout(until, dispatcher.next()).await.ok().map(|alarm| told(alarm).1);
            assert_eq!(told, expected, "start {start}");
        }
        let sms = Scripted::new(&[Does::Deliver]);
        let sent = Some(Rc::new(SentFile::read(SentPath::of(&disk, dir.path()))));
        let mut dispatcher = Dispatcher::new(around(sent));
        let rate = RateLimit { windows: Vec::new(), month_max: Some(1) };
        dispatcher.equip_with(vec![paid("sms", &Paid::new(&sms), rate)]);
        dispatcher.submit(now("a", "sms"));
        assert_eq!(told(dispatcher.next().await).1.as_deref(), Some(MONTH_USED_UP));
    });
}

#[test]
fn what_a_receiver_asked_for_holds_over_a_reload() {
    run(async {
        let chat = Scripted::new(&[Does::After(90), Does::Deliver]);
        let mut dispatcher = equipped(&[("chat", &chat)]);
        dispatcher.submit(now("a", "chat"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        dispatcher.equip_with(vec![channel("chat", &chat, RateLimit::default())]);
        assert_eq!(told(dispatcher.next().await).1, None);
        assert_eq!(chat.times(), [0, 90]);
    });
}

#[test]
fn a_wall_clock_that_jumps_takes_no_time_from_a_notice() {
    run(async {
        let chat = Scripted::new(&[Does::Again]);
        let mut dispatcher = equipped(&[("chat", &chat)]);
        let mut notice = now("a", "chat");
        notice.time.0 -= 24 * 3_600_000;
        let begin = Instant::now();
        dispatcher.submit(notice);
        told(dispatcher.next().await);
        assert!(begin.elapsed() > Duration::from_hours(23), "{:?}", begin.elapsed());
    });
}

#[test]
fn a_page_that_is_over_before_it_is_sent_is_not_sent() {
    run(async {
        let sms = Scripted::new(&[Does::Deliver]);
        let mut dispatcher = Dispatcher::new(around(None));
        dispatcher.equip_with(vec![channel("sms", &sms, RateLimit::sms(100))]);
        dispatcher.submit(now("first", "sms"));
        told(dispatcher.next().await);
        let page = now("a", "sms");
        let mut said = page.clone();
        (said.id.step, said.tells) = (2, NoticeKind::Acknowledged);
        let mut end = page.clone();
        (end.id.step, end.tells) = (3, NoticeKind::Resolved);
        dispatcher.submit(page);
        dispatcher.submit(said);
        dispatcher.submit(end);
        for step in 1..=3 {
            let Alarm::Notified { notice, failed, replaced, maybe, tries, .. } = dispatcher.next().await
            else {
                panic!()
            };
            assert_eq!((notice.step, replaced, maybe, tries), (step, true, false, 0), "{failed:?}");
        }
        assert_eq!((sms.names(), dispatcher.under_way()), (vec!["first".to_owned()], 0));
    });
}

#[test]
fn a_month_that_is_used_up_fails_notices_at_once() {
    run(async {
        let chat = Scripted::new(&[Does::Deliver]);
        let mut dispatcher = Dispatcher::new(around(None));
        let rate = RateLimit { windows: Vec::new(), month_max: Some(1) };
        dispatcher.equip_with(vec![paid("chat", &Paid::new(&chat), rate)]);
        dispatcher.submit(now("a", "chat"));
        assert_eq!(told(dispatcher.next().await).1, None);
        dispatcher.submit(now("b", "chat"));
        let (_, failed, ..) = told(dispatcher.next().await);
        assert_eq!(failed.as_deref(), Some("the messages of this month are used up"));
    });
}

#[test]
fn a_reload_keeps_what_waits_and_a_channel_that_is_gone_ends_what_it_has() {
    run(async {
        let (fails, works) = (Scripted::new(&[Does::Again]), Scripted::new(&[Does::Deliver]));
        let mut dispatcher = equipped(&[("chat", &fails), ("old", &works)]);
        dispatcher.submit(now("a", "chat"));
        dispatcher.submit(now("b", "old"));
        tokio::task::yield_now().await;
        dispatcher.equip_with(vec![channel("chat", &works, RateLimit::default())]);
        let mut ended = [told(dispatcher.next().await), told(dispatcher.next().await)];
        ended.sort();
        assert!(ended.iter().all(|(_, failed, ..)| failed.is_none()), "{ended:?}");
        assert_eq!(dispatcher.watches().len(), 1);
        dispatcher.submit(now("c", "old"));
        assert!(told(dispatcher.next().await).1.is_some());
    });
}

/// Of a beginning that surely did not arrive, nobody is told the end.
#[test]
fn who_cannot_have_heard_the_beginning_hears_no_end() {
    run(async {
        for (does, is_told) in
            [(Does::Unsent, false), (Does::After(5), false), (Does::Again, true), (Does::Hang, true)]
        {
            for tells in [NoticeKind::Acknowledged, NoticeKind::Resolved] {
                let chat = Scripted::new(&[does, Does::Deliver]);
                let mut dispatcher = equipped(&[("chat", &chat)]);
                let first = now("a", "chat");
                let mut second = first.clone();
                (second.id.step, second.tells) = (2, tells);
                dispatcher.submit(first);
                tokio::time::sleep(Duration::from_millis(10)).await;
                dispatcher.submit(second);
                let mut ends = Vec::new();
                while dispatcher.under_way() > 0 {
                    let Alarm::Notified { failed, replaced, maybe, .. } = dispatcher.next().await else {
                        panic!()
                    };
                    ends.push((failed.is_some(), replaced, maybe));
                }
                if !is_told {
                    assert_eq!(ends, [(true, true, false); 2], "{does:?} {tells:?}");
                }
                assert_eq!(chat.names().len() > 1, is_told, "{does:?} {tells:?}");
            }
        }
    });
}

#[test]
fn a_receiver_that_asks_for_no_time_is_left_alone_longer_each_time() {
    run(async {
        let chat = Scripted::new(&[Does::After(0)]);
        let mut dispatcher = equipped(&[("chat", &chat)]);
        for name in ["a", "b", "c"] {
            dispatcher.submit(now(name, "chat"));
        }
        tokio::time::sleep(Duration::from_mins(1)).await;
        let times = chat.times();
        assert!((5..=7).contains(&times.len()), "{times:?}");
        assert_eq!((dispatcher.watches()[0].failed(), dispatcher.watches()[0].breaker()), (0, 0));
    });
}

#[test]
fn one_member_that_is_away_does_not_keep_news_from_the_others() {
    run(async {
        let chat = Scripted::new(&[Does::Partly("member 0")]);
        let mut dispatcher = equipped(&[("chat", &chat)]);
        dispatcher.submit(now("a", "chat"));
        tokio::time::sleep(Duration::from_mins(30)).await;
        for name in ["b", "c"] {
            dispatcher.submit(now(name, "chat"));
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert_eq!(chat.names().last().map(String::as_str), Some(name), "it is told at once");
        }
        assert_eq!(dispatcher.watches()[0].breaker(), 0);
    });
}

#[test]
fn what_follows_a_beginning_goes_with_it_where_its_channel_was_left_out() {
    run(async {
        let old = Scripted::new(&[Does::Again, Does::Deliver]);
        let mut dispatcher = equipped(&[("old", &old)]);
        let first = now("a", "old");
        dispatcher.submit(first.clone());
        tokio::time::sleep(Duration::from_millis(10)).await;
        dispatcher.equip_with(Vec::new());
        let mut end = first.clone();
        (end.id.step, end.tells) = (3, NoticeKind::Resolved);
        dispatcher.submit(now("b", "old"));
        dispatcher.submit(end);
        let mut ends = Vec::new();
        while dispatcher.under_way() > 0 {
            let (notice, failed, ..) = told(dispatcher.next().await);
            ends.push((notice.step, failed));
        }
        let left_out = "no channel `old` is configured";
        let replaced = "replaced by a newer one";
        assert_eq!(ends, [(1, Some(left_out.into())), (1, Some(replaced.into())), (3, None)]);
        // When nothing waits there any more, it is gone.
        dispatcher.submit(Notice { tells: NoticeKind::Resolved, ..now("c", "old") });
        assert_eq!(told(dispatcher.next().await).1.as_deref(), Some(left_out));
    });
}
