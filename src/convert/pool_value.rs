//! Reads the JSON text inside an old pool as Go's decoder did.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::go_json::is_key_of;
use super::go_net::Network;

/// What an old pool says; what it does not say is empty or false, as in Go.
#[derive(Debug, Default)]
pub(super) struct PoolValue {
    pub network: Option<Network>,
    /// The CIDR as it was written.
    pub written_cidr: String,
    pub ipip_interface: String,
    pub ipip_mode: String,
    pub masquerade: bool,
    pub ipam: Option<bool>,
    pub disabled: bool,
    pub unknown_keys: Vec<String>,
}

impl PoolValue {
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        // Go takes a bare `null` as a pool with nothing set.
        Ok(serde_json::from_str::<Option<Self>>(text)?.unwrap_or_default())
    }

    fn take_field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match FIELDS.into_iter().find(|(name, _)| is_key_of(key, name)).map(|(_, field)| field) {
            Some(Field::Cidr) => return self.take_cidr(map.next_value::<Option<String>>()?),
            Some(Field::IpipInterface) => set(&mut self.ipip_interface, map.next_value()?),
            Some(Field::IpipMode) => set(&mut self.ipip_mode, map.next_value()?),
            Some(Field::Masquerade) => set(&mut self.masquerade, map.next_value()?),
            Some(Field::Ipam) => set(&mut self.ipam, map.next_value::<Option<bool>>()?.map(Some)),
            Some(Field::Disabled) => set(&mut self.disabled, map.next_value()?),
            None => {
                map.next_value::<IgnoredAny>()?;
                self.unknown_keys.push(key.to_owned());
            }
        }
        Ok(())
    }

    // Unlike the other fields, a later null or empty text clears the CIDR: its type decodes itself.
    fn take_cidr<E: Error>(&mut self, text: Option<String>) -> Result<(), E> {
        self.written_cidr = text.unwrap_or_default();
        self.network = match self.written_cidr.as_str() {
            "" => None,
            text => Some(Network::parse(text).ok_or_else(|| E::custom(format_args!("`{text}` is not a CIDR")))?),
        };
        Ok(())
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

#[derive(Clone, Copy)]
enum Field {
    Cidr,
    IpipInterface,
    IpipMode,
    Masquerade,
    Ipam,
    Disabled,
}

const FIELDS: [(&str, Field); 6] = [
    ("cidr", Field::Cidr),
    ("ipip", Field::IpipInterface),
    ("ipip_mode", Field::IpipMode),
    ("masquerade", Field::Masquerade),
    ("ipam", Field::Ipam),
    ("disabled", Field::Disabled),
];

impl<'de> Deserialize<'de> for PoolValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = PoolValue;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the settings of a pool")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PoolValue, A::Error> {
                let mut value = PoolValue::default();
                while let Some(key) = map.next_key::<String>()? {
                    value.take_field(&key, &mut map)?;
                }
                Ok(value)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> PoolValue {
        PoolValue::parse(text).unwrap()
    }

    #[test]
    fn the_last_key_wins_whatever_its_case() {
        let value = read(r#"{"cidr":"10.0.0.0/8","Cidr":"10.1.0.0/16","IPIP":"tunl0","ipip":"","MASQUERADE":true}"#);
        assert_eq!(value.network.unwrap().to_string(), "10.1.0.0/16");
        assert_eq!((value.ipip_interface.as_str(), value.masquerade), ("", true));
        assert_eq!(read(r#"{"cidr":"10.0.0.0/8","cidr":"10.2.0.0/16"}"#).written_cidr, "10.2.0.0/16");
    }

    #[test]
    fn null_leaves_a_setting_but_clears_the_cidr() {
        let value =
            read(r#"{"cidr":"10.0.0.0/8","ipip":"tunl0","disabled":true,"IPIP":null,"Disabled":null,"CIDR":null}"#);
        assert_eq!((value.network, value.ipip_interface.as_str(), value.disabled), (None, "tunl0", true));
    }

    #[test]
    fn a_bare_null_or_an_empty_cidr_is_a_pool_without_a_cidr() {
        for text in ["null", "{}", r#"{"cidr":""}"#] {
            assert_eq!(read(text).network, None, "{text}");
        }
    }

    #[test]
    fn unknown_keys_are_named_and_may_hold_anything() {
        let value = read(r#"{"vxlan":[1e999,{"a":[]}],"cidr":"10.0.0.0/8","block size":26}"#);
        assert_eq!(value.unknown_keys, ["vxlan", "block size"]);
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in [
            "",
            " ",
            "{",
            r#"{"cidr":"10.0.0.0/8"} x"#,
            r#"{"cidr":"10.0.0.0/8"}{}"#,
            r#"{"cidr":"10.0.0.0/8",}"#,
            "[]",
            "7",
            r#""text""#,
            r#"{"cidr":7}"#,
            r#"{"cidr":"ten"}"#,
            r#"{"cidr":"ten","cidr":"10.0.0.0/8"}"#,
            r#"{"masquerade":"true"}"#,
            r#"{"disabled":0}"#,
            r#"{"ipip":true}"#,
            r#"{"ipam":{}}"#,
            "{'cidr':''}",
            "{\"ipip\":\"a\nb\"}",
        ] {
            assert!(PoolValue::parse(text).is_err(), "{text}");
        }
    }
}
