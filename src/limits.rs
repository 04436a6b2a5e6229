//! Every bound of the program, with its reason. What a user must choose is in the configuration instead.

use std::time::Duration;

/// Longest tenant or SKU name, in bytes (interface contract).
pub const NAME_BYTES_MAX: usize = 64;
/// Longest name of an edge: a node's name, a dot, and the 16 digits of its journal's id.
pub const EDGE_BYTES_MAX: usize = NAME_BYTES_MAX + 1 + 16;
/// Longest signal id and type, in bytes (interface contract).
pub const ID_BYTES_MAX: usize = 128;
/// JSON nesting that a signal may have; serde_json alone would stop at 128.
pub const JSON_DEPTH_MAX: usize = 32;
/// JSON values in one signal, so that the twin-key check stays cheap.
pub const JSON_NODES_MAX: usize = 10_000;
/// Keys in one JSON object.
pub const JSON_KEYS_MAX: usize = 1_000;
/// Signals in one batch: one batch is one unit in the journal and in the answer.
pub const BATCH_SIGNALS_MAX: usize = 1_000;
/// Request body in bytes. Standard Webhooks advises under 20 KB; a batch of 1,000 short signals fits.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Bytes of one journal frame, records and header. At 512 KiB a sync costs little more than the bytes; larger frames
/// only make the first signal in them wait. One unit more than this fits, so that a unit is never split.
pub const FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A frame takes no further unit once it has this many bytes.
pub const FRAME_BYTES_SOFT: usize = 1024 * 1024;
/// Events in one journal frame; bounds what the journal hands to the shards at once, and how many numbers a crash
/// can waste.
pub const FRAME_EVENTS_MAX: usize = 16_384;
/// Largest segment of the journal, in MiB. Room is made for a whole one, and for the next beside it, so a number of another
/// order of size fills the disk at the start; the journal is given back segment by segment.
pub const SEGMENT_MIB_MAX: u32 = 1024;

// Descriptors. The reserve is counted beside connections of clients; an idle node with two ingress threads has 33 open.

/// Descriptors of journal, log, memory of identities and state store: 32 runs and the ones that replace them, 64 tables
/// of the state store and 64 in a compaction, 16 for segments, spares, readers, directories and standard streams.
pub const STORAGE_DESCRIPTORS: usize = 2 * DEDUP_RUNS_MAX + 2 * STORE_FILES_CACHED + 16;
/// Descriptors of one thread's runtime: its poller, two ways to wake it, and one to spare.
pub const RUNTIME_DESCRIPTORS: usize = 4;
/// Descriptors of one target: each call has a connection or looks a name up, which takes a socket and a file.
pub const TARGET_DESCRIPTORS: usize = 2 * TARGET_CALLS_MAX;
/// Descriptors of a connection to the broker or to Firestore: two during a reconnect, and a name that is looked up.
pub const LINK_DESCRIPTORS: usize = 8;
/// A file of ours that finds no descriptor is tried again: 10 s. Idle connections of clients end within that.
pub const DESCRIPTOR_TRIES: u32 = 200;
pub const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(50);

// Standard error.

/// Lines that wait for standard error; beyond, lines are lost and counted.
pub const DIAGNOSTICS_HELD_MAX: usize = 1024;
/// Lines that wait for one other destination of the log; beyond, lines are lost and counted.
pub const LOG_LINES_HELD_MAX: usize = 4096;
/// Files of the log that a configuration may name, and files that one of them wraps through.
pub const LOG_FILES_MAX: usize = 8;
pub const LOG_WRAPS_MAX: u32 = 1000;
/// Bytes of one line of an audit file, so that the last one is found from the end: a record of the log has 64 KiB, and JSON takes
/// up to six bytes for one of them.
pub const AUDIT_LINE_BYTES_MAX: usize = 512 * 1024;
/// How often is looked whether the log has grown: an audit file is read by people and shippers, who do not wait for a line.
pub const AUDIT_LOOK: Duration = Duration::from_millis(250);
/// Entries of the log that are looked through before an order to end is heard.
pub const AUDIT_ENTRIES_ROUND: u64 = 65_536;
/// Entries of which none is written, before it is kept that they need not be read again: some seconds of reading.
pub const AUDIT_ENTRIES_NOTED: u64 = 1 << 20;
/// Entries of the log that one search looks through: some tens of milliseconds of reading.
pub const SEARCH_ENTRIES: u64 = 50_000;
/// Segments that one search walks whole, since nobody has asked for them since the start: as many times 64 MiB.
pub const SEARCH_SEGMENTS: u64 = 4;
/// A receipt has the time of its event, and stands in the log where that was decided: so much later at most, as searches count.
pub const SEARCH_SLACK_MILLIS: u64 = 60 * 60 * 1000;
/// After a search the next one waits as many times as long as that took: searches take half of one processor at most.
pub const SEARCH_REST: u32 = 1;
/// How long the end of the line waits for audit files that are behind the log; the next start writes the rest. With what the
/// line takes before it this is less than the ten seconds after which `docker stop` kills.
pub const AUDIT_END_WAIT: Duration = Duration::from_secs(1);
/// Bytes of one syslog message: what receivers should take (RFC 5425, 4.3.1).
pub const SYSLOG_BYTES_MAX: usize = 8192;
/// How long a syslog receiver is waited for, and the pause before it is connected to again: at first, and at most.
pub const SYSLOG_TIMEOUT: Duration = Duration::from_secs(5);
pub const SYSLOG_PAUSE: Duration = Duration::from_millis(200);
pub const SYSLOG_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Bytes of one line; a panic's message may be of any length.
pub const DIAGNOSTIC_BYTES_MAX: usize = 8 * 1024;
/// At its end the process waits this long for whoever reads standard error.
pub const DIAGNOSTICS_LAST: Duration = Duration::from_secs(1);
/// How long a panic, or a second signal to end, waits until its line is written: the process may end right after.
pub const PANIC_WAIT: Duration = Duration::from_millis(250);
/// Lines that one place in the program may log at once, and how often it may log one more: a fault that lasts costs at most
/// 14,400 lines a day. A first start tells of each secret that it makes, so it needs many at once.
pub const LOG_LINES_BURST: u32 = 100;
pub const LOG_LINE_EVERY: Duration = Duration::from_secs(6);

// Ingress: the table of `reliability.md`, section 4. What the libraries would do if left alone stands beside it.

