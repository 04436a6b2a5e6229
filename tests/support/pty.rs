//! A pseudo-terminal with a program in it, as a user's terminal would have it.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::node::PATIENCE;

pub struct Pty {
    master: File,
    written: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Pty {
    /// Runs a command as the leader of a terminal of this many columns and rows.
    pub fn start(command: &Command, size: (u16, u16)) -> Self {
        let pty = Self::start_unread(command, size);
        let (mut read, to) = (pty.master.try_clone().unwrap(), Arc::clone(&pty.written));
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // It ends with an error once nobody has the other side.
            while let Ok(count @ 1..) = read.read(&mut piece) {
                to.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        pty
    }

    /// The same; nobody reads what is written to it, so that it soon takes nothing more.
    pub fn start_unread(command: &Command, size: (u16, u16)) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let master = File::from(master);
        resize(&master, size);
        let open = || OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let (stdin, stdout, stderr) = (open(), open(), open());
        let mut leader = Command::new("setsid");
        leader.arg("--ctty").arg(command.get_program()).args(command.get_args());
        leader.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => leader.env(name, value),
                None => leader.env_remove(name),
            };
        }
        leader.current_dir(command.get_current_dir().unwrap());
        let child = leader.stdin(stdin).stdout(stdout).stderr(stderr).spawn().unwrap();
        Self { master, written: Arc::default(), child }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    pub fn resize(&self, size: (u16, u16)) {
        resize(&self.master, size);
    }

    /// Whether keys come by line and are shown, as a shell's user has it.
    pub fn is_cooked(&self) -> bool {
        tcgetattr(&self.master).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// All that was written so far.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// The lines that the terminal shows.
    pub fn screen(&self) -> String {
        screen(&self.written())
    }

    /// Waits until the terminal shows what a test wants.
    pub fn wait_until(&self, what: &str, shows: impl Fn(&str) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !shows(&self.screen()) {
            assert!(Instant::now() < until, "{what}: it never came to that:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it shows all of these words.
    pub fn wait_for(&self, words: &[&str]) {
        self.wait_until(&format!("{words:?}"), |screen| words.iter().all(|words| screen.contains(words)));
    }

    /// Waits for the end of the program.
    pub fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end: {:?}", self.written());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn resize(master: &File, (ws_col, ws_row): (u16, u16)) {
    tcsetwinsize(master, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

/// What a terminal makes of the few sequences that a view uses: places of the cursor, and clearing.
fn screen(written: &str) -> String {
    let mut cells: Vec<Vec<char>> = Vec::new();
    let (mut row, mut column) = (0, 0);
    let mut chars = written.chars();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' if chars.next() == Some('[') => {
                let mut numbers = String::new();
                let last = chars.by_ref().find(|c| {
                    let is_last = c.is_ascii_alphabetic();
                    numbers.extend((!is_last).then_some(*c));
                    is_last
                });
                let mut numbers = numbers.split(';').map(|number| number.parse().unwrap_or(1usize));
                match last {
                    Some('H') => {
                        row = numbers.next().unwrap_or(1) - 1;
                        column = numbers.next().unwrap_or(1) - 1;
                    }
                    Some('J') => cells.clear(),
                    _ => {}
                }
            }
            '\r' => column = 0,
            '\n' => row += 1,
            c => {
                cells.resize(cells.len().max(row + 1), Vec::new());
                let line = &mut cells[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
            }
        }
    }
    cells.iter().map(|line| line.iter().collect::<String>() + "\n").collect()
}
