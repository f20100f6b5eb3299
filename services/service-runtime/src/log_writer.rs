//! Log lines are gathered and written together, by a thread of their own: three lines for
//! every request, each with a system call under standard error's lock, are a twentieth of
//! what a request costs.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// The longest that a line waits for others.
const GATHER: Duration = Duration::from_millis(10);
/// Whoever logs waits while so many bytes are there that nobody takes.
const BOUND: usize = 1024 * 1024;

/// Where lines are handed in.
#[derive(Debug)]
pub(crate) struct LogLines {
    gathering: Arc<Gathering>,
}

/// Writes what comes. Dropped, it has written all that came before.
#[derive(Debug)]
pub(crate) struct LogWriter {
    gathering: Arc<Gathering>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// Held to copy a line, never while anything is written.
    state: Mutex<State>,
    /// There are lines where there were none, or no more will come.
    fresh: Condvar,
    /// The lines were taken.
    taken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: Vec<u8>,
    /// No thread takes them any more: who logs writes.
    is_closed: bool,
}

/// Starts the thread that writes to `output`.
pub(crate) fn start(output: impl Write + Send + 'static) -> io::Result<(LogLines, LogWriter)> {
    let gathering = Arc::new(Gathering::default());
    let own = Arc::clone(&gathering);
    let thread = thread::Builder::new()
        .name("logs".to_owned())
        .spawn(move || own.write_to(output))?;
    let lines = LogLines {
        gathering: Arc::clone(&gathering),
    };
    let writer = LogWriter {
        gathering,
        thread: Some(thread),
    };
    Ok((lines, writer))
}

impl Gathering {
    fn state(&self) -> MutexGuard<'_, State> {
        // Text is whole whenever the lock is free.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut output: impl Write) {
        let mut text = Vec::new();
        loop {
            let state = self.state();
            let nothing = |state: &mut State| state.text.is_empty() && !state.is_closed;
            let state = self.fresh.wait_while(state, nothing);
            let state = state.unwrap_or_else(PoisonError::into_inner);
            // For the lines that come with this one; nobody waits for the end.
            let open = |state: &mut State| !state.is_closed;
            let state = self.fresh.wait_timeout_while(state, GATHER, open);
            let (mut state, _) = state.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut text, &mut state.text);
            let is_last = state.is_closed;
            drop(state);
            if text.len() > BOUND {
                self.taken.notify_all();
            }
            // Nobody is left to tell that standard error is gone.
            output.write_all(&text).and_then(|()| output.flush()).ok();
            text.clear();
            if is_last {
                return;
            }
        }
    }
}

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = &'a Gathering;

    fn make_writer(&'a self) -> Self::Writer {
        &self.gathering
    }
}

/// The formatter hands in whole lines, one in a call.
impl Write for &Gathering {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let crowded = |state: &mut State| state.text.len() > BOUND && !state.is_closed;
        let state = self.taken.wait_while(self.state(), crowded);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.is_closed {
            return io::stderr().write(line);
        }
        let was_empty = state.text.is_empty();
        state.text.extend_from_slice(line);
        drop(state);
        if was_empty {
            self.fresh.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.gathering.state().is_closed = true;
        self.gathering.fresh.notify_all();
        self.gathering.taken.notify_all();
        if let Some(thread) = self.thread.take() {
            // It ends badly if the output panics; then there is nowhere to say so.
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Tells what is written in one call, and waits until it may go on.
    struct Slow {
        written: mpsc::Sender<Vec<u8>>,
        may_go_on: mpsc::Receiver<()>,
    }

    impl Write for Slow {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.written.send(text.to_owned()).unwrap();
            self.may_go_on.recv().unwrap();
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_come_while_others_are_written_go_together_and_in_order() {
        let (written, heard) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let (lines, writer) = start(Slow { written, may_go_on }).unwrap();
        lines.make_writer().write_all(b"first\n").unwrap();
        assert_eq!(heard.recv().unwrap(), b"first\n");
        // The writer is stuck: nobody waits for it.
        let mut expected = Vec::new();
        for number in 0..1_000 {
            let line = format!("{number}\n");
            lines.make_writer().write_all(line.as_bytes()).unwrap();
            expected.extend_from_slice(line.as_bytes());
        }
        for _ in 0..2 {
            go_on.send(()).unwrap();
        }
        assert_eq!(heard.recv().unwrap(), expected);
        drop(writer);
    }

    #[test]
    fn what_came_before_the_end_is_written() {
        let (written, heard) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        go_on.send(()).unwrap();
        let (lines, writer) = start(Slow { written, may_go_on }).unwrap();
        lines.make_writer().write_all(b"last\n").unwrap();
        drop(writer);
        assert_eq!(heard.try_recv().unwrap(), b"last\n");
    }

    #[test]
    fn whoever_logs_faster_than_is_written_waits() {
        let (written, heard) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let (lines, writer) = start(Slow { written, may_go_on }).unwrap();
        lines.make_writer().write_all(b"x").unwrap();
        assert_eq!(heard.recv().unwrap(), b"x");
        lines
            .make_writer()
            .write_all(&vec![b'y'; BOUND + 1])
            .unwrap();
        let (done, is_done) = mpsc::channel();
        let one_more = thread::spawn(move || {
            lines.make_writer().write_all(b"z").unwrap();
            done.send(()).unwrap();
        });
        is_done
            .recv_timeout(Duration::from_millis(50))
            .expect_err("there is no room");
        for _ in 0..3 {
            go_on.send(()).unwrap();
        }
        is_done.recv().unwrap();
        one_more.join().unwrap();
        drop(writer);
        let all: Vec<u8> = heard.iter().flatten().collect();
        assert_eq!(all.len(), BOUND + 2);
        assert_eq!(all.last(), Some(&b'z'));
    }
}
