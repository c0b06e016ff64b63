//! A wire between a node and NATS that can be cut and mended, and be long in one direction.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Chunks of bytes that are under way; the sender of more waits.
const CHUNKS_MAX: usize = 1024;

/// Passes bytes on in both directions.
pub(crate) struct Proxy {
    address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    delay_ms: Arc<AtomicU64>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    pub(crate) fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (is_cut, open) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<_>>>::default());
        let delay_ms = Arc::<AtomicU64>::default();
        let (cut, streams, delay) = (is_cut.clone(), open.clone(), delay_ms.clone());
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if cut.load(Ordering::Relaxed) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(target) else { continue };
                let both = [(&near, &far, Arc::default()), (&far, &near, delay.clone())];
                for (from, to, delay) in both {
                    let (from, to) = (
                        from.try_clone().expect("a descriptor"),
                        to.try_clone().expect("a descriptor"),
                    );
                    thread::spawn(move || pass(from, to, &delay));
                }
                streams.lock().expect("no thread failed").extend([near, far]);
            }
        });
        Self { address, is_cut, delay_ms, open }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Ends all connections and lets none through.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
        for stream in self.open.lock().expect("no thread failed").drain(..) {
            // Fails only if the other side has ended it already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn mend(&self) {
        self.is_cut.store(false, Ordering::Relaxed);
    }

    /// From here on, what comes from NATS is under way for so long.
    #[allow(dead_code, reason = "each test binary uses a part of it")]
    pub(crate) fn delay(&self, delay: Duration) {
        self.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, delay_ms: &AtomicU64) {
    let (sender, under_way) = mpsc::sync_channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let writer = thread::spawn(move || {
        for (due, bytes) in under_way {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    let mut chunk = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        let delay = Duration::from_millis(delay_ms.load(Ordering::Relaxed));
        if sender.send((Instant::now() + delay, chunk[..length].to_vec())).is_err() {
            break;
        }
    }
    drop(sender);
    let _ = writer.join();
}
