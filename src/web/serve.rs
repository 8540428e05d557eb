use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A page that is made anew for everybody who asks.
pub struct Page {
    pub path: &'static str,
    pub content_type: &'static str,
    pub make: Box<dyn Fn() -> String + Send + Sync>,
}

/// Serves one page until the task is dropped. Whoever asks can only read.
pub async fn serve(listener: TcpListener, page: Page) {
    let page = Arc::new(page);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file handles, which may pass.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let page = Arc::clone(&page);
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let answer = answer(&request, &page);
                async move { Ok::<_, std::convert::Infallible>(answer) }
            });
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await {
                tracing::debug!(%error, "a reader of the metrics went away");
            }
        });
    }
}

fn answer(request: &Request<Incoming>, page: &Page) -> Response<String> {
    let is_asked_for = request.uri().path() == page.path && [Method::GET, Method::HEAD].contains(request.method());
    let mut answer = Response::new(if is_asked_for { (page.make)() } else { String::new() });
    if is_asked_for {
        let content_type = http::HeaderValue::from_static(page.content_type);
        answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
    } else {
        *answer.status_mut() = StatusCode::NOT_FOUND;
    }
    answer
}
