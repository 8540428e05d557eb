//! Where traces of a run go: by a flag, else by the variables that OpenTelemetry has for that. What cannot be used is told and skipped:
//! no run ends for its trace. Headers may be secret, so no text of theirs is ever told.

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::arguments::Traces;
use crate::{
    notice::{About, TracesListener},
    web::{Address, Client},
};

/// Reads a variable of the environment; one that is empty is as good as none.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Who sends traces, if somebody is to.
///
/// # Errors
/// Why none will be sent although they are wanted.
pub fn listener(
    flags: &Traces,
    is_built: bool,
    variable: impl Fn(&str) -> Option<String>,
    about: About,
) -> Result<Option<TracesListener>, String> {
    let Some(endpoint) = endpoint(flags, &variable) else { return Ok(None) };
    if !is_built {
        return Err("this build has no traces; build it with `make build FEATURES=otel`".to_owned());
    }
    check_protocol(&variable)?;
    let address = endpoint.address()?;
    if address.is_plain_to_others() && !flags.otlp_allow_plain_http {
        return Err(format!("{address} is plain http to another machine; take https, or --otlp-allow-plain-http"));
    }
    let client = Client::new(address, None).with_headers(headers(&variable)?);
    Ok(Some(TracesListener { client, resource: resource(&variable, &about.cluster), about }))
}

/// An address, and what is to be said of it.
struct Endpoint {
    from: &'static str,
    text: String,
    /// Whether it is of traces alone; else their path is put behind it.
    is_whole: bool,
}

/// The flag comes first, then the variable for traces, then the one for everything that OTLP carries.
fn endpoint(flags: &Traces, variable: &impl Fn(&str) -> Option<String>) -> Option<Endpoint> {
    const OF_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    const OF_ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let of_flag = flags.otlp_endpoint.clone().filter(|text| !text.trim().is_empty());
    if let Some(text) = of_flag {
        return Some(Endpoint { from: "--otlp-endpoint", text, is_whole: false });
    }
    let is_off = |name, off| variable(name).is_some_and(|value| value.eq_ignore_ascii_case(off));
    if is_off("OTEL_SDK_DISABLED", "true") || is_off("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    let of_traces = variable(OF_TRACES).map(|text| Endpoint { from: OF_TRACES, text, is_whole: true });
    of_traces.or_else(|| variable(OF_ALL).map(|text| Endpoint { from: OF_ALL, text, is_whole: false }))
}

impl Endpoint {
    fn address(&self) -> Result<Address, String> {
        let address = Address::read(&self.text).map_err(|error| format!("{}: {error}", self.from))?;
        Ok(if self.is_whole { address } else { address.below("/v1/traces") })
    }
}

fn check_protocol(variable: &impl Fn(&str) -> Option<String>) -> Result<(), String> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    match names.into_iter().find_map(|name| Some((name, variable(name)?))) {
        Some((name, protocol)) if protocol != "http/protobuf" => {
            Err(format!("{name} is {protocol}, and only http/protobuf is spoken here"))
        }
        Some(_) | None => Ok(()),
    }
}

fn headers(variable: &impl Fn(&str) -> Option<String>) -> Result<HeaderMap, String> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
    let Some((from, text)) = names.into_iter().find_map(|name| Some((name, variable(name)?))) else {
        return Ok(HeaderMap::new());
    };
    let header = |(name, value): (String, String)| {
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
    };
    let headers: Option<HeaderMap> = pairs(&text).into_iter().map(|pair| pair.and_then(header)).collect();
    headers.ok_or_else(|| format!("{from} is not written as NAME=VALUE,NAME=VALUE"))
}

/// Pairs as the variables of OpenTelemetry hold them: `a=1,b=2`, with what is special written as in an address. One that is none is `None`.
fn pairs(text: &str) -> Vec<Option<(String, String)>> {
    let decode = |text: &str| percent_decode_str(text.trim()).decode_utf8().ok().map(|text| text.into_owned());
    let pair = |text: &str| {
        let (name, value) = text.split_once('=')?;
        Some((decode(name)?, decode(value)?)).filter(|(name, _)| !name.is_empty())
    };
    text.split(',').filter(|text| !text.trim().is_empty()).map(pair).collect()
}

