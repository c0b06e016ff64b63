//! What a request for a stream asks for: topics and options in its query, and where the reader was
//! in `Last-Event-ID` or `last_event_id`. Each topic becomes the subscribe command that a client
//! with a WebSocket would send, and is read by the same parser.

use broker_proto::command::{CommandError, ErrorCode};
use broker_proto::handshake::{AllowedOrigins, Refusal, Request as Head};
use broker_proto::sse::{self, Place};
use broker_proto::topic::{Filter, Topic};
use serde_json::{Map, Value, json};

/// Topics of one stream.
const TOPICS_MAX: usize = 32;

/// What is asked for.
pub(in crate::worker) struct Asked {
    /// The head of the answer.
    pub(super) response: Vec<u8>,
    /// Each topic or filter, and the command that subscribes to it.
    pub(super) commands: Vec<(String, String)>,
    /// Where the reader was.
    places: Vec<Place>,
}

impl Asked {
    /// Reads a request. With `takes_cookies`, pages of the origins that are allowed may send the
    /// cookie that carries a token.
    ///
    /// # Errors
    /// The answer that says what is wrong with it.
    pub(in crate::worker) fn read(
        head: &Head<'_>,
        origins: &AllowedOrigins,
        takes_cookies: bool,
    ) -> Result<Self, Refusal> {
        if head.header("Content-Length").is_some_and(|length| length != b"0")
            || head.header("Transfer-Encoding").is_some()
        {
            return Err(Refusal::bad_request("a request for events has no body"));
        }
        let mut allowed = allow_origin(origins, head)?;
        if takes_cookies && !allowed.is_empty() {
            allowed.push_str("Access-Control-Allow-Credentials: true\r\n");
        }
        let response = response(&allowed);
        let header = head.header("Last-Event-ID").and_then(|text| std::str::from_utf8(text).ok());
        let mut cursor = header.map(str::to_owned);
        let (mut topics, mut options) = (Vec::new(), Map::new());
        for (name, value) in parameters(head.query().unwrap_or_default())? {
            match &*name {
                "topic" => topics.push(value),
                // What the browser says by itself is newer than what the address says.
                "last_event_id" => drop(cursor.get_or_insert(value)),
                _ => {
                    let option = option(&name, &value)?;
                    if options.insert(name.clone(), option).is_some() {
                        return Err(Refusal::bad_request(format!("{name} is given twice")));
                    }
                }
            }
        }
        if topics.is_empty() || topics.len() > TOPICS_MAX {
            let message = format!("1 to {TOPICS_MAX} topics: /sse?topic=a&topic=b/+");
            return Err(Refusal::bad_request(message));
        }
        let cursor = cursor.filter(|text| !text.is_empty());
        let is_back = cursor.is_some();
        // With a cursor that can't be read nothing is recovered, and the answer says so.
        let places = cursor.and_then(|text| sse::parse_cursor(&text)).unwrap_or_default();
        let mut asked = Self { response, commands: Vec::new(), places };
        for topic in topics {
            let mut members = options.clone();
            members.insert("op".into(), "subscribe".into());
            members.insert("topic".into(), topic.clone().into());
            if is_back {
                members.insert("since".into(), asked.since(&topic));
            }
            asked.commands.push((topic, Value::Object(members).to_string()));
        }
        Ok(asked)
    }

    /// Where the reader was in the topics that match.
    pub(super) fn places_of(&self, filter: &str) -> impl Iterator<Item = &Place> {
        let filter = Filter::new(filter).ok();
        let matches = move |place: &&Place| {
            let topic = Topic::new(&place.topic);
            filter.is_some_and(|filter| topic.is_ok_and(|topic| filter.matches(topic)))
        };
        self.places.iter().filter(matches)
    }

    fn since(&self, topic: &str) -> Value {
        let written = |place: &Place| json!({ "epoch": place.position.epoch.to_string(), "seq": place.position.seq });
        if Filter::new(topic).is_ok_and(Filter::is_wildcard) {
            let places = self.places_of(topic);
            return places.map(|place| (place.topic.to_string(), written(place))).collect();
        }
        // Of a topic that the cursor does not name nothing is known: an epoch that never is.
        let unknown = || json!({ "epoch": "0", "seq": 0 });
        self.places_of(topic).next().map_or_else(unknown, written)
    }
}

fn response(allow_origin: &str) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
        X-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n";
    [head, allow_origin, "\r\n"].concat().into_bytes()
}

