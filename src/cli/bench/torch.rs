//! PyTorch as a child process that times one round whenever it is asked to, and sleeps otherwise.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::engine::bench::Work;
use crate::error::{Error, Result};
use crate::model::ZooName;

/// The same models in PyTorch; its head says what it reads and writes.
const PROGRAM: &str = include_str!("../../../benches/torch_cpu.py");
/// The same on a GPU, and single operations; it takes the models from the other one.
const ON_GPU: &str = include_str!("../../../benches/torch_gpu.py");

/// A Python with torch that waits for requests.
pub(super) struct Torch {
    python: PathBuf,
    version: String,
    child: Child,
    /// Open until the child is told to end.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Torch {
    /// Starts `python`, else the one that `DRG_PYTHON` names, else `python3`, with torch on `threads` threads.
    ///
    /// # Errors
    /// [`Error::Usage`] if it cannot be started or has no torch.
    pub(super) fn start(python: Option<&Path>, threads: usize) -> Result<Self> {
        Self::serve(python, &["-c", PROGRAM, "--serve", "--threads", &threads.to_string()], "torch and numpy")
    }

    /// As [`Torch::start`], on the GPU.
    ///
    /// # Errors
    /// [`Error::Usage`] if it cannot be started or has no torch, or if its torch has no GPU.
    pub(super) fn start_gpu(python: Option<&Path>) -> Result<Self> {
        Self::serve(python, &["-c", ON_GPU, PROGRAM], "torch with CUDA, and numpy")
    }

    fn serve(python: Option<&Path>, arguments: &[&str], needed: &str) -> Result<Self> {
        let python = match python {
            Some(path) => path.to_path_buf(),
            None => std::env::var_os("DRG_PYTHON").filter(|v| !v.is_empty()).unwrap_or("python3".into()).into(),
        };
        let missing = |what: &str| {
            let remedy = format!("name a Python that has {needed} with --python or in DRG_PYTHON");
            Error::Usage(format!("--against torch: {}: {what}; {remedy}", python.display()))
        };
        // Idle OpenMP threads must sleep at once: they would take the processor from our rounds.
        let mut child = Command::new(&python)
            .args(arguments)
            .env("OMP_WAIT_POLICY", "passive")
            .env("KMP_BLOCKTIME", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| missing(&format!("cannot be started ({e})")))?;
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("stdout was piped above"));
        let mut torch = Self { version: String::new(), python: python.clone(), child, requests, answers };
        match torch.answer() {
            Ok(first) => torch.version = first["torch"].as_str().unwrap_or("?").into(),
            Err(_) => return Err(missing(&torch.last_words())),
        }
        Ok(torch)
    }

    /// Version of torch.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// The program that runs it.
    pub(super) fn python(&self) -> &Path {
        &self.python
    }

    /// Builds a case and warms it up; returns the time of a pass in milliseconds.
    ///
    /// # Errors
    /// [`Error::Failed`] with what Python said.
    pub(super) fn prepare(&mut self, model: ZooName, work: Work, batch: usize) -> Result<f64> {
        self.ask(&json!({ "model": model.name(), "what": work.name(), "batch": batch }))
    }

    /// Median time of so many passes in milliseconds.
    ///
    /// # Errors
    /// [`Error::Failed`] with what Python said.
    pub(super) fn round_ms(&mut self, runs: usize) -> Result<f64> {
        self.ask(&json!({ "runs": runs }))
    }

    /// Sends a request of the program on the GPU and returns the time that it answers, in milliseconds.
    ///
    /// # Errors
    /// [`Error::Failed`] with what Python said.
    pub(super) fn ask(&mut self, request: &Value) -> Result<f64> {
        let sent = self.requests.as_mut().map(|r| writeln!(r, "{request}").and_then(|()| r.flush()));
        let answer = match sent {
            Some(Ok(())) => self.answer(),
            _ => Err("it has ended".into()),
        };
        let refused = |what: &str| Error::Failed(format!("{} running PyTorch: {what}", self.python.display()));
        let answer = answer.map_err(|what| refused(&what))?;
        match (answer["median_ms"].as_f64(), answer["error"].as_str()) {
            (Some(ms), _) if ms > 0.0 => Ok(ms),
            (_, Some(error)) => Err(refused(error)),
            _ => Err(refused(&format!("expected a time, found {answer}"))),
        }
    }

    fn answer(&mut self) -> std::result::Result<Value, String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|e| e.to_string())?;
        if line.is_empty() {
            return Err("it has ended".into());
        }
        serde_json::from_str(&line).map_err(|e| format!("expected a line of JSON ({e}), found '{}'", line.trim()))
    }

    /// The last line of its stderr, after it has ended.
    fn last_words(&mut self) -> String {
        self.requests = None;
        let mut text = Vec::new();
        if let Some(stderr) = self.child.stderr.as_mut() {
            // What cannot be read is not worth an error of its own.
            let _ = stderr.read_to_end(&mut text);
        }
        let text = String::from_utf8_lossy(&text);
        text.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("ended without a word").trim().to_string()
    }
}

impl Drop for Torch {
    fn drop(&mut self) {
        self.requests = None;
        // A pass may take minutes; nobody waits for its time any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_without_torch_is_wrong_use() {
        for python in ["/nonexistent/python", "true"] {
            let e = Torch::start(Some(Path::new(python)), 1).err().expect("no torch there");
            assert!(e.to_string().contains("--python") && e.to_string().contains(python), "{e}");
            assert_eq!(e.exit_code(), 2);
            let e = Torch::start_gpu(Some(Path::new(python))).err().expect("no torch there");
            assert!(e.to_string().contains("torch with CUDA"), "{e}");
        }
    }

    #[test]
    fn rounds_are_timed_and_errors_come_back() {
        let Some(python) = std::env::var_os("DRG_PYTHON") else {
            eprintln!("skipped: PyTorch as a child; name a Python that has torch in DRG_PYTHON");
            return;
        };
        let mut torch = Torch::start(Some(Path::new(&python)), 1).unwrap();
        assert!(torch.round_ms(1).unwrap_err().to_string().contains("running PyTorch"));
        assert!(torch.prepare(ZooName::Bpnet2114, Work::Forward, 1).unwrap() > 0.0);
        assert!(torch.round_ms(2).unwrap() > 0.0);
    }
}
