//! Runs `longshore` in a directory of its own, with nothing of the tester's environment.

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// The longest any command of these tests may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// A directory and an environment to type commands in.
pub(crate) struct Shell {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// What a command did.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Shell {
    pub(crate) fn new() -> Shell {
        Shell { folder: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// A shell that has the address and token of a server in its environment.
    pub(crate) fn at(url: &str) -> Shell {
        Shell::new().with("LONGSHORE_URL", url).with("LONGSHORE_TOKEN", "lsh_secret-of-the-test")
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Shell {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Starts `longshore` with words separated by spaces.
    pub(crate) fn start(&self, words: &str) -> Child {
        self.start_with(&words.split_whitespace().collect::<Vec<_>>())
    }

    /// Starts `longshore` with words that may have spaces in them.
    pub(crate) fn start_with(&self, words: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
        command.args(words).current_dir(self.folder()).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, words: &str) -> Ran {
        finish(self.start(words), words)
    }
}

/// Waits for a command's end.
pub(crate) fn finish(mut child: Child, what: &str) -> Ran {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > DEADLINE {
            child.kill().unwrap();
            let ran = ran(child.wait_with_output().unwrap());
            panic!("`{what}` did not end within {DEADLINE:?}\n{}\n{}", ran.stdout, ran.stderr);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    ran(child.wait_with_output().unwrap())
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ran {
    /// Asserts the exit code, and shows what was printed when it is another.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        for printed in [&self.stdout, &self.stderr] {
            assert!(!printed.contains("lsh_secret"), "the token was printed: {printed}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn said(self, words: &[&str]) -> Ran {
        let all = format!("{}\n{}", self.stdout, self.stderr);
        for word in words {
            assert!(all.contains(word), "`{word}` is missing in:\n{all}");
        }
        self
    }
}