/// Time for a request's head, and for a frame or a header block of HTTP/2. hyper: none without a timer; h2: none.
pub const HEADER_READ_SECONDS: u32 = 10;
/// Time for a whole body.
pub const BODY_READ_SECONDS: u32 = 15;
/// So long a body may come as it will; from then on it must come at [`BODY_BYTES_PER_SECOND`].
pub const BODY_GRACE_SECONDS: u32 = 2;
pub const BODY_BYTES_PER_SECOND: usize = 1024;
/// A client that does not take its answer is cut off after so long.
pub const RESPONSE_WRITE_SECONDS: u32 = 10;
/// Requests on one connection. Its age closes it before this: `ingress.connection_seconds`.
pub const CONNECTION_REQUESTS_MAX: u64 = 100_000_000;
/// After we have closed our side of a connection the client has this long to read what was sent, and may send this many
/// bytes more.
pub const CLOSE_SECONDS: u32 = 2;
pub const CLOSE_BYTES_MAX: usize = 1024 * 1024;
/// Header fields of one request. hyper: 100.
pub const HEADERS_MAX: usize = 64;
/// Bytes of one request's header fields. hyper: about 400 KB for HTTP/1.1.
pub const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of a request's path and query.
pub const URL_BYTES_MAX: usize = 1024;
/// Read buffer of an HTTP/1.1 connection: a body of a usual batch comes in one piece.
pub const H1_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes held for clients that have proved nothing yet: heads, frames and bodies that arrive in parts, answers that nobody
/// takes and refusals that wait, all together.
pub const UNVERIFIED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Requests of one HTTP/1.1 connection that may wait for their answers.
pub const ANSWERS_HELD_MAX: usize = 128;
/// Bytes of answers that one HTTP/1.1 connection may leave unread before its next request is read.
pub const ANSWER_BYTES_HELD_MAX: usize = 64 * 1024;
/// Work on signed requests that a sender may be refused at once, in bytes of their bodies, and how much of it each second:
/// about a hundredth of a core. Senders that obey `Retry-After` come again after a second at the earliest.
pub const REFUSED_AT_ONCE_BYTES: u64 = 4 * 1024 * 1024;
pub const REFUSED_BYTES_PER_SECOND: u64 = 1024 * 1024;
/// What a request counts beside its body: its head, its signature, its answer.
pub const REFUSED_REQUEST_BYTES: u64 = 16 * 1024;
/// Beyond that a refusal waits, and its connection is not read: at most so long. Senders wait longer for an answer.
pub const REST: Duration = Duration::from_secs(2);
/// The same on a connection that carries several tenants, whose others wait with it.
pub const REST_SHARED: Duration = Duration::from_millis(5);
/// HTTP/2 limits. hyper: 200 streams, 20 pending and 1,024 local resets.
pub const H2_STREAMS_MAX: u32 = 100;
pub const H2_STREAM_WINDOW_BYTES: u32 = 64 * 1024;
pub const H2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
pub const H2_FRAME_BYTES: u32 = 16 * 1024;
pub const H2_PENDING_RESETS_MAX: usize = 20;
pub const H2_LOCAL_RESETS_MAX: usize = 100;
/// Answers of one HTTP/2 connection that wait for the client to open a window. An answer has some hundred bytes and the
/// usual window 64 KiB, so a client that reads has none.
pub const H2_BLOCKED_ANSWERS_MAX: usize = 16;
/// Connections of the whole node; fewer where the limit of descriptors leaves fewer.
pub const CONNECTIONS_MAX: usize = 10_000;
/// A node that could hold fewer than these does not start.
pub const CONNECTIONS_MIN: usize = 64;
/// Connections of one thread above its limit while those that make room for them are still closing.
pub const CONNECTIONS_CLOSING_MAX: usize = 64;
/// Connections that are accepted and wait for one ingress thread to look at them.
pub const ACCEPTED_LANE: usize = 32;
/// Connections of one address (IPv6: of one /64) on one thread; they are spread evenly over the threads.
pub const CONNECTIONS_PER_ADDRESS_MAX: u32 = 256;
/// Longest wait for the journal; then 503, and the sender repeats the signal.
pub const JOURNAL_WAIT_SECONDS: u32 = 10;

// Policy packs.

/// Bytes of one pack's text. The largest shipped one has a sixth of it.
pub const PACK_BYTES_MAX: usize = 64 * 1024;
/// Packs of one node.
pub const PACKS_MAX: usize = 32;
/// A longer file is neither a configuration nor a pack, and is not read to its end.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// How long a named pipe may stay silent: its writer may have to ask a server first.
pub const PIPE_WAIT: Duration = Duration::from_secs(30);
/// Rules of one pack, and all examples of one rule.
pub const RULES_MAX: usize = 256;
pub const EXAMPLES_MAX: usize = 64;
/// Signals of one example, each sent at most [`EXAMPLE_TIMES_MAX`] times: what a person reads.
pub const EXAMPLE_SIGNALS_MAX: usize = 64;
/// How often an example sends one signal: more than any memory of a pack needs, and a test stays quick.
pub const EXAMPLE_TIMES_MAX: u32 = 1000;
/// Memories that all packs of one tenant may declare: about 300 bytes each in a governor that uses them.
pub const MEMORIES_MAX: usize = 64;
/// The longest window of a memory: 400 days.
pub const MEMORY_WINDOW_SECONDS_MAX: u32 = 400 * 86_400;
/// The longest time after which the alert of a rule ends by itself: 30 days. What nobody looked at for longer is closed by hand.
pub const ALERT_MINUTES_MAX: u32 = 30 * 24 * 60;
/// Halts of tenants that hold at once: what people keep in mind.
pub const TENANT_HALTS_MAX: usize = 32;
/// Halts of targets that hold at once. They have places of their own, and so has the line's: whatever else is halted, it can be.
pub const TARGET_HALTS_MAX: usize = 16;
/// Halts of tenants, targets and the line that hold at once.
pub const HALTS_MAX: usize = TENANT_HALTS_MAX + TARGET_HALTS_MAX + 1;
/// What each of the three kinds may take in the rules' text: a few of the longest reasons, or all of usual length.
pub const HALTS_BYTES_MAX: usize = 64 * 1024;
/// The rules of a node as the journal keeps them: bounds and the text of every pack. Far below a frame.
pub const RULES_BYTES_MAX: usize = 512 * 1024;
/// The same with the halts that hold: there is room for these, however large the packs are.
pub const HALTED_RULES_BYTES_MAX: usize = RULES_BYTES_MAX + 3 * HALTS_BYTES_MAX;
const _: () = assert!(HALTED_RULES_BYTES_MAX < FRAME_BYTES_MAX - FRAME_BYTES_SOFT);

// Lanes. Each is full before memory is: a full lane is answered (P5).

