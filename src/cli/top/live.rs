//! The live view: one loop that hears keys, looks and the signals of the system, and draws.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crossterm::event::{Event, KeyEvent, read};
use ratatui_core::terminal::Terminal;
use tokio::signal::unix::{SignalKind, signal};

use super::super::client::Client;
use super::super::output::Failure;
use super::answers::Answers;
use super::history::History;
use super::screen::{Scene, draw};
use super::state::{ScreenState, TopAsked};
use super::table::tables;
use super::terminal::{Screen, TakenTerminal, give_back_keys};
use super::view::TopView;
use crate::clock::{self, Instant};
use crate::limits::{TOP_ENDS_WITHIN, TOP_EVENTS_MAX};

/// What the loop hears.
enum Heard {
    Key(KeyEvent),
    Resized,
    Look(Box<Result<Answers, Failure>>),
    /// The system ends the view: with this exit code, and why.
    Ended(u8, &'static str),
    /// A thread of the view cannot go on.
    Lost(io::Error),
}

/// Redrawn at least this often: how long a node is silent grows.
const REDRAW: Duration = Duration::from_secs(1);

/// Shows a node until the user or the system ends it.
pub fn run(client: Client, first: Answers, interval: Duration, has_color: bool) -> Result<(), Failure> {
    let (sender, heard) = sync_channel(TOP_EVENTS_MAX);
    hear_signals(sender.clone()).map_err(Failure::io)?;
    let mut live = LiveView::new(first, interval, has_color);
    let taken = TakenTerminal::take().map_err(Failure::io)?;
    let mut terminal = Terminal::new(Screen::new()).map_err(Failure::io)?;
    let keys = sender.clone();
    spawn("keys", keys, hear_keys).map_err(Failure::io)?;
    spawn("looks", sender, move |to| look(&client, interval, to)).map_err(Failure::io)?;
    let ended = live.run(&mut terminal, &heard);
    drop(taken);
    ended
}

struct LiveView {
    history: History,
    view: Option<TopView>,
    state: ScreenState,
    answered: Instant,
    silent: Option<String>,
    has_color: bool,
}

impl LiveView {
    fn new(first: Answers, interval: Duration, has_color: bool) -> Self {
        let mut history = History::new(interval);
        history.add(first);
        let view = history.view();
        Self { history, view, state: ScreenState::default(), answered: clock::now(), silent: None, has_color }
    }

    fn run(&mut self, terminal: &mut Terminal<Screen>, heard: &Receiver<Heard>) -> Result<(), Failure> {
        loop {
            self.draw(terminal).map_err(Failure::io)?;
            let asked = match heard.recv_timeout(REDRAW) {
                Ok(Heard::Key(key)) => {
                    let there = self.view.as_ref().map(tables).unwrap_or_default();
                    self.state.press(key, &there)
                }
                Ok(Heard::Resized) | Err(RecvTimeoutError::Timeout) => TopAsked::Redraw,
                Ok(Heard::Look(look)) => {
                    self.look(*look);
                    TopAsked::Redraw
                }
                Ok(Heard::Ended(exit, why)) => return Err(Failure::ended(exit, why)),
                Ok(Heard::Lost(error)) => return Err(Failure::io(error)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::io("the view hears nothing more"));
                }
            };
            if asked == TopAsked::Quit {
                return Ok(());
            }
        }
    }

    fn look(&mut self, look: Result<Answers, Failure>) {
        match look {
            Ok(answers) => {
                self.answered = clock::now();
                self.silent = None;
                self.history.add(answers);
                if !self.state.is_paused() {
                    self.view = self.history.view();
                }
            }
            Err(failure) => self.silent = Some(failure.what().to_owned()),
        }
    }

    fn draw(&mut self, terminal: &mut Terminal<Screen>) -> io::Result<()> {
        let Some(view) = &self.view else { return Ok(()) };
        let since = clock::now().saturating_duration_since(self.answered).as_secs_f64();
        let silence = self.silent.as_deref().map(|why| (since, why));
        let scene = Scene { view, silence, has_color: self.has_color };
        let state = &mut self.state;
        terminal.draw(|frame| draw(frame.buffer_mut(), scene, state)).map(|_| ())
    }
}

/// A thread whose panic ends the loop.
fn spawn(
    name: &'static str,
    to: SyncSender<Heard>,
    work: impl FnOnce(&SyncSender<Heard>) + Send + 'static,
) -> io::Result<()> {
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(|| work(&to))).is_err() {
            // The loop has ended already.
            let _lost = to.send(Heard::Lost(io::Error::other(format!("the thread `{name}` has panicked"))));
        }
    };
    thread::Builder::new().name(name.into()).spawn(guarded).map(|_| ())
}

/// Ends when the loop has.
fn hear_keys(to: &SyncSender<Heard>) {
    loop {
        let heard = match read() {
            Ok(Event::Key(key)) => Heard::Key(key),
            Ok(Event::Resize(..)) => Heard::Resized,
            Ok(_) => continue,
            Err(error) => Heard::Lost(error),
        };
        let is_last = matches!(heard, Heard::Lost(_));
        if to.send(heard).is_err() || is_last {
            return;
        }
    }
}

/// Ends when the loop has.
fn look(client: &Client, interval: Duration, to: &SyncSender<Heard>) {
    let begun = clock::now();
    for count in 1u32.. {
        // Looks that would have come meanwhile are left out.
        let due =
            interval.saturating_mul(count).saturating_sub(clock::now().saturating_duration_since(begun));
        thread::sleep(due.min(interval));
        if to.send(Heard::Look(Box::new(Answers::ask(client)))).is_err() {
            return;
        }
    }
}

fn hear_signals(to: SyncSender<Heard>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt, mut hang_up) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?)
    };
    spawn("signals", to, move |to| {
        let (exit, why) = runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => (143, "the view was terminated"),
                _ = interrupt.recv() => (130, "the view was interrupted"),
                _ = hang_up.recv() => (129, "the terminal hung up"),
            }
        });
        // The loop has ended, or there is no room for it: then it is ended below.
        let _heard = to.try_send(Heard::Ended(exit, why));
        thread::sleep(TOP_ENDS_WITHIN);
        give_back_keys();
        std::process::exit(exit.into());
    })
}
