use http::{Method, Request, header};
use jiff::{Timestamp, fmt::rfc2822};
use kube::client::Body;

use super::{Cluster, ClusterError, REQUEST_LIMIT};

impl Cluster {
    /// Reads the API server's clock, to the second, from the date of an answer.
    pub async fn clock(&self) -> Result<Timestamp, ClusterError> {
        let path = "/version";
        self.count_request();
        let wrong = |source| ClusterError::Path { path: path.to_owned(), source };
        let request = Request::builder().method(Method::GET).uri(path).body(Body::empty()).map_err(wrong)?;
        let answer = tokio::time::timeout(REQUEST_LIMIT, self.client.send(request)).await;
        let answer = answer.map_err(|_| ClusterError::TimedOut { path: path.to_owned(), limit: REQUEST_LIMIT })?;
        let answer = answer.map_err(|source| ClusterError::of(&Method::GET, path, source))?;
        let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
        let moment = date.and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
        moment.ok_or_else(|| ClusterError::Malformed { path: path.to_owned(), what: "date".to_owned() })
    }
}
