//! What the disk gives without us: write and `fdatasync` into blocks that were written before, as the journal does.
//!
//! `disk DIRECTORY` prints one line of JSON for each size.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

const FILE_BYTES: u64 = 64 << 20;
const EACH: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(directory) = std::env::args().nth(1) else { return Err("usage: disk DIRECTORY".into()) };
    let path = std::path::Path::new(&directory).join("disk.measure");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    let zeros = vec![0; 1 << 20];
    for at in (0..FILE_BYTES).step_by(zeros.len()) {
        file.write_all_at(&zeros, at)?;
    }
    file.sync_all()?;
    for size in [4 << 10, 64 << 10, 512 << 10] {
        println!("{}", measure(&file, size)?);
    }
    std::fs::remove_file(&path)?;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn measure(file: &File, size: usize) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let bytes = vec![0x5a; size];
    let mut nanos = Histogram::<u64>::new(3)?;
    let (begun, mut at) = (Instant::now(), 0);
    while begun.elapsed() < EACH {
        let before = Instant::now();
        file.write_all_at(&bytes, at)?;
        file.sync_data()?;
        nanos.record(u64::try_from(before.elapsed().as_nanos())?)?;
        at = (at + size as u64) % (FILE_BYTES - size as u64);
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(serde_json::json!({
        "bytes": size,
        "syncs_per_second": nanos.len() as f64 / seconds,
        "mib_per_second": nanos.len() as f64 * size as f64 / seconds / f64::from(1 << 20),
        "p50_micros": nanos.value_at_quantile(0.5) / 1000,
        "p99_micros": nanos.value_at_quantile(0.99) / 1000,
    }))
}
