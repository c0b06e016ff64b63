//! The end of `--help`: where settings come from, and command lines to begin with. Shown by `config`.

pub(super) const EXAMPLES: &str = "\
Where settings come from: a flag wins over an environment variable, that over the file, that over
the default. A setting has one name everywhere: --ping-interval-ms, ALTAVOZ_PING_INTERVAL_MS, and
in the file ping_interval_ms. An environment variable that is empty counts as not set.

Examples:
  broker                                          serve ws://127.0.0.1:8080/ws and its page
  broker --auth-hmac-secret-file secret --listen 0.0.0.0:8080
                                                  serve the network, to those who have a token
  broker --open --listen 0.0.0.0:8080             serve the network, to everybody
  broker --allow-origin https://example.com       browsers only from this site
  broker --tls-self-signed                        wss://127.0.0.1:8443/ws too, for trying out
  broker --open --tls-listen 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem
                                                  serve the internet by TLS, to everybody
  ALTAVOZ_LOG=debug broker --echo                 talkative, and with the echo end point
  broker --demo                                   a stock board, a chat, a whiteboard … to look at
  broker --config altavoz.toml --check            show what would apply, and whence, then exit

altavoz.toml:
  listen = \"0.0.0.0:8080\"
  open = true
  allow_origin = [\"https://example.com\", \"https://www.example.com\"]
  ping_interval_ms = 20000
  pin = false";
