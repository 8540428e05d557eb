use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{FORMAT, Plan};
use crate::resource::Digest;

/// A plan with the digest that the operator confirms.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sealed {
    pub digest: Digest,
    pub plan: Plan,
}

/// The text is not a plan that this program made.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("it is no plan: {0}")]
    Unreadable(String),
    #[error("it has format {found}, and this program reads format {FORMAT}")]
    Format { found: u64 },
    #[error("it was changed after it was made: its digest is {found}, and the one written in it is {written}")]
    Broken { written: String, found: String },
}

/// A sealed plan as it is written, with as much of the plan as is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<P> {
    digest: Digest,
    plan: P,
}

#[derive(Deserialize)]
struct Format {
    format: u64,
}

/// What stands before the text of the plan is shorter than this, and so is what stands after it.
const FRAME: usize = 256;

impl Sealed {
    pub fn new(plan: Plan) -> Self {
        let written = Digest::of_written(|hash| serde_json::to_writer_pretty(io::BufWriter::new(hash), &plan));
        let digest = written.expect("a plan is plain data");
        Self { digest, plan }
    }

    /// Reads a plan and checks that nobody changed it.
    pub fn read(text: &str) -> Result<Self, SealError> {
        Self::read_from(|| Ok(text.as_bytes()))
    }

    /// The same from what can be opened again: the text of a plan for 100,000 keys is 30 MB, and never in memory as a whole.
    ///
    /// The digest is of the plan's text as it is written, so any edit of the file shows.
    pub fn read_from<R: Read>(open: impl Fn() -> io::Result<R>) -> Result<Self, SealError> {
        let Written { digest: written, plan: Format { format: found } } = parse(&open)?;
        if found != u64::from(FORMAT) {
            return Err(SealError::Format { found });
        }
        let found = open().and_then(digest_of_plan).map_err(|error| SealError::Unreadable(error.to_string()))?;
        if found != written {
            return Err(SealError::Broken { written: written.to_string(), found: found.to_string() });
        }
        let Written { plan, .. } = parse(&open)?;
        Ok(Self { digest: found, plan })
    }

    /// Writes the plan as `read` takes it. Its text is never in memory as a whole: plans can be large.
    pub fn write(&self, to: &mut dyn io::Write) -> io::Result<()> {
        let mut to = io::BufWriter::new(to);
        write!(to, "{{\n\"digest\": \"{}\",\n\"plan\": ", self.digest)?;
        serde_json::to_writer_pretty(&mut to, &self.plan)?;
        to.write_all(b"\n}\n")?;
        to.flush()
    }
}

fn parse<P: DeserializeOwned, R: Read>(open: impl Fn() -> io::Result<R>) -> Result<Written<P>, SealError> {
    let reader = open().map_err(|error| SealError::Unreadable(error.to_string()))?;
    serde_json::from_reader(io::BufReader::new(reader)).map_err(|error| SealError::Unreadable(error.to_string()))
}

/// The digest of the plan's own text, while it goes by.
fn digest_of_plan(mut from: impl Read) -> io::Result<Digest> {
    let mut held = Vec::new();
    from.by_ref().take(FRAME as u64).read_to_end(&mut held)?;
    let key = b"\"plan\":";
    let start = held.windows(key.len()).position(|window| window == key);
    let start = start.ok_or_else(|| io::Error::other("its digest does not stand before it"))? + key.len();
    held.drain(..start);
    let spaces = held.len() - held.trim_ascii_start().len();
    held.drain(..spaces);
    Digest::of_written(|hash| {
        let mut part = vec![0; 64 << 10];
        loop {
            let read = from.read(&mut part)?;
            held.extend_from_slice(&part[..read]);
            if read == 0 {
                break;
            }
            // The newest bytes are held back: they may be the end of the frame.
            let known = held.len().saturating_sub(FRAME);
            hash.write_all(&held[..known])?;
            held.drain(..known);
        }
        let text = held.trim_ascii_end();
        hash.write_all(text.strip_suffix(b"}").unwrap_or(text).trim_ascii_end())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a plan the frame alone counts here: any text may stand in it.
    fn digest(text: &str) -> Digest {
        digest_of_plan(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_digest_is_of_the_plan_s_own_text_however_long_it_is() {
        for length in [0, 1, FRAME - 1, FRAME, FRAME + 1, 100_000] {
            let plan = format!("{{\"a\": \"{}\"}}", "x".repeat(length));
            for (before, after) in
                [("{\n\"digest\": \"0\",\n\"plan\": ", "\n}\n"), ("{\"digest\":\"0\",\"plan\":", "}")]
            {
                assert_eq!(digest(&format!("{before}{plan}{after}")), Digest::of(plan.as_bytes()), "{length}");
            }
        }
        assert!(digest_of_plan("{}".as_bytes()).is_err());
    }
}
