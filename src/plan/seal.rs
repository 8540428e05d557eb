use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

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

/// A sealed plan as it is written, with the plan's own text untouched.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    digest: Digest,
    #[serde(borrow)]
    plan: &'a RawValue,
}

#[derive(Deserialize)]
struct Format {
    format: u64,
}

impl Sealed {
    pub fn new(plan: Plan) -> Self {
        let written = Digest::of_written(|hash| serde_json::to_writer_pretty(io::BufWriter::new(hash), &plan));
        let digest = written.expect("a plan is plain data");
        Self { digest, plan }
    }

    /// Reads a plan and checks that nobody changed it.
    ///
    /// The digest is of the plan's text as it is written, so any edit of the file shows.
    pub fn read(text: &str) -> Result<Self, SealError> {
        let unreadable = |error: serde_json::Error| SealError::Unreadable(error.to_string());
        let written: Written<'_> = serde_json::from_str(text).map_err(unreadable)?;
        let plan = written.plan.get();
        let Format { format: found } = serde_json::from_str(plan).map_err(unreadable)?;
        if found != u64::from(FORMAT) {
            return Err(SealError::Format { found });
        }
        let found = Digest::of(plan.as_bytes());
        if found != written.digest {
            return Err(SealError::Broken { written: written.digest.to_string(), found: found.to_string() });
        }
        Ok(Self { digest: found, plan: serde_json::from_str(plan).map_err(unreadable)? })
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
