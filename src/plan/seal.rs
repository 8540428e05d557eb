use serde::{Deserialize, Serialize};

use super::{FORMAT, Plan};
use crate::resource::Digest;

/// A plan with the digest that the operator confirms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

impl Sealed {
    pub fn new(plan: Plan) -> Self {
        let digest = digest_of(&plan);
        Self { digest, plan }
    }

    /// Reads a plan and checks that nobody changed it.
    pub fn read(text: &str) -> Result<Self, SealError> {
        let unreadable = |error: serde_json::Error| SealError::Unreadable(error.to_string());
        let value: serde_json::Value = serde_json::from_str(text).map_err(unreadable)?;
        let format = value.pointer("/plan/format").and_then(serde_json::Value::as_u64);
        if let Some(found) = format.filter(|format| *format != u64::from(FORMAT)) {
            return Err(SealError::Format { found });
        }
        // The digest is of the text's own plan, so that a field which this program does not know counts as a change too.
        let found = Digest::of(value["plan"].to_string().as_bytes());
        let sealed: Self = serde_json::from_value(value).map_err(unreadable)?;
        if found == sealed.digest {
            return Ok(sealed);
        }
        Err(SealError::Broken { written: sealed.digest.to_string(), found: found.to_string() })
    }

    pub fn to_text(&self) -> String {
        format!("{:#}\n", serde_json::to_value(self).expect("a plan is plain data"))
    }
}

fn digest_of(plan: &Plan) -> Digest {
    let value = serde_json::to_value(plan).expect("a plan is plain data");
    Digest::of(value.to_string().as_bytes())
}