/// Units that one ingress thread may have under way.
pub const ARRIVALS_LANE: usize = 4096;
/// Events on their way to one shard.
pub const EVENTS_LANE: usize = 32_768;
/// Bodies on their way to one shard; one more may come on top.
pub const EVENTS_LANE_BYTES: usize = 64 * 1024 * 1024;
/// Bodies that all ingress threads may have under way to the journal; one more for each may come on top.
pub const ARRIVALS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Events of one shard that wait in the levelled order; beyond, they wait in the lane.
pub const FAIR_QUEUE_EVENTS_MAX: usize = 65_536;
/// What they may take; one more may come on top.
pub const FAIR_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a signal that waits for its governor takes beside its body.
pub const WAITING_BYTES: usize = 256;
/// Events of one tenant that wait in the levelled order; who has more is answered 503 until half of them are decided, so
/// that one tenant alone fills neither queue nor lane.
pub const TENANT_EVENTS_MAX: usize = FAIR_QUEUE_EVENTS_MAX / 8;
/// Bodies of dead letters that one shard holds until they are committed.
pub const CASE_BYTES_HELD_MAX: usize = 16 * 1024 * 1024;
/// Receipts on their way from one shard to the scribe.
pub const DRAFTS_LANE: usize = 32_768;
/// How often spans are taken from the threads that told them.
pub const SPANS_LOOK: Duration = Duration::from_millis(50);
/// A batch of spans that no receiver took in this time is lost.
pub const SPANS_KEPT_FOR: Duration = Duration::from_mins(5);
/// Samples of one request of remote write.
pub const REMOTE_REQUEST_SAMPLES: usize = 2000;
/// Samples that wait for their receiver: about 25 MB. The newest are kept.
pub const REMOTE_SAMPLES_MAX: usize = 400_000;
/// Older samples are not sent: a receiver takes none that old, and a backlog would delay what is worth something.
pub const REMOTE_KEPT_FOR: Duration = Duration::from_mins(5);
/// How long one request of remote write may take.
pub const REMOTE_TIMEOUT: Duration = Duration::from_secs(30);
/// Labels that a configuration gives to every series.
pub const EXTERNAL_LABELS_MAX: usize = 32;
/// Before receivers of telemetry that failed are asked again: at first, and at most.
pub const TELEMETRY_PAUSE: Duration = Duration::from_secs(1);
pub const TELEMETRY_PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long an orderly end waits for receivers of telemetry.
pub const TELEMETRY_LAST: Duration = Duration::from_secs(1);
/// A longer file is no list of certificates.
pub const CA_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Characters of a name in a certificate that the log shows: real ones have some tens.
pub const CERTIFICATE_NAME_MAX: usize = 256;
/// Before its end a certificate of this node is warned of when it is loaded: long enough to renew it by hand.
pub const CERTIFICATE_WARNED: Duration = Duration::from_hours(30 * 24);
/// Before its end it is an alert: by then who was warned has not renewed it.
pub const CERTIFICATE_ALERTED: Duration = Duration::from_hours(21 * 24);
/// Files of TLS are looked at no more often than this.
pub const TLS_FILES_LOOK: Duration = Duration::from_secs(10);
/// Spans that may wait for their receiver, whatever is configured: about 100 MB.
pub const SPANS_MAX: u32 = 65_536;
/// Receivers of traces, and header fields of each request to them.
pub const OTLP_ENDPOINTS_MAX: usize = 8;
pub const OTLP_HEADERS_MAX: usize = 32;
/// Signals that failed or were slow, and were not chosen, of which one thread tells in a second.
pub const UNCHOSEN_TRACES_PER_SECOND: u32 = 20;
/// Requests that one ingress thread chooses in a second where spans are written into the log: more than a person sends by hand, and a
/// node under load writes some tens of lines and traces nothing else.
pub const LOGGED_TRACES_PER_SECOND: u32 = 5;
/// Signals of one request that are traced at most.
pub const TRACED_SIGNALS_MAX: usize = 16;
/// Spans of traced signals on their way from one thread to their exporter, which looks every 50 ms.
pub const SPANS_LANE: usize = 2048;
/// Actions on their way from one shard to the outbound runtime.
pub const INTENTS_LANE: usize = 4096;
/// Outcomes, timers, commands on their way from one place to the journal.
pub const INNER_LANE: usize = 4096;
/// Questions of operators under way to one stage.
pub const QUERIES_LANE: usize = 256;
/// Orders of operators on their way to the journal.
pub const ORDERS_LANE: usize = 256;

// Files that go.

/// A large file is cut by this much before the next sync: where freed blocks are discarded, a sync beside it waits about
/// 0.3 ms for them.
pub const DISPOSED_PIECE_BYTES: u64 = 1024 * 1024;
/// With more files waiting to be removed, the disposer does not rest between pieces: space is worth more then.
pub const DISPOSED_FILES_BEHIND: usize = 16;

// The memory of identities.

/// Blocks that the identities in memory are divided into: one is filled while the others become runs.
pub const DEDUP_BLOCKS: usize = 4;
/// The fewest identities in memory: while one block is filled the others have room for a batch.
pub const DEDUP_SIGNALS_MIN: u32 = 2_000;
/// Runs of one size that are merged into the next. With four, 345 million identities (1,000 a second for 96 hours) are in
/// about 15 runs, each written five times; with eight in more than 20, each written four times.
pub const DEDUP_RUNS_MERGED: usize = 4;
/// With so many runs merges come before new blocks: every run is a question to its filter for each new signal.
pub const DEDUP_RUNS_MAX: usize = 32;

const _: () = assert!(DEDUP_SIGNALS_MIN as usize / DEDUP_BLOCKS * (DEDUP_BLOCKS - 1) >= BATCH_SIGNALS_MAX);

// The journal's time.

/// A wall clock that is at most this far ahead of where it was believed to be is followed at once: corrections of a running
/// machine, leap seconds and short pauses of a virtual machine are far smaller, and it is a small part of every window.
pub const CLOCK_STEP_MAX: Duration = Duration::from_mins(1);
/// A wall clock that is further ahead is believed once it has stood there for this long. Synchronization at boot is done by
/// then, and whoever looked wrong for seconds or a minute has looked right again.
pub const CLOCK_BELIEVED_AFTER: Duration = Duration::from_mins(5);
/// Within this a wall clock stands still against the time since boot.
pub const CLOCK_STEADY: Duration = Duration::from_secs(1);
/// While the wall clock is behind, every tenth part of the time that passes is left out: as much as chrony's own slewing at
/// most, so that timers are late by no more than they may be under load, and an hour is made up for in ten.
pub const CLOCK_SLOWED: u64 = 10;
/// Steps of the journal's time that are remembered until what was kept before them may be forgotten.
pub const CLOCK_STEPS_KEPT: usize = 8;
/// The offset that the next process goes on with is written anew when it has moved by more than this.
pub const CLOCK_NOTED_WITHIN: Duration = Duration::from_secs(10);

/// A quiet line vouches for its last frame after so long; until then rot of that frame looks like a torn tail.
pub const JOURNAL_SEAL_AFTER: std::time::Duration = std::time::Duration::from_millis(50);
/// How long a drain waits for requests under way. `docker stop` kills after 10 s, and what was accepted has to be decided
/// after this.
pub const DRAIN_SECONDS: u32 = 4;

