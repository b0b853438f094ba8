//! A zip archive that is written front to back, of any size, its entries deflated by all cores.
//!
//! Sizes follow each entry in a zip64 data descriptor, so nothing is written twice. (The streaming writer of the `zip`
//! crate refuses entries whose packed size passes 4 GiB; mutagenesis tables do.) Pieces of 1 MiB are packed
//! independently and joined by empty blocks: the bytes do not depend on the number of threads. Dates are those of 1980,
//! so equal contents are equal files.

use std::io::{self, Write};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use rayon::prelude::*;

const PIECE_BYTES: usize = 1 << 20;
const BATCH_BYTES: usize = 16 * PIECE_BYTES;

/// Zip archive on a plain writer.
pub struct ZipStream<'a> {
    out: &'a mut dyn Write,
    written: u64,
    entries: Vec<Entry>,
    pending: Vec<u8>,
    crc: Crc,
}

struct Entry {
    name: String,
    at: u64,
    crc: u32,
    packed: u64,
    size: u64,
}

impl<'a> ZipStream<'a> {
    /// Empty archive on `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, written: 0, entries: Vec::new(), pending: Vec::new(), crc: Crc::new() }
    }

    /// Opens an entry; everything written until [`ZipStream::end`] belongs to it.
    pub fn begin(&mut self, name: &str) -> io::Result<()> {
        let entry = Entry { name: name.into(), at: self.written, crc: 0, packed: 0, size: 0 };
        let mut header = Vec::new();
        put32(&mut header, 0x0403_4b50);
        entry.put_common(&mut header, true);
        put16(&mut header, 20);
        header.extend_from_slice(name.as_bytes());
        put16(&mut header, 1);
        put16(&mut header, 16);
        header.extend_from_slice(&[0; 16]);
        self.entries.push(entry);
        self.crc.reset();
        self.put(&header)
    }

    /// Adds bytes to the open entry.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.open().size += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BATCH_BYTES - self.pending.len()));
            self.pending.extend_from_slice(now);
            bytes = later;
            if self.pending.len() == BATCH_BYTES {
                self.pack(false)?;
            }
        }
        Ok(())
    }

    /// Closes the open entry.
    pub fn end(&mut self) -> io::Result<()> {
        self.pack(true)?;
        let crc = self.crc.sum();
        let entry = self.open();
        entry.crc = crc;
        let mut tail = Vec::new();
        put32(&mut tail, 0x0807_4b50);
        put32(&mut tail, crc);
        put64(&mut tail, entry.packed);
        put64(&mut tail, entry.size);
        self.put(&tail)
    }

    /// Writes the directory of the archive.
    pub fn finish(mut self) -> io::Result<()> {
        let start = self.written;
        let mut tail = Vec::new();
        for entry in &self.entries {
            put32(&mut tail, 0x0201_4b50);
            put16(&mut tail, VERSION);
            entry.put_common(&mut tail, false);
            put16(&mut tail, 28);
            tail.extend_from_slice(&[0; 10]);
            put32(&mut tail, u32::MAX);
            tail.extend_from_slice(entry.name.as_bytes());
            put16(&mut tail, 1);
            put16(&mut tail, 24);
            put64(&mut tail, entry.size);
            put64(&mut tail, entry.packed);
            put64(&mut tail, entry.at);
        }
        let (count, size) = (self.entries.len() as u64, tail.len() as u64);
        put32(&mut tail, 0x0606_4b50);
        put64(&mut tail, 44);
        put16(&mut tail, VERSION);
        put16(&mut tail, VERSION);
        put64(&mut tail, 0);
        for value in [count, count, size, start] {
            put64(&mut tail, value);
        }
        put32(&mut tail, 0x0706_4b50);
        put32(&mut tail, 0);
        put64(&mut tail, start + size);
        put32(&mut tail, 1);
        put32(&mut tail, 0x0605_4b50);
        put32(&mut tail, 0);
        put32(&mut tail, u32::MAX);
        put64(&mut tail, u64::MAX);
        put16(&mut tail, 0);
        self.put(&tail)
    }

    fn open(&mut self) -> &mut Entry {
        self.entries.last_mut().expect("begin() comes before write() and end()")
    }

    fn pack(&mut self, last: bool) -> io::Result<()> {
        let mut pieces: Vec<(&[u8], FlushCompress)> =
            self.pending.chunks(PIECE_BYTES).map(|piece| (piece, FlushCompress::Sync)).collect();
        if last {
            match pieces.last_mut() {
                Some(piece) => piece.1 = FlushCompress::Finish,
                None => pieces.push((&[], FlushCompress::Finish)),
            }
        }
        let packed: Vec<io::Result<Vec<u8>>> = pieces.par_iter().map(|&(piece, flush)| deflate(piece, flush)).collect();
        for piece in packed {
            let piece = piece?;
            self.open().packed += piece.len() as u64;
            self.put(&piece)?;
        }
        self.pending.clear();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

/// Zip 4.5, the first with zip64.
const VERSION: u16 = 45;

impl Entry {
    /// The fields that local header and directory share, up to the length of the name.
    fn put_common(&self, out: &mut Vec<u8>, local: bool) {
        const SIZES_FOLLOW_UTF8: u16 = 1 << 3 | 1 << 11;
        const DEFLATE: u16 = 8;
        const FIRST_OF_JANUARY_1980: u16 = 1 << 5 | 1;
        for value in [VERSION, SIZES_FOLLOW_UTF8, DEFLATE, 0, FIRST_OF_JANUARY_1980] {
            put16(out, value);
        }
        put32(out, if local { 0 } else { self.crc });
        put64(out, u64::MAX);
        put16(out, self.name.len() as u16);
    }
}

fn deflate(input: &[u8], flush: FlushCompress) -> io::Result<Vec<u8>> {
    let mut state = Compress::new(Compression::new(2), false);
    let mut out = Vec::new();
    loop {
        out.reserve(input.len() / 2 + 1024);
        let status = state.compress_vec(&input[state.total_in() as usize..], &mut out, flush)?;
        let all_in = state.total_in() as usize == input.len();
        let done = match flush {
            FlushCompress::Finish => status == Status::StreamEnd,
            _ => all_in && (out.len() < out.capacity() || status == Status::BufError),
        };
        if done {
            return Ok(out);
        }
    }
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::philox::Philox;
    use std::io::Read;

    /// Read back by the `zip` crate, which checks every sum: empty, small, several batches, hard and easy to pack.
    #[test]
    fn archives_are_read_by_others() {
        let mut random = Philox::new(1, 1);
        let noise: Vec<u8> = (0..BATCH_BYTES + 3 * PIECE_BYTES + 17).map(|_| random.next_u32() as u8).collect();
        let entries: [(&str, Vec<u8>); 4] =
            [("empty", vec![]), ("a", vec![7]), ("zéro.npy", vec![0; BATCH_BYTES]), ("noise", noise)];
        let mut bytes = Vec::new();
        let mut zip = ZipStream::new(&mut bytes);
        for (name, data) in &entries {
            zip.begin(name).unwrap();
            for part in data.chunks(3_000_001) {
                zip.write(part).unwrap();
            }
            zip.end().unwrap();
        }
        zip.finish().unwrap();
        let mut archive = zip::ZipArchive::new(io::Cursor::new(&bytes)).unwrap();
        assert_eq!(archive.len(), entries.len());
        for (name, data) in &entries {
            let mut found = Vec::new();
            archive.by_name(name).unwrap().read_to_end(&mut found).unwrap();
            assert!(found == *data, "{name}");
        }
    }

    #[test]
    fn an_archive_of_nothing() {
        let mut bytes = Vec::new();
        ZipStream::new(&mut bytes).finish().unwrap();
        assert!(zip::ZipArchive::new(io::Cursor::new(&bytes)).unwrap().is_empty());
    }
}
