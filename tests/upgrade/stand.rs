//! A small HTTP server that stands in for Prometheus and for whoever is told of runs.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub line: String,
    pub headers: String,
    pub bytes: Vec<u8>,
}

impl Asked {
    pub fn body(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Answers what it was told to, and remembers what it was asked. It ends with the test.
pub struct Stand {
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<Vec<(u16, String)>>>,
}

impl Stand {
    /// Starts with answers that are given in turn; the last one again and again.
    pub fn start(answers: &[(u16, &str)]) -> Self {
        Self::start_behind("http", answers, serve)
    }

    /// The same behind TLS, with this certificate and its key.
    pub fn start_with_tls(answers: &[(u16, &str)], (certificate, key): (PathBuf, PathBuf)) -> Self {
        let certificate = CertificateDer::from_pem_file(certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let config = Arc::new(config);
        Self::start_behind("https", answers, move |stream, asked, answers| {
            let connection = ServerConnection::new(Arc::clone(&config)).map_err(std::io::Error::other)?;
            serve(StreamOwned::new(connection, stream), asked, answers)
        })
    }

    fn start_behind(
        scheme: &str,
        answers: &[(u16, &str)],
        serve: impl Fn(TcpStream, &Mutex<Vec<Asked>>, &Mutex<Vec<(u16, String)>>) -> std::io::Result<()> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("{scheme}://{}", listener.local_addr().unwrap());
        let stand = Self { address, asked: Arc::default(), answers: Arc::default() };
        stand.answer(answers);
        let (asked, answers) = (Arc::clone(&stand.asked), Arc::clone(&stand.answers));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever asks may be killed in between.
                let _ = serve(stream, &asked, &answers);
            }
        });
        stand
    }

    pub fn answer(&self, answers: &[(u16, &str)]) {
        *self.answers.lock().unwrap() = answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    stream: impl Read + Write,
    asked: &Mutex<Vec<Asked>>,
    answers: &Mutex<Vec<(u16, String)>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut headers, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut line)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        headers.push_str(&header);
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    asked.lock().unwrap().push(Asked { line, headers, bytes });
    let mut answers = answers.lock().unwrap();
    let (status, text) = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
    let stream = reader.get_mut();
    write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len())
}

/// Reads a page in one go: the answer with its head.
pub fn fetch(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