// Scribe.

/// Receipts in one batch of the transparency log: one signature, one checkpoint, one sync.
pub const SCRIBE_BATCH_RECEIPTS_MAX: usize = 32_768;
/// A batch is closed at this age, so that a receipt can soon be proven. Each close is a sync beside the journal's own,
/// which every answer waits for: at 5 ms the two took each other's disk.
pub const SCRIBE_BATCH_AGE: std::time::Duration = std::time::Duration::from_millis(100);

/// Bytes of a reason: an operator's, a rule's, a target's.
pub const REASON_BYTES_MAX: usize = 1024;

/// Body of an operator's order: a reason and a number.
pub const ORDER_BYTES_MAX: usize = 8 * 1024;
/// Dead letters that one order discards: their ids are kept until it has ended, in 80 KB.
pub const DISCARDED_MAX: usize = 10_000;
/// Dead letters that are looked up at a time for such an order, and those that are on their way.
pub const DISCARD_PAGE: usize = 1_000;
pub const DISCARDED_AT_ONCE: usize = 64;
/// Orders that wait for a second person, and those of one person among them: what people look through.
pub const REQUESTS_MAX: usize = 64;
pub const REQUESTS_OF_ONE: usize = 16;
/// Each of the two reasons of an order that needs two persons, as a JSON string: half of [`REASON_BYTES_MAX`] less what stands around
/// them, the names of two tokens and of a halt.
pub const REQUEST_REASON_BYTES_MAX: usize = 400;
/// Cases, packs or settings that are named of an order that waits, and bytes of their names: what people read before they approve.
pub const CONCERNS_NAMED: usize = 8;
pub const CONCERNS_BYTES_MAX: usize = 2048;
/// After so long an order that nobody approved lapses: who approves should know why it was asked for.
pub const REQUEST_SECONDS: u32 = 3600;
/// Governors that are counted before a halt: some pages, each a moment's work.
pub const REACH_GOVERNORS_MAX: usize = 100_000;
/// Governors that were halted by themselves and are named beside the halts: what people look through.
pub const HALTED_LISTED_MAX: usize = 100;
/// Governors in one answer to an operator.
pub const GOVERNORS_LISTED_MAX: usize = 1_000;
/// What a command takes of a node's list for each row that was asked for, in bytes: some times a receipt that names 32 changed keys. And
/// beside that, for each page.
pub const LIST_ROW_BYTES: usize = 64 * 1024;
pub const LIST_PAGE_BYTES: usize = 1024 * 1024;
/// However many rows were asked for, a command takes no more of one node: 400,000 receipts of the usual length.
pub const LIST_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The name of a page. The longest that a node gives is a tenant and a SKU.
pub const LIST_CURSOR_BYTES_MAX: usize = 1024;
/// Empty pages in a row: a search for a rare receipt through 125 million entries has as many, more than a node reads within
/// [`LIST_SECONDS`].
pub const LIST_EMPTY_PAGES_MAX: usize = 2_500;
/// How long a command reads one list of one node.
pub const LIST_SECONDS: u64 = 120;
/// Bodies that may wait in one governor's mailbox, in bytes: 1,024 signals of 1 KiB, or the four largest.
pub const MAILBOX_BYTES_MAX: u32 = 1024 * 1024;
/// An action without an outcome by then counts as failed. Above the 60 s that all tries of an action may take
/// together, so that the executor's own verdict normally comes first.
pub const ACTION_DEADLINE_SECONDS: u32 = 90;
/// All tries of an action, the wait for a turn and the pauses between them, end by then.
pub const ACTION_TOTAL: Duration = Duration::from_mins(1);
const _: () = assert!(ACTION_TOTAL.as_secs() < ACTION_DEADLINE_SECONDS as u64);
/// One try of an action, where the configuration says nothing.
pub const ACTION_TRY_SECONDS: u32 = 10;
/// A target that does not take a connection by then is missed.
pub const ACTION_CONNECT: Duration = Duration::from_secs(2);
/// Connecting to the broker: TCP, its handshake, and a channel.
pub const BROKER_CONNECT: Duration = Duration::from_secs(5);
/// Queues between edges and processors; each is a process of its own in the broker.
pub const PARTITIONS_MAX: u16 = 256;
/// Messages that a processor holds unacknowledged for one partition.
pub const PREFETCH_MAX: u16 = 10_000;
/// The same where not set otherwise, of a processor that shares its state: it acknowledges once a second.
pub const SHARED_PREFETCH: u16 = 1000;
/// Keys of messages: two while one is replaced, and some room.
pub const MESSAGE_KEYS_MAX: usize = 8;
/// Signals and their bytes in one message; a unit of the journal must hold them.
pub const MESSAGE_SIGNALS_MAX: usize = 256;
pub const MESSAGE_BYTES_MAX: usize = BODY_BYTES_MAX;
const _: () = assert!(MESSAGE_SIGNALS_MAX <= BATCH_SIGNALS_MAX);
/// Messages that an edge has published and that are not confirmed, and their bytes.
pub const WINDOW_MESSAGES_MAX: usize = 256;
pub const WINDOW_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Messages that are acknowledged at once, if half of the prefetch is not fewer, and how long one may wait for others.
pub const ACK_MESSAGES: usize = 256;
pub const ACK_AFTER: Duration = Duration::from_millis(5);
/// After fewer signals than this a consumer looks for the next ones only this much later, so that more go into one frame.
pub const BURST_SIGNALS: usize = 64;
pub const BURST_WAIT: Duration = Duration::from_millis(1);
/// Confirms come within this or the connection is given up: a broker that is alive syncs within seconds.
pub const CONFIRM_PROGRESS: Duration = Duration::from_secs(20);
/// What is missing before a message that came is waited for so long: the broker gives again what a node that died had
/// not acknowledged.
pub const GAP_WAIT: Duration = Duration::from_secs(30);
/// A broker that has messages and delivers none for so long is connected to anew.
pub const SILENCE_MAX: Duration = Duration::from_mins(1);
/// How often edges and processors look at the queues of all partitions: up to 256 short questions over one channel.
pub const QUEUES_LOOKED_AT_EVERY: Duration = Duration::from_secs(5);
/// How long one queue may take to say how much waits in it: one whose replicas are down does not answer.
pub const QUEUE_ANSWER: Duration = Duration::from_secs(5);
/// Edges and partitions that a processor has taken signals of; each of its journal's segments names all of them.
pub const POSITIONS_MAX: usize = 4096;
/// Declaring one queue; a quorum queue elects a leader first.
pub const BROKER_DECLARE: Duration = Duration::from_secs(20);
/// The pause before the broker is connected to again doubles up to this.
pub const BROKER_PAUSE: Duration = Duration::from_millis(100);
pub const BROKER_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Deliveries after which the broker sets a message aside: out of reach, since every end of a processor counts as one for
/// all that it held, and so does every attempt of one that refuses. Our own count of what kills a processor decides.
pub const DELIVERY_LIMIT: i64 = 1_000_000_000;
/// The pause before the second try; each later one may be twice as long.
pub const ACTION_PAUSE: Duration = Duration::from_millis(250);
pub const ACTION_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Bytes of a target's reply that are read, so that its connection can be used again.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a reply that are kept: receivers of notifications name an error, or what they made, in a few hundred.
pub const REPLY_KEPT_BYTES_MAX: usize = 4096;
const _: () = assert!(REPLY_KEPT_BYTES_MAX <= REPLY_BYTES_MAX);
/// Calls of one target under way at a time.
pub const TARGET_CALLS_MAX: usize = 16;
/// What a webhook says that expressions shape: as much as the largest message that none shapes, with a body as base64.
pub const SHAPED_BYTES_MAX: usize = BODY_BYTES_MAX / 3 * 4 + 16 * 1024;
/// Its headers, and the bytes of a name and of a value: servers commonly take 8 to 16 KiB of a head.
pub const SHAPED_HEADERS_MAX: usize = 16;
pub const SHAPED_NAME_BYTES_MAX: usize = 64;
pub const SHAPED_VALUE_BYTES_MAX: usize = 1024;
/// Lines of one `log` action under way at a time: they share one write.
pub const LOG_LINES_MAX: usize = 256;
/// Orders that wait for a target, and the bytes of their signals: a burst of both shards' lanes, for memory's sake.
pub const TARGET_WAITING_MAX: usize = 8192;
pub const TARGET_WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Actions of one governor that may be out in the background, and what they may take: they stand in its row, which is written
/// whenever it changes. Beyond, it waits for the outcome.
pub const DELIVERIES_MAX: usize = 64;
pub const DELIVERIES_BYTES_MAX: usize = 64 * 1024;
/// A governor gives up on such an action so long after its target's queue does.
pub const DELIVERY_SLACK: Duration = Duration::from_mins(2);
/// The longest that a server may ask for by `Retry-After`: its number is added to a clock, and one answer must not keep what waits
/// for longer than people need to find out.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);
/// The longest pause between two calls of such an action.
pub const DELIVERY_PAUSE_MAX: Duration = Duration::from_mins(5);
/// The longest time after which one is given up: a week.
pub const GIVE_UP_HOURS_MAX: u32 = 168;
/// Timers that one governor may have armed: one of each kind.
pub const TIMERS_PER_GOVERNOR: usize = 6;
/// A governor that nothing distinguishes from a new one is forgotten so long after its last signal, so that people find it
/// a while; at once where the node is short of room.
pub const GOVERNOR_IDLE: Duration = Duration::from_hours(1);
/// Governors that one turn looks at in order to find such ones, and how often it does so: a million in less than a minute,
/// for a thousandth of the shard's time.
pub const GOVERNORS_LOOKED_AT: usize = 256;
pub const GOVERNORS_LOOK: Duration = Duration::from_millis(10);
/// The pause between two rounds over all governors.
pub const GOVERNORS_ROUND: Duration = Duration::from_secs(1);
/// The state store's block cache. Rows are read at start and otherwise only by operators.
pub const STORE_CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// The state store's own journal, at least 64 MiB by its rules; it is read again at each start.
pub const STORE_JOURNAL_BYTES: u64 = 128 * 1024 * 1024;
/// Files of tables that the state store keeps open.
pub const STORE_FILES_CACHED: usize = 64;
/// One keyspace's unsorted writes; there are seven keyspaces, five of which are written to seldom.
pub const STORE_MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;
/// Dead letters that one question looks at, where it filters by what they are not listed by: milliseconds of reading.
pub const CASES_LOOKED_AT_MAX: u64 = 1_000;
/// Closed dead letters that are removed at once: the commits of the shards wait for it, a millisecond or two.
pub const CASES_RETIRED_AT_ONCE: usize = 256;
/// How often is looked for closed dead letters that need not be kept: the look is one entry.
pub const CASES_RETIRED_EVERY: Duration = Duration::from_secs(1);
/// Later receipts shown for one signal. Usually there is one, a late outcome may make it two.
pub const FOLLOWUPS_MAX: usize = 256;
/// Sets of changes on their way from one shard to the store; while they are taken, changes gather in the shard.
pub const COMMITS_LANE: usize = 2;