/// What the program is, for those who get traces of several; the operator's own words go before ours.
fn resource(variable: &impl Fn(&str) -> Option<String>, cluster: &str) -> Vec<(String, String)> {
    let name = variable("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name));
    let given = variable("OTEL_RESOURCE_ATTRIBUTES").map(|text| pairs(&text)).unwrap_or_default();
    let ours = [
        ("service.name", env!("CARGO_PKG_NAME")),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("k8s.cluster.uid", cluster),
    ];
    let ours = ours.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut all: Vec<(String, String)> = Vec::new();
    for (key, value) in name.into_iter().chain(given.into_iter().flatten()).chain(ours) {
        if all.iter().all(|(known, _)| *known != key) {
            all.push((key, value));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Before;

    fn about() -> About {
        let (from, to) = ("v2.5.1".to_owned(), "v2.6.12".to_owned());
        About { cluster: "uid".to_owned(), purpose: "upgrade", of: None, from, to, before: Before::Nobody }
    }

    fn read(flag: &str, is_built: bool, environment: &[(&str, &str)]) -> Result<Option<TracesListener>, String> {
        let flags = Traces { otlp_endpoint: Some(flag.to_owned()), otlp_allow_plain_http: false };
        let variable =
            |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        listener(&flags, is_built, variable, about())
    }

    const ALL: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://all.example");
    const TRACES: (&str, &str) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.example/in");

    #[test]
    fn the_flag_comes_before_the_variable_of_traces_and_that_before_the_one_of_all() {
        let chosen = |flag, environment: &[(&str, &str)]| {
            let listener = read(flag, true, environment).unwrap();
            listener.map(|one| one.client.address().to_string())
        };
        assert_eq!(chosen("", &[]), None);
        assert_eq!(chosen("", &[ALL]).as_deref(), Some("https://all.example"));
        assert_eq!(chosen("", &[ALL, TRACES]).as_deref(), Some("https://traces.example"));
        assert_eq!(chosen("https://flag.example", &[ALL, TRACES]).as_deref(), Some("https://flag.example"));
        assert_eq!(chosen("", &[ALL, ("OTEL_SDK_DISABLED", "true")]), None);
        assert_eq!(chosen("", &[ALL, ("OTEL_TRACES_EXPORTER", "none")]), None);
    }

    #[test]
    fn a_build_without_traces_says_so_where_they_are_wanted_and_nothing_else() {
        assert!(read("", false, &[]).is_ok_and(|listener| listener.is_none()));
        for (flag, environment) in [("https://flag.example", vec![]), ("", vec![ALL]), ("", vec![TRACES])] {
            let why = read(flag, false, &environment).err().unwrap();
            assert!(why.contains("this build has no traces; build it with"), "{why}");
        }
    }

    #[test]
    fn what_would_go_in_the_clear_or_cannot_be_used_is_refused_without_its_secrets() {
        const SECRET: &str = "canary";
        for (flag, environment, why) in [
            ("http://10.0.0.1:4318", vec![], "--otlp-allow-plain-http"),
            ("http://user:canary@127.0.0.1", vec![], "--otlp-endpoint: it is no address"),
            ("https://a", vec![("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "only http/protobuf"),
            ("https://a", vec![("OTEL_EXPORTER_OTLP_HEADERS", "canary")], "is not written as NAME=VALUE"),
            ("https://a", vec![("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a b=canary")], "is not written as NAME=VALUE"),
            ("https://a", vec![("OTEL_EXPORTER_OTLP_HEADERS", "a=canary%0a")], "is not written as NAME=VALUE"),
        ] {
            let told = read(flag, true, &environment).err().unwrap();
            assert!(told.contains(why) && !told.contains(SECRET), "{told}");
        }
        for loopback in ["http://127.0.0.1:4318", "http://localhost:4318/", "http://[::1]:4318"] {
            assert!(read(loopback, true, &[]).is_ok(), "{loopback}");
        }
        let headers = [("OTEL_EXPORTER_OTLP_HEADERS", "x-token=canary,b=2")];
        let client = read("https://a", true, &headers).unwrap().unwrap().client;
        assert!(!format!("{client:?}").contains(SECRET));
    }

    #[test]
    fn the_operator_s_own_words_of_the_program_go_before_ours() {
        let environment =
            [("OTEL_SERVICE_NAME", "mine"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=net%20ops,wrong")];
        let listener = read("https://a", true, &environment).unwrap().unwrap();
        let said = |key: &str| listener.resource.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        assert_eq!(
            (said("service.name"), said("team"), said("k8s.cluster.uid")),
            (Some("mine"), Some("net ops"), Some("uid"))
        );
    }
}
