//! The machine that a node runs on, as far as it says why two recordings differ.

use std::fs::read_to_string;
use std::path::Path;

use super::cores;
use crate::disk::mount;
use crate::improvement::Machine;

/// What is not known is empty: a recording tells less then, and nothing fails.
pub fn look(data_dir: &Path) -> Machine {
    let cpus = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let memory = read_to_string("/proc/meminfo").unwrap_or_default();
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kibibytes = field(&memory, "MemTotal").and_then(|total| total.split(' ').next()?.parse::<u64>().ok());
    Machine {
        // Not every processor has a name there.
        processor: field(&cpus, "model name").unwrap_or(std::env::consts::ARCH).to_owned(),
        processors: cores::processors() as u64,
        memory_bytes: kibibytes.unwrap_or_default() * 1024,
        kernel: kernel.trim().to_owned(),
        file_system: mount::kind(data_dir).ok().flatten().unwrap_or_default(),
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(field, _)| field.trim() == name).map(|(_, value)| value.trim())
}
