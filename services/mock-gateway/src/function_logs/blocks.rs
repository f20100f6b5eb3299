//! The lines of one function in memory, in blocks: a line costs a copy and no allocation, and
//! the oldest go a block at a time, into whose memory the newest are written. A log is
//! written by all threads and on the way of every request; line by line, the allocator's
//! locks were what they waited for.

use std::collections::VecDeque;
use std::sync::Arc;

use journal::EntryId;

use super::line::{LogLine, Numbered, Origin};
use crate::invocation::RequestId;

/// A block takes no more lines once it has so much text.
const BLOCK_BYTES: usize = 64 * 1024;
/// A block takes no more lines than these.
const BLOCK_LINES: usize = 512;

/// How much is kept, the block that is written to aside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) lines: usize,
    pub(super) bytes: usize,
}

/// The newest lines, oldest first.
#[derive(Debug)]
pub(super) struct Blocks {
    bounds: Bounds,
    /// Full ones. Readers share them.
    full: VecDeque<Arc<Block>>,
    /// The one that is written to. Readers copy it.
    open: Block,
    /// One that went: the memory of the next.
    spare: Option<Block>,
    lines: usize,
    bytes: usize,
}

/// Lines that follow one another.
#[derive(Clone, Debug, Default)]
struct Block {
    /// The number of the first, be it there or still to come.
    first: u64,
    heads: Vec<Head>,
    /// The messages, one after another.
    text: String,
}

/// A line without its message.
#[derive(Clone, Debug)]
struct Head {
    timestamp: i64,
    stream: Arc<str>,
    request_id: Option<RequestId>,
    origin: Origin,
    /// Where its message ends; it begins where the one before ends.
    end: usize,
}

/// What a log held at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    blocks: Vec<Arc<Block>>,
    after: EntryId,
}

impl Blocks {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            full: VecDeque::new(),
            open: Block {
                first: EntryId::START.get() + 1,
                ..Block::default()
            },
            spare: None,
            lines: 0,
            bytes: 0,
        }
    }

    /// Adds a line; the oldest go if they do not fit beside it.
    pub(super) fn append(&mut self, line: LogLine<'_>) {
        if self.open.is_full_before(line.message) {
            let next = self.open.next();
            let full = std::mem::replace(&mut self.open, self.spare.take().unwrap_or_default());
            self.open.reuse(next);
            self.full.push_back(Arc::new(full));
        }
        self.open.push(line);
        self.lines += 1;
        self.bytes += weight(line.message.len());
        while self.lines > self.bounds.lines || self.bytes > self.bounds.bytes {
            let Some(oldest) = self.full.pop_front() else {
                break;
            };
            self.lines -= oldest.heads.len();
            self.bytes -= oldest.weight();
            // A reader may still have it, and one of a few huge lines is not worth keeping.
            self.spare =
                Arc::into_inner(oldest).filter(|block| block.text.capacity() <= 2 * BLOCK_BYTES);
        }
    }

    /// The number of the newest line there ever was.
    pub(super) fn newest(&self) -> EntryId {
        EntryId::from(self.open.next() - 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines == 0
    }

    /// The lines after this one.
    pub(super) fn after(&self, after: EntryId) -> Snapshot {
        let wanted = |block: &Block| block.next() > after.get() + 1;
        let full = self.full.iter().rev();
        let mut blocks: Vec<Arc<Block>> = full.take_while(|block| wanted(block)).cloned().collect();
        blocks.reverse();
        if wanted(&self.open) {
            blocks.push(Arc::new(self.open.clone()));
        }
        Snapshot { blocks, after }
    }
}

impl Block {
    /// Empties it, for lines from this number on.
    fn reuse(&mut self, first: u64) {
        self.first = first;
        self.heads.clear();
        self.text.clear();
    }

    /// The number after its last line's.
    fn next(&self) -> u64 {
        self.first + self.heads.len() as u64
    }

    fn weight(&self) -> usize {
        self.heads.len() * weight(0) + self.text.len()
    }

    fn is_full_before(&self, message: &str) -> bool {
        !self.heads.is_empty()
            && (self.heads.len() >= BLOCK_LINES || self.text.len() + message.len() > BLOCK_BYTES)
    }

    fn push(&mut self, line: LogLine<'_>) {
        self.text.push_str(line.message);
        self.heads.push(Head {
            timestamp: line.timestamp,
            stream: Arc::clone(line.stream),
            request_id: line.request_id,
            origin: line.origin,
            end: self.text.len(),
        });
    }

    fn lines(&self) -> impl Iterator<Item = Numbered<'_>> {
        let begins = std::iter::once(0).chain(self.heads.iter().map(|head| head.end));
        let numbers = self.first..;
        let heads = self.heads.iter().zip(begins).zip(numbers);
        heads.map(|((head, begin), number)| Numbered {
            id: EntryId::from(number),
            line: LogLine {
                timestamp: head.timestamp,
                stream: &head.stream,
                request_id: head.request_id,
                origin: head.origin,
                message: self.text.get(begin..head.end).unwrap_or_default(),
            },
        })
    }
}

impl Snapshot {
    /// The lines, oldest first.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Numbered<'_>> {
        let after = self.after;
        let lines = self.blocks.iter().flat_map(|block| block.lines());
        lines.skip_while(move |line| line.id <= after)
    }

    /// The number of the newest; if there is none, of the one before.
    pub(crate) fn newest(&self) -> EntryId {
        let last = self.blocks.last();
        last.map_or(self.after, |block| EntryId::from(block.next() - 1))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

/// What a line with a message of this length takes.
fn weight(message: usize) -> usize {
    size_of::<Head>() + message
}
