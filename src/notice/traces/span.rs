//! Spans as OTLP writes them, and what is done to them.

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status,
        span::{Event, SpanKind},
        status::StatusCode,
    },
};

/// How many moments one span holds, as OpenTelemetry's SDKs have it; the others are counted.
const MOMENTS: usize = 128;

/// A value of an attribute.
pub fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

/// Of a text.
pub fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

/// Of a number.
pub fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

/// Of a truth.
pub fn truth(key: &str, value: bool) -> KeyValue {
    attribute(key, Value::BoolValue(value))
}

/// A span that has begun. `at` is in nanoseconds since 1970, as all times of spans.
pub fn open(name: &str, trace: Vec<u8>, id: Vec<u8>, parent: Vec<u8>, at: u64) -> Span {
    Span {
        trace_id: trace,
        span_id: id,
        parent_span_id: parent,
        name: name.to_owned(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: at,
        ..Span::default()
    }
}

/// Notes a moment within a span.
pub fn note(span: &mut Span, name: &str, at: u64, attributes: Vec<KeyValue>) {
    if span.events.len() < MOMENTS {
        span.events.push(Event { time_unix_nano: at, name: name.to_owned(), attributes, dropped_attributes_count: 0 });
    } else {
        span.dropped_events_count += 1;
    }
}

/// Ends a span.
pub fn end(mut span: Span, at: u64, outcome: &str, code: StatusCode) -> Span {
    span.end_time_unix_nano = at.max(span.start_time_unix_nano);
    span.attributes.push(text("calico_upgrader.outcome", outcome));
    span.status = Some(Status { message: String::new(), code: code.into() });
    span
}

/// Says of a span that failed with which code.
pub fn explain(span: &mut Span, code: &str) {
    if let Some(status) = span.status.as_mut().filter(|status| status.code == i32::from(StatusCode::Error)) {
        status.message = code.to_owned();
        span.attributes.push(text("error.type", code));
    }
}

/// What is sent of some spans.
pub fn request(resource: &[(String, String)], spans: Vec<Span>) -> ExportTraceServiceRequest {
    let attributes = resource.iter().map(|(key, value)| text(key, value)).collect();
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
    let resource = Some(Resource { attributes, ..Resource::default() });
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, schema_url: String::new() }],
    }
}