/// Connections of operators.
pub const OPERATOR_CONNECTIONS_MAX: usize = 64;
/// Those of one token, and those of one address (of one /64 in IPv6) that have shown none: a scraper, a balancer and some people.
pub const OPERATOR_CONNECTIONS_OF_ONE: usize = 16;
/// Connections beyond these, on which only `/livez` and `/readyz` are answered, once each.
pub const HEALTH_CONNECTIONS_MAX: usize = 32;
/// A connection for health alone ends after this; a probe gives up sooner.
pub const HEALTH_SECONDS: u32 = 2;
/// An operator's connection without a request, from its start or from its last answer on. What is written must have
/// been taken by then, too.
pub const OPERATOR_IDLE_SECONDS: u32 = 15;
/// An operator's request, from its head to its answer: the body, and the longest wait for a stage.
pub const OPERATOR_ANSWER_SECONDS: u32 = 30;

/// Streams of the board at once. They hold no connection of operators: whoever watches keeps nobody from ordering.
pub const BOARD_VIEWERS_MAX: usize = 64;
/// Those of one token: a team that shares it. They last for as long as somebody looks, so one token must not hold them all.
pub const VIEWERS_OF_ONE: usize = 16;
/// The board is looked at this often while somebody watches, so it changes at most 4 times a second.
pub const BOARD_LOOK: Duration = Duration::from_millis(250);
/// Changes of the board that a viewer who lost its connection can be given: four minutes of the busiest board.
pub const BOARD_CHANGES: usize = 1024;
/// Bytes of those, whatever their number.
pub const BOARD_CHANGES_BYTES: usize = 4 * 1024 * 1024;
/// A board on which nothing changes tells the time this often, so its viewers know that the node lives.
pub const BOARD_LIFE: Duration = Duration::from_secs(1);
/// The stream has a comment this often: proxies end a response through which nothing comes.
pub const BOARD_COMMENT: Duration = Duration::from_secs(15);
/// A viewer of the board that took nothing for so long is left. Something comes each second.
pub const BOARD_SLOW_SECONDS: u32 = 15;
/// Sessions of the board, 80 bytes each. One more ends the oldest of the token with the most.
pub const BOARD_SESSIONS_MAX: usize = 256;
/// A session of the board: a working day.
pub const BOARD_SESSION: Duration = Duration::from_hours(12);

