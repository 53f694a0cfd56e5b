//! A server on the loopback for the programs that get pages: with pages that are slow, fail, move, or never come.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Serves until the test ends.
pub struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<HashMap<String, u32>>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(HashMap::new()));
        let counts = asked.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (connection, counts) = (connection.expect("a connection"), counts.clone());
                thread::spawn(move || serve(connection, &counts));
            }
        });
        Server { address, asked }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How often a page was asked for.
    pub fn asked(&self, path: &str) -> u32 {
        self.asked.lock().expect("not poisoned").get(path).copied().unwrap_or(0)
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn moved(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

fn serve(mut connection: TcpStream, counts: &Mutex<HashMap<String, u32>>) {
    let mut head = BufReader::new(&connection).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let Some(request) = head.next() else { return };
    head.for_each(drop);
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let count = {
        let mut counts = counts.lock().expect("not poisoned");
        let count = counts.entry(path.clone()).or_insert(0);
        *count += 1;
        *count
    };
    let answer = match path.as_str() {
        "/" => ok(HOME),
        "/slow" => {
            thread::sleep(Duration::from_millis(100));
            ok("<title>slow</title>")
        }
        "/moved" => moved("/there"),
        "/there" => ok("<title>there</title><a href='/'>home</a>"),
        "/circle" => moved("circle"),
        "/flaky" if count < 3 => "HTTP/1.1 503 Unavailable\r\n\r\n".to_owned(),
        "/flaky" => ok("<title>at last</title>"),
        "/broken" => "HTTP/1.1 500 Oh\r\n\r\n".to_owned(),
        "/cut" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot a hundred".to_owned(),
        "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n<title>\r\nc\r\nin pieces</t\r\n\
                       4\r\nitle\r\n1\r\n>\r\n0\r\n\r\n"
            .to_owned(),
        "/hangs" => {
            // Until the other side gives up.
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot");
            let _ = std::io::copy(&mut connection, &mut std::io::sink());
            return;
        }
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno".to_owned(),
    };
    // Who has gone away gets nothing.
    let _ = connection.write_all(answer.as_bytes());
}

const HOME: &str = "<html><title>home</title><a href='/slow'>1</a> <a href=moved>2</a> <a href=\"/flaky\">3</a>
    <a href='/broken'>4</a> <a href='/hangs'>5</a> <a href='/missing'>6</a> <a href='/chunked'>7</a>
    <a href='/circle'>8</a> <a href='/cut'>9</a> <a href='http://127.0.0.1:1/elsewhere'>10</a></html>";