/// The names and values of a query. A plus stands for itself: it is what filters are made of.
fn parameters(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let decoded = |text| {
        let wrong = || Refusal::bad_request("the query is not percent-encoded UTF-8");
        sse::percent_decoded(text).ok_or_else(wrong)
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

/// The value of an option, as a subscribe command has it; the parser checks what it says.
fn option(name: &str, value: &str) -> Result<Value, Refusal> {
    let wrong = |what: &str| Refusal::bad_request(format!("{name} must be {what}"));
    let text = || Value::from(value);
    match name {
        "last" | "presence" => match value {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(wrong("true or false")),
        },
        "mode" | "key" => Ok(text()),
        "max_rate" => serde_json::from_str::<f64>(value)
            .map(Value::from)
            .map_err(|_| wrong("a number above 0")),
        "fields" => Ok(value.split(',').map(Value::from).collect()),
        "deadband" | "since" => {
            serde_json::from_str(value).map_err(|_| wrong("a JSON object, as in a subscribe"))
        }
        _ => Err(Refusal::bad_request("the query has a parameter that is not known")),
    }
}

/// What a stream that can't be opened is answered.
pub(super) fn refusal(error: &CommandError) -> Refusal {
    let message = error.message.to_string();
    match error.code {
        ErrorCode::Unauthorized => Refusal::unauthorized(message),
        ErrorCode::Forbidden => Refusal::forbidden(message),
        ErrorCode::Unavailable => Refusal::unavailable(message),
        _ => Refusal::bad_request(message),
    }
}

/// The header that lets pages of other origins read an answer.
fn allow_origin(origins: &AllowedOrigins, head: &Head<'_>) -> Result<String, Refusal> {
    let Some(origin) = head.header("Origin") else { return Ok(String::new()) };
    let origin = std::str::from_utf8(origin).unwrap_or("null");
    if !origins.allows(Some(origin)) {
        return Err(Refusal::forbidden("the origin is not among those in allow_origin"));
    }
    Ok(format!("Access-Control-Allow-Origin: {origin}\r\nVary: Origin\r\n"))
}

#[cfg(test)]
mod tests {
    use broker_proto::handshake::HeadLimits;

    use super::*;

    fn read(target: &str, headers: &str) -> Result<Vec<String>, String> {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let head = Head::parse(head.as_bytes(), &HeadLimits::default()).unwrap();
        let origins = AllowedOrigins::parse(&["https://a.example".to_owned()]).unwrap();
        match Asked::read(&head, &origins, false) {
            Ok(asked) => Ok(asked.commands.into_iter().map(|(_, command)| command).collect()),
            Err(refusal) => Err(format!("{} {}", refusal.status(), refusal.message())),
        }
    }

    #[test]
    fn each_topic_becomes_a_subscribe_with_the_options_of_the_request() {
        assert_eq!(
            read("/sse?topic=a&topic=b/+&mode=latest&max_rate=2&fields=x,y", "").unwrap(),
            [
                r#"{"fields":["x","y"],"max_rate":2.0,"mode":"latest","op":"subscribe","topic":"a"}"#,
                r#"{"fields":["x","y"],"max_rate":2.0,"mode":"latest","op":"subscribe","topic":"b/+"}"#,
            ]
        );
        let deadband = "/sse?topic=a%20b&deadband=%7B%22field%22:%22p%22,%22abs%22:1%7D&last=true";
        assert_eq!(
            read(deadband, "").unwrap(),
            [r#"{"deadband":{"abs":1,"field":"p"},"last":true,"op":"subscribe","topic":"a b"}"#]
        );
    }

    #[test]
    fn a_cursor_says_where_each_topic_is_gone_on_with() {
        let asked = read(
            "/sse?topic=a&topic=b/%2B&topic=new&last_event_id=a@z.1",
            "Last-Event-ID: a@z.7,b/1@z.2,c@z.3\r\n",
        );
        assert_eq!(
            asked.unwrap(),
            [
                r#"{"op":"subscribe","since":{"epoch":"z","seq":7},"topic":"a"}"#,
                r#"{"op":"subscribe","since":{"b/1":{"epoch":"z","seq":2}},"topic":"b/+"}"#,
                r#"{"op":"subscribe","since":{"epoch":"0","seq":0},"topic":"new"}"#,
            ]
        );
        let odd = read("/sse?topic=a", "Last-Event-ID: 42\r\n").unwrap();
        assert_eq!(odd, [r#"{"op":"subscribe","since":{"epoch":"0","seq":0},"topic":"a"}"#]);
    }

    #[test]
    fn what_is_wrong_with_a_request_is_told() {
        for (target, headers, wanted) in [
            ("/sse", "", "400 1 to 32 topics"),
            ("/sse?topic=%zz", "", "400 the query is not percent-encoded"),
            ("/sse?topic=a&last=yes", "", "400 last must be"),
            ("/sse?topic=a&last=true&last=true", "", "400 last is given twice"),
            ("/sse?topic=a&deadband=%7B%7D,%22op%22:1", "", "400 deadband must be"),
            ("/sse?topic=a&key=x&token=y", "", "400 the query has a parameter"),
            ("/sse?topic=a", "Origin: https://b.example\r\n", "403 the origin"),
            ("/sse?topic=a", "Origin: null\r\n", "403 the origin"),
            ("/sse?topic=a", "Content-Length: 4\r\n", "400 a request for events has no body"),
        ] {
            let error = read(target, headers).unwrap_err();
            assert!(error.starts_with(wanted), "{target}: {error}");
        }
        assert!(read("/sse?topic=a", "Origin: https://a.example\r\n").is_ok());
    }
}