// Expressions of policy packs and mappings.

/// Source of one expression, in bytes. A rule fits in a line or two; the parser's stack grows with the text.
pub const EXPRESSION_BYTES_MAX: usize = 1024;
/// Depth of an expression's tree: evaluation calls itself so deep, and 2,000 terms in a row once ended a process.
pub const EXPRESSION_DEPTH_MAX: usize = 64;
/// Nodes of an expression's tree, so that loops apart no evaluation costs more steps than this.
pub const EXPRESSION_NODES_MAX: usize = 500;
/// Loops (`all`, `map` and their kin) inside one another: over 300 items two take 90,000 rounds, three 27 million.
pub const EXPRESSION_LOOPS_NESTED_MAX: usize = 2;
/// Steps of one evaluation; an ordinary rule takes ten.
pub const EXPRESSION_STEPS_MAX: u32 = 10_000;
/// Memory of one compiled regular expression: some classes of letters; what it costs per byte grows with it.
pub const EXPRESSION_REGEX_BYTES: usize = 256 * 1024;
/// Stack of the thread that parses; only what is used of it is there. Texts of 4 KB once overflowed 2 MiB.
pub const EXPRESSION_PARSE_STACK_BYTES: usize = 64 * 1024 * 1024;

// Firestore. What its documents bound is bounded here before anything is sent.

/// One call of Firestore, its token and its connection included. A commit takes a fraction of a second; what has no
/// answer by then is read back, and whoever waits for it keeps his changes meanwhile.
pub const FIRESTORE_DEADLINE: Duration = Duration::from_secs(10);
/// Getting a token.
pub const FIRESTORE_TOKEN: Duration = Duration::from_secs(5);
/// Connecting to Firestore: name, TCP and TLS. Together with the token's it is shorter than a call, so that a call
/// that was never sent is known for one.
pub const FIRESTORE_CONNECT: Duration = Duration::from_secs(3);
const _: () = assert!(FIRESTORE_TOKEN.as_secs() + FIRESTORE_CONNECT.as_secs() < FIRESTORE_DEADLINE.as_secs());
/// A connection that is silent under a call is asked for a sign of life after so long, and given up after as long
/// again: within one call, and seldom enough for gRPC servers, which end connections at the third ping in a row.
pub const FIRESTORE_PING: Duration = Duration::from_secs(4);
const _: () = assert!(2 * FIRESTORE_PING.as_secs() < FIRESTORE_DEADLINE.as_secs());
/// A token is used until so long before its end, so that it does not end under way.
pub const FIRESTORE_TOKEN_MARGIN: Duration = Duration::from_mins(1);
/// Bytes of one request (Firestore's bound).
pub const FIRESTORE_REQUEST_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Bytes of one answer that are read: as many documents as a request may write, and what stands around them.
pub const FIRESTORE_REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

// State that processors share.

/// Signals of one partition that are known again by whichever processor takes it.
pub const RECENT_SIGNALS: usize = 65_536;
/// Those of one document: about 100 KB, which every round writes again.
pub const RECENT_CHUNK_SIGNALS: usize = 4096;
const _: () = assert!(RECENT_SIGNALS.is_multiple_of(RECENT_CHUNK_SIGNALS));
/// What is decided is shared at most so often: a document of Firestore takes about one write a second.
pub const SHARE_EVERY: Duration = Duration::from_secs(1);
/// Bytes of one write to Firestore; what is larger is staged. Its own bound is 10 MiB.
pub const SHARE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of one chunk of what is staged, or of a list; a document has at most 1 MiB.
pub const SHARE_CHUNK_BYTES: usize = 512 * 1024;
/// Bodies that may wait in one governor whose state is shared: those that came in one round are in one document.
pub const SHARED_MAILBOX_BYTES: u32 = 256 * 1024;
/// Signals that may wait in one governor whose state is shared.
pub const SHARED_MAILBOX_MAX: u32 = 512;
/// What the names of a waiting signal take at most in its record.
pub const WAITING_RECORD_BYTES: usize = 512;
/// Documents in which the signals of one governor wait; those of the one more are written again together with all others,
/// so that the governor's document, which lists them, stays small.
pub const WAITING_DOCUMENTS_MAX: usize = 32;
/// Bytes of a governor that is taken from the shared store, with what waits in it: one unit of the journal. A document has
/// at most 1 MiB.
pub const ADOPTED_BYTES_MAX: usize = FRAME_BYTES_MAX - FRAME_BYTES_SOFT - 16 * 1024;
// What waits, the action in flight, and what a governor remembers.
const _: () = assert!(
    SHARED_MAILBOX_BYTES as usize
        + SHARED_MAILBOX_MAX as usize * WAITING_RECORD_BYTES
        + BODY_BYTES_MAX
        + 128 * 1024
        < ADOPTED_BYTES_MAX
);
/// Governors that are asked for at once.
pub const SHARE_LOADS_MAX: usize = 300;
/// What is under way of a partition that is being given up is waited for so long.
pub const GIVE_UP_WAIT: Duration = Duration::from_secs(10);
/// How long a partition that was given up is left to others before this node stands in line for it again.
pub const SHARE_PAUSE: Duration = Duration::from_secs(10);

/// What a receipt shows of the facts that a rule read, in bytes of JSON, so that a receipt stays small whatever a sender
/// writes: what no longer fits is left out, and `truncated` says so.
pub const FACTS_BYTES_MAX: usize = 2048;
/// What it shows of one text, list or object among them, in bytes.
pub const FACT_BYTES_MAX: usize = 256;

