//! The flags that say where the load goes: to one server, or spread over several. Resolves names;
//! opens no connection.

use clap::Args;

use crate::target::{Protocol, SERVERS_MAX, Target, TargetError};

/// Where the connections go.
#[derive(Clone, Debug, Args)]
pub struct TargetFlags {
    /// Where the server listens.
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws")]
    pub url: String,
    /// Several servers in place of --url, URL,URL,…, that are to behave as one: the brokers of a
    /// cluster.
    ///
    /// Subscribers take them in turn, publishers too, and there is one account over all: every
    /// message must come to every subscriber of its topic, whichever server it was published on.
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub targets: Vec<String>,
    /// The server that all publishers go to, whether or not subscribers do; not for echo and connect,
    /// which have none.
    #[arg(long, value_name = "URL")]
    pub publish_to: Option<String>,
}

impl TargetFlags {
    /// The servers, each with its address.
    ///
    /// # Errors
    ///
    /// If a URL is wrong, a host is not known, or TLS is asked for by some of several only.
    pub fn resolve(&self, protocol: Protocol) -> Result<Target, TargetError> {
        let mut urls = self.urls();
        let mut target = Target::resolve(urls.next().unwrap_or_default(), protocol)?;
        urls.try_for_each(|url| target.add_server(url))?;
        if let Some(url) = &self.publish_to {
            target.publish_to(url)?;
        }
        Ok(target)
    }

    /// What no single flag can tell.
    ///
    /// # Errors
    ///
    /// A sentence for the user.
    pub fn check(&self) -> Result<(), String> {
        if self.targets.len() > SERVERS_MAX {
            return Err(format!("--targets: at most {SERVERS_MAX}"));
        }
        Ok(())
    }

    /// What a report calls it.
    #[must_use]
    pub fn text(&self) -> String {
        let urls: Vec<&str> = self.urls().collect();
        let urls = urls.join(", ");
        match &self.publish_to {
            Some(to) => format!("{urls}; published to {to}"),
            None => urls,
        }
    }

    fn urls(&self) -> impl Iterator<Item = &str> {
        let one = self.targets.is_empty().then_some(self.url.as_str());
        one.into_iter().chain(self.targets.iter().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::options::{Command, Options};

    fn flags(text: &str) -> Result<TargetFlags, clap::Error> {
        let all = format!("loadgen fanout {text}");
        match Options::try_parse_from(all.split_whitespace())?.command {
            Command::Fanout(fanout) => Ok(fanout.conduct.to),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_server_or_several_and_where_it_is_published() {
        let one = flags("").unwrap();
        assert_eq!((one.text().as_str(), one.check()), ("ws://127.0.0.1:8080/ws", Ok(())));
        let three = flags(
            "--targets ws://127.0.0.1:1/ws,ws://127.0.0.1:2/ws --publish-to ws://127.0.0.1:3/ws",
        );
        let three = three.unwrap();
        let text = "ws://127.0.0.1:1/ws, ws://127.0.0.1:2/ws; published to ws://127.0.0.1:3/ws";
        assert_eq!(three.text(), text);
        let target = three.resolve(Protocol::Json).unwrap();
        assert_eq!((target.servers.subscribed(), target.servers.all().len()), (2, 3));
        assert_eq!(flags("--url ws://h/ --targets ws://i/").unwrap().text(), "ws://i/");
        let mixed = flags("--targets ws://127.0.0.1:1/ws,wss://127.0.0.1:2/ws").unwrap();
        assert!(mixed.resolve(Protocol::Json).is_err());
    }
}
