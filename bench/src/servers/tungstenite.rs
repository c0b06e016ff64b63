//! The server that one writes first: a task per connection on tokio, tokio-tungstenite for the
//! frames, an unbounded queue to each subscriber. Whatever has queued up is written at once. No
//! limits: only for measuring.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::{read_publish, read_subscribe, write_message, write_subscribed};

/// Queued messages that are written together.
const TOGETHER_MAX: usize = 256;

type Topics = Arc<Mutex<HashMap<Vec<u8>, Topic>>>;

#[derive(Default)]
struct Topic {
    seq: u64,
    subscribers: Vec<UnboundedSender<Message>>,
}

/// Serves on 127.0.0.1 until the process is ended.
///
/// # Errors
/// If the port is taken, or the system has no more descriptors.
pub fn serve(port: u16) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let topics = Topics::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(converse(stream, topics.clone()));
        }
    })
}

/// One connection, from its handshake to its end.
async fn converse(stream: TcpStream, topics: Topics) {
    let accepted = tokio_tungstenite::accept_hdr_async(stream, choose_protocol).await;
    let Ok(mut socket) = accepted else { return };
    let (sender, mut queue) = unbounded_channel();
    loop {
        let outcome = tokio::select! {
            came = socket.next() => match came {
                Some(Ok(Message::Text(text))) => {
                    handle_command(text.as_bytes(), &sender, &topics);
                    Ok(())
                }
                // The library has put its answer to a ping or close into its buffer.
                Some(Ok(_)) => socket.flush().await,
                Some(Err(error)) => Err(error),
                None => return,
            },
            next = queue.recv() => match next {
                Some(next) => write(&mut socket, next, &mut queue).await,
                None => return,
            },
        };
        if outcome.is_err() {
            return;
        }
    }
}

async fn write(
    socket: &mut WebSocketStream<TcpStream>,
    first: Message,
    queue: &mut UnboundedReceiver<Message>,
) -> Result<(), Error> {
    socket.feed(first).await?;
    for _ in 1..TOGETHER_MAX {
        let Ok(next) = queue.try_recv() else { break };
        socket.feed(next).await?;
    }
    socket.flush().await
}

fn handle_command(text: &[u8], sender: &UnboundedSender<Message>, topics: &Topics) {
    let mut topics = topics.lock().unwrap_or_else(PoisonError::into_inner);
    let mut out = Vec::new();
    if let Some((name, data)) = read_publish(text) {
        let Some(topic) = topics.get_mut(name) else { return };
        topic.seq += 1;
        write_message(&mut out, name, topic.seq, data);
        let message = text_message(out);
        // Who has gone is forgotten here.
        topic.subscribers.retain(|subscriber| subscriber.send(message.clone()).is_ok());
    } else if let Some((id, name)) = read_subscribe(text) {
        topics.entry(name.to_vec()).or_default().subscribers.push(sender.clone());
        write_subscribed(&mut out, id, name);
        let _ = sender.send(text_message(out));
    }
}

fn text_message(bytes: Vec<u8>) -> Message {
    Message::Text(Utf8Bytes::try_from(bytes).unwrap_or_default())
}

/// The first subprotocol that the client offers.
#[expect(clippy::result_large_err, reason = "the library's own type")]
fn choose_protocol(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    if let Some(offered) = request.headers().get(SEC_WEBSOCKET_PROTOCOL) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offered.clone());
    }
    Ok(response)
}