/// An alarm as the journal keeps it, in bytes of JSON: a few texts of [`REASON_BYTES_MAX`], each byte of which may be escaped.
pub const ALARM_BYTES_MAX: usize = 64 * 1024;
/// Rules with a `resolve` that the packs of one tenant may have: each may have an open alert in a governor, some 500 bytes with its sentence.
pub const RESOLVING_RULES_MAX: usize = 64;
/// Causes that one governor tells of at once: its three own, those of such rules, and some of rules without.
pub const GOVERNOR_ALARMS_MAX: usize = RESOLVING_RULES_MAX + 16;
/// A cause that holds still is told again after this time, so that an alert of a rule has the newest values and its end can wait for it.
pub const ALARM_AGAIN: Duration = Duration::from_mins(1);
/// A partition's alerts stay for this long where it was decided on last, until a node that decides on it tells of them again: longer
/// than a processor takes to start again and load them.
pub const ALERT_MOVES_WITHIN: Duration = Duration::from_mins(10);
/// Alarms of one shard that wait for the journal. One that finds no room is told again when its cause holds again, or after a start.
pub const ALARMS_WAITING_MAX: usize = 16_384;
/// Notifications on their way to the channels.
pub const NOTICES_LANE: usize = 1024;
/// What became of notifications and waits for the journal: with more, no further one is taken from that lane. One message that stands
/// for many ends [`CHANNEL_NAMES_MAX`] at most at once.
pub const OUTCOMES_WAITING_MAX: usize = CHANNEL_NAMES_MAX;
/// Such outcomes that are under way to the journal at a time.
pub const OUTCOMES_AT_ONCE: usize = CALLBACK_ALERTS_AT_ONCE;
/// Alerts that are open at once; some 2 KiB each. More are not opened, are counted, and leave a receipt. Ones to know of have 60 % of the
/// places and warnings 80 %, so that what is critical has room; when half of them are taken, no tenant gets more than a quarter.
pub const ALERTS_MAX: usize = 25_000;
/// Alerts that ended and are shown, and for how long.
pub const ALERTS_ENDED_MAX: usize = 1_000;
pub const ALERTS_ENDED_FOR: Duration = Duration::from_hours(24);
/// Governors that an alert names; how many there are more is counted.
pub const ALERT_MEMBERS_MAX: usize = 256;
/// Silences that hold at once: each is asked of each new alert.
pub const SILENCES_MAX: usize = 100;
/// Minutes after its last failure after which a channel is no longer said to fail.
pub const CHANNEL_FAILING_MINUTES: u32 = 60;
/// Causes of the node itself that hold at once: its targets, stages and a few more.
pub const CAUSES_OF_NODE_MAX: usize = 512;
/// Sources whose hours are counted. In the worst case an event of 4 KiB for each ends an hour, and one says how far the next is counted,
/// in one frame of the journal. Signals of more sources are in no manifest.
pub const SOURCES_COUNTED_MAX: usize = 128;
/// Holes in the numbers of one source that may be filled yet; with more, the first is missing.
pub const SEQUENCE_RUNS_MAX: usize = 64;
/// The largest number of a sender that is looked at: JSON has no larger one that every reader reads alike (RFC 8785).
pub const SEQUENCE_MAX: u64 = (1 << 53) - 1;
/// Digits of such a number that is written as text, with leading zeros.
pub const SEQUENCE_DIGITS_MAX: usize = 32;
/// How far beyond the largest number of a source a single signal may take its row: one wrong number hides no more than that.
pub const SEQUENCE_JUMP_MAX: u64 = 1000;
/// How far below the first number of a row one may come that is of the row: what was sent before it, and was overtaken.
pub const SEQUENCE_LATE_MAX: u64 = 16;
/// With so many signals in a row whose numbers do not go on with those of their source, the row begins anew: a few are late ones.
pub const SEQUENCE_ANEW_AFTER: usize = 4;
/// Ranges of numbers, in the order in which they came, that may be of a row that begins later.
pub const SEQUENCE_ASIDE_MAX: usize = 64;
/// Gaps that a manifest names: they fit into a receipt with all else that it tells. So many are known afterwards, too.
pub const MANIFEST_GAPS_MAX: usize = 32;
/// Rows that began anew which a manifest names.
pub const MANIFEST_RESTARTS_MAX: usize = 8;
const _: () = assert!(
    2 * SOURCES_COUNTED_MAX
        * (16 * (SEQUENCE_RUNS_MAX + SEQUENCE_ASIDE_MAX + 2 * MANIFEST_GAPS_MAX + MANIFEST_RESTARTS_MAX)
            + 16 * SEQUENCE_ANEW_AFTER
            + 2 * NAME_BYTES_MAX
            + 128)
        < FRAME_BYTES_SOFT
);
/// A source that is silent for so many hours in which the node runs has no manifest any more: longer than any heartbeat. Hours by the
/// clock do not count: where it steps, or the node was down, the numbers of before are compared with those of after.
pub const SOURCE_FORGOTTEN_HOURS: u16 = 8 * 24;
/// The longest heartbeat of a source, in seconds.
pub const HEARTBEAT_SECONDS_MAX: u32 = 7 * 24 * 3600;
const _: () = assert!(HEARTBEAT_SECONDS_MAX <= SOURCE_FORGOTTEN_HOURS as u32 * 3600);
/// An alert of missing numbers is over after so many minutes: nobody can say when they are not missing any more.
pub const SEQUENCE_GAP_MINUTES: u32 = 24 * 60;
/// How long a silence may last: what lasts longer is a change of the routes.
pub const SILENCE_MINUTES_MAX: u64 = 30 * 24 * 60;
/// Alerts that the board shows, the most severe first; `gemba alert list` has the others.
pub const BOARD_ALERTS_MAX: usize = 200;
/// The fewest first digits of its id by which an alert may be called: a text message has eight.
pub const ALERT_DIGITS_MIN: usize = 6;
/// Alerts that are named where such digits fit several.
pub const ALERTS_NAMED_ALIKE: usize = 5;
/// Callbacks of channels that wait until their alerts are changed; more are answered 503, and come again.
pub const CALLBACKS_WAITING_MAX: usize = 64;
/// How long one waits for that: Slack shows an error after three seconds, PagerDuty sends it again after five.
pub const CALLBACK_WAIT: Duration = Duration::from_millis(2500);
/// Alerts that a callback changes at a time: as many orders are under way to the journal, which leaves room for those of operators.
pub const CALLBACK_ALERTS_AT_ONCE: usize = 64;
const _: () = assert!(CALLBACK_ALERTS_AT_ONCE <= ORDERS_LANE / 2);
/// How much the clocks of a channel and of the journal may differ: a signature that is older is refused, and an alert that began
/// that long after a button was pressed is not meant.
pub const CALLBACK_TOLERANCE: Duration = Duration::from_mins(5);
/// Notifications of one group and channel that are known to have no outcome; older ones are forgotten.
pub const NOTICES_PENDING_MAX: usize = 8;
/// Digests of one group and channel that are known; older ones are closed by hand.
pub const DIGESTS_KNOWN_MAX: usize = 8;
/// A channel that took neither the beginning nor the end of something is asked again: first after twice this time, then later each
/// time, and for so long.
pub const TOLD_AGAIN: Duration = Duration::from_secs(30);
pub const TOLD_AGAIN_FOR: Duration = Duration::from_hours(24);
/// A group in which something may be to tell is looked at so often at most, however many alarms come.
pub const GROUP_LOOK: Duration = Duration::from_secs(1);
/// Causes that hold and found no place for their alert; each is tried when one is free. Beyond them the least urgent is
/// forgotten, of the source of which most wait.
pub const ALERTS_REFUSED_KEPT_MAX: usize = 1024;
/// Groups of the same things, each begun since the one before was acknowledged; beyond them each alert is a group of its own.
pub const GROUPS_ALIKE_MAX: u64 = 64;
/// Groups, ends and silences that one event deals with. Each leaves at most two receipts, and an event names its receipts by one byte.
pub const TICK_GROUPS_MAX: usize = 64;
/// Channels that are configured; each has a queue and a connection of its own.
pub const CHANNELS_MAX: usize = 32;
/// Recipients of one channel: each is a reply of the mail server, or a message that costs money.
pub const MAIL_RECIPIENTS_MAX: usize = 20;
pub const SMS_RECIPIENTS_MAX: usize = 10;
/// Members of a cluster of Alertmanager, each of which is told.
pub const ALERTMANAGERS_MAX: usize = 5;
/// Routes of alerts: each alert tries them one after the other.
pub const ALERT_ROUTES_MAX: usize = 64;
/// Alerts that are listed in one notification; how many there are is said beside them. An Alertmanager is told of all.
pub const NOTICE_ALERTS_MAX: usize = 20;

