//! Reads what a step wants to be true. The derived way would hold a whole step in pieces first, to look for its kind: for 100,000
//! lines of a backup that is 60 MB. A plan is written with the kind first, so it is known before anything else comes.

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, value::MapAccessDeserializer},
};
use serde_json::{Map, Value};

use super::{Desired, Pull, Roll, Stage, Verify};

impl<'de> Deserialize<'de> for Desired {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reading)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    BackUp,
    Objects,
    Pull,
    Roll,
    Verify,
}

#[derive(Deserialize)]
struct Objects {
    stages: Vec<Stage>,
}

struct Reading;

impl<'de> de::Visitor<'de> for Reading {
    type Value = Desired;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("what a step wants to be true")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Desired, A::Error> {
        let first: Option<String> = map.next_key()?;
        if first.as_deref() == Some("kind") {
            let kind = map.next_value()?;
            return read(kind, MapAccessDeserializer::new(map));
        }
        // Another program may have put the fields in another order.
        let mut fields = Map::new();
        if let Some(key) = first {
            fields.insert(key, map.next_value()?);
        }
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            fields.insert(key, value);
        }
        let kind = fields.remove("kind").ok_or_else(|| de::Error::missing_field("kind"))?;
        let kind = Kind::deserialize(kind).map_err(de::Error::custom)?;
        read(kind, Value::Object(fields)).map_err(de::Error::custom)
    }
}

fn read<'de, D: Deserializer<'de>>(kind: Kind, fields: D) -> Result<Desired, D::Error> {
    Ok(match kind {
        Kind::BackUp => {
            IgnoredAny::deserialize(fields)?;
            Desired::BackUp
        }
        Kind::Objects => Desired::Objects { stages: Objects::deserialize(fields)?.stages },
        Kind::Pull => Desired::Pull(Pull::deserialize(fields)?),
        Kind::Roll => Desired::Roll(Roll::deserialize(fields)?),
        Kind::Verify => Desired::Verify(Verify::deserialize(fields)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Line, Lines};
    use crate::resource::Digest;

    #[test]
    fn what_a_step_wants_is_read_whether_its_kind_comes_first_or_not() {
        let mut lines = Lines::default();
        lines.push(Line { number: 0, key: "/calico/a", before: None, after: &Digest::of(b"") });
        let stages = vec![Stage::Lines { lines, note: None }, Stage::NoOrphans];
        for wanted in [Desired::BackUp, Desired::Objects { stages }] {
            let text = serde_json::to_string(&wanted).unwrap();
            assert!(text.starts_with("{\"kind\":"), "{text}");
            assert_eq!(serde_json::from_str::<Desired>(&text).unwrap(), wanted);
            let Some(fields) = text.strip_prefix("{\"kind\":\"objects\",") else { continue };
            let turned =
                format!("{},\"kind\":\"objects\"}}", fields.strip_suffix('}').map(|one| format!("{{{one}")).unwrap());
            assert_eq!(serde_json::from_str::<Desired>(&turned).unwrap(), wanted);
        }
        assert!(serde_json::from_str::<Desired>("{\"stages\": []}").is_err());
    }
}