// Channels of notifications.

/// Notifications that wait for one channel, each with its listed alerts: with more, those that are alike become one. There are nine
/// kinds of likeness, so this bound is reached by none that cannot be kept.
pub const CHANNEL_WAITING_MAX: usize = 64;
/// The same of text messages, of which an hour has eleven.
pub const CHANNEL_SMS_WAITING_MAX: usize = 9;
const _: () = assert!(CHANNEL_SMS_WAITING_MAX <= CHANNEL_WAITING_MAX && CHANNEL_SMS_WAITING_MAX >= 9);
/// Notifications of one channel that have no end yet, those that became part of another one included: a name each. Beyond them
/// the newest of the least urgent gives way, or what comes fails at once.
pub const CHANNEL_NAMES_MAX: usize = 16_384;
/// The pause after the first failure of a channel doubles up to the longest, which is what PagerDuty asks for.
pub const CHANNEL_PAUSE: Duration = Duration::from_secs(1);
pub const CHANNEL_PAUSE_MAX: Duration = Duration::from_mins(5);
/// A receiver may ask for a pause of at most this: it decides when it is asked again, not whether.
pub const CHANNEL_RETRY_AFTER_MAX: Duration = Duration::from_hours(1);
/// Lines of a reply of a mail server, and bytes of one of them (RFC 5321, 4.5.3.1.5, has 512).
pub const SMTP_REPLY_LINES_MAX: usize = 64;
pub const SMTP_LINE_BYTES_MAX: usize = 2048;
/// Characters of the summary of an event of PagerDuty; with more it is refused.
pub const PAGERDUTY_SUMMARY_CHARS: usize = 1024;
/// Bytes of its details: an event may have 512 KB, and nobody reads so much at night.
pub const PAGERDUTY_DETAILS_BYTES: usize = 64 * 1024;
/// Characters of a section of a message of Slack, sections, and characters of all of them: it refuses messages of a little more than
/// 13,000, far below the limits that it names.
pub const SLACK_SECTION_CHARS: usize = 3000;
pub const SLACK_SECTIONS: usize = 10;
pub const SLACK_CHARS: usize = 12_000;
/// Characters of the text beside them, which is shown in lists and where the sections are refused.
pub const SLACK_TEXT_CHARS: usize = 3000;
/// Alerts in one POST to an Alertmanager; a group with more is told in parts. Each is some 2 KiB.
pub const ALERTMANAGER_PART_ALERTS: usize = 100;
/// Time for a text message: with less left of a try none is begun, but for the first.
pub const SMS_CALL_MIN: Duration = Duration::from_secs(2);
/// Units of one segment of a text message, in the alphabet of GSM and in UCS-2.
pub const SMS_GSM_SEPTETS: usize = 160;
pub const SMS_UCS2_UNITS: usize = 70;
/// Characters of the subject of a mail.
pub const MAIL_SUBJECT_CHARS: usize = 200;
/// The file that says what channels have sent: some 600 bytes for each of [`CHANNELS_MAX`], and room for long names.
pub const CHANNELS_SENT_BYTES_MAX: usize = 256 * 1024;
/// How long a text message waits until that file counts it. It is sent all the same: a disk that hangs is worth a message.
pub const CHANNELS_SENT_WAIT: Duration = Duration::from_secs(2);
/// Lines that wait to be appended to the file of a channel.
pub const CHANNEL_FILE_LINES_MAX: usize = 16;

/// Viewers that may look at signals at once (`gemba tap`), and what waits for one of them; a signal that waits keeps its request's body.
pub const TAPS_MAX: usize = 4;
pub const TAP_LANE: usize = 64;
/// Looks of one token.
pub const TAPS_OF_ONE: usize = 2;
/// Signals that a shard hands to viewers in one second: enough to read, and nothing beside what it decides.
pub const TAPPED_PER_SECOND: u32 = 100;
/// A look that nobody asks for by then ends.
pub const TAP_KEPT_FOR: Duration = Duration::from_secs(10);
/// Signals of one answer, and the longest one whose body is shown.
pub const TAP_PAGE: usize = 32;
pub const TAP_BODY_BYTES: usize = 16 * 1024;
/// Nodes that are asked one after the other for what one of them knows.
pub const PEERS_MAX: usize = 16;
/// Bytes of a signal that its story shows: nearly all are shorter, and a terminal takes no more.
pub const STORY_BODY_BYTES: usize = 16 * 1024;
/// Fields that the configuration has masked.
pub const TAP_MASKS_MAX: usize = 64;

// Time.

/// Milliseconds since 1970 at which a new journal may begin: from 2024, before any release, to the end of 2043. A journal's
/// time never goes back, so one that begins by a clock which is decades ahead would stay ahead for centuries.
pub const FIRST_STAMP_MILLIS: std::ops::Range<u64> = 1_704_067_200_000..2_335_219_200_000;

/// Seconds of a recording for `gemba kaizen`: an hour is some megabytes, and what changes within it is more than one window.
pub const RECORDING_SECONDS_MAX: u64 = 3600;
/// A file that is read as a recording has at most this many bytes.
pub const RECORDING_BYTES_MAX: u64 = 64 << 20;

/// Seconds between two looks of `gemba top`: a node collects what its threads count once a second.
pub const TOP_INTERVAL_SECONDS: std::ops::RangeInclusive<f64> = 0.2..=60.0;
/// The shortest window of its rates: within less, a thread may have handed over nothing, or twice.
pub const TOP_WINDOW_MIN: Duration = Duration::from_secs(2);
/// Looks that it holds: those of the shortest window at the shortest interval.
pub const TOP_LOOKS_MAX: usize = 12;
/// Keys, looks and signals that wait until it has drawn.
pub const TOP_EVENTS_MAX: usize = 16;
/// Rows of a table that it prints; all of them are in its JSON.
pub const TOP_ROWS_PRINTED: usize = 20;
/// What is left to a view that was told to end, until it is ended: its terminal may take nothing.
pub const TOP_ENDS_WITHIN: Duration = Duration::from_secs(2);
