//! What a client may do: the user it is, the filters it may use and until when. Made by the
//! verifier from a token, or by the settings for clients without one. Asked before every subscribe,
//! publish and look at a topic's past; allocates nothing when asked.

use std::sync::Arc;

use broker_proto::topic::{Filter, Topic, TopicError};

/// Most filters that a token may allow to subscribe, and as many to publish.
pub const FILTERS_MAX: usize = 256;

/// What one client may do.
///
/// ```
/// use broker::auth::Grants;
/// use broker_proto::topic::{Filter, Topic};
///
/// let grants = Grants::anonymous(Some(&["news/#".into()]), None)?;
/// assert!(grants.may_subscribe(Filter::new("news/+")?));
/// assert!(!grants.may_subscribe(Filter::new("#")?));
/// assert!(!grants.may_publish(Topic::new("news/1")?));
/// # Ok::<(), broker_proto::topic::TopicError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    user: Option<Arc<str>>,
    permissions: Arc<Permissions>,
    expires_unix_s: Option<u64>,
}

/// The filters that may be used. Equal ones are held once for all users that have them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permissions {
    subscribe: Allowed,
    publish: Allowed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Allowed {
    Everything,
    /// The topics that one of these matches.
    Only(Box<[Box<str>]>),
}

impl Grants {
    /// Nobody in particular, who may do everything.
    pub fn everything() -> Self {
        Self::without_user(Permissions {
            subscribe: Allowed::Everything,
            publish: Allowed::Everything,
        })
    }

    /// Nobody in particular, who may do nothing.
    pub fn nothing() -> Self {
        let none = || Allowed::Only(Box::default());
        Self::without_user(Permissions { subscribe: none(), publish: none() })
    }

    /// Nobody in particular, who may subscribe to and publish on what these filters match; `None`
    /// is nothing.
    ///
    /// # Errors
    /// One of them is no filter.
    pub fn anonymous(
        subscribe: Option<&[String]>,
        publish: Option<&[String]>,
    ) -> Result<Self, TopicError> {
        let permissions =
            Permissions::new(subscribe.unwrap_or_default(), publish.unwrap_or_default())?;
        Ok(Self::without_user(permissions))
    }

    /// What a token gave to `user`.
    pub(super) fn of_user(user: &str, permissions: Arc<Permissions>, expires_unix_s: u64) -> Self {
        Self { user: Some(user.into()), permissions, expires_unix_s: Some(expires_unix_s) }
    }

    fn without_user(permissions: Permissions) -> Self {
        Self { user: None, permissions: Arc::new(permissions), expires_unix_s: None }
    }

    /// The same for another stretch of either: what is allowed to subscribe stays, whatever is
    /// published is allowed as in `publish`.
    #[must_use]
    pub fn with_publish_of(self, publish: &Self) -> Self {
        let Permissions { subscribe, .. } = &*self.permissions;
        let permissions = Permissions {
            subscribe: subscribe.clone(),
            publish: publish.permissions.publish.clone(),
        };
        Self { permissions: Arc::new(permissions), ..self }
    }

    /// Who it is (`sub`); none without a token.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The same, shared.
    pub fn shared_user(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }

    /// When it ends (`exp`), in seconds since 1970; never without a token.
    pub fn expires_unix_s(&self) -> Option<u64> {
        self.expires_unix_s
    }

    /// Whether a client may subscribe to `filter`: one of its filters must match every topic that
    /// `filter` can match. Several that only together match all do not count.
    pub fn may_subscribe(&self, filter: Filter<'_>) -> bool {
        match &self.permissions.subscribe {
            Allowed::Everything => true,
            Allowed::Only(filters) => allowed(filters).any(|allowed| allowed.covers(filter)),
        }
    }

    /// Whether a client may see `topic`, its history and who is there.
    pub fn may_see(&self, topic: Topic<'_>) -> bool {
        match &self.permissions.subscribe {
            Allowed::Everything => true,
            Allowed::Only(filters) => allowed(filters).any(|allowed| allowed.matches(topic)),
        }
    }

    /// Whether a client may publish on `topic`. Topics of the broker itself are refused elsewhere,
    /// to everybody.
    pub fn may_publish(&self, topic: Topic<'_>) -> bool {
        match &self.permissions.publish {
            Allowed::Everything => true,
            Allowed::Only(filters) => allowed(filters).any(|allowed| allowed.matches(topic)),
        }
    }

    /// Whether it allows nothing at all, to nobody in particular: what a client without a token has
    /// where there is nothing for such.
    pub fn is_nothing_without_user(&self) -> bool {
        self.user.is_none() && self.is_nothing()
    }

    fn is_nothing(&self) -> bool {
        let none =
            |allowed: &Allowed| matches!(allowed, Allowed::Only(filters) if filters.is_empty());
        none(&self.permissions.subscribe) && none(&self.permissions.publish)
    }
}

impl Permissions {
    /// Checks the filters. Their order and repetitions do not matter.
    pub(super) fn new(subscribe: &[String], publish: &[String]) -> Result<Self, TopicError> {
        Ok(Self { subscribe: Allowed::only(subscribe)?, publish: Allowed::only(publish)? })
    }
}

impl Allowed {
    fn only(filters: &[String]) -> Result<Self, TopicError> {
        filters.iter().try_for_each(|filter| Filter::new(filter).map(drop))?;
        let mut filters: Vec<Box<str>> = filters.iter().map(|text| text.as_str().into()).collect();
        filters.sort_unstable();
        filters.dedup();
        Ok(Self::Only(filters.into()))
    }
}

fn allowed(filters: &[Box<str>]) -> impl Iterator<Item = Filter<'_>> {
    filters.iter().filter_map(|text| Filter::new(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_subscribe(allowed: &[&str], filter: &str) -> bool {
        let allowed: Vec<String> = allowed.iter().map(|&text| text.to_owned()).collect();
        let grants = Grants::anonymous(Some(&allowed), None).unwrap();
        grants.may_subscribe(Filter::new(filter).unwrap())
    }

    #[test]
    fn a_filter_is_allowed_if_one_of_those_granted_matches_all_it_can_match() {
        assert!(may_subscribe(&["tenant/7/#"], "tenant/7/+/log"));
        assert!(may_subscribe(&["a", "tenant/7/#"], "tenant/7"));
        assert!(!may_subscribe(&["tenant/7/#"], "tenant/+/log"));
        assert!(!may_subscribe(&["tenant/7/#"], "tenant/77"));
        assert!(!may_subscribe(&["a/b", "a/c"], "a/+"));
        assert!(!may_subscribe(&["#"], "$SYS/broker"), "the broker's own topics are named");
        assert!(may_subscribe(&["#", "$SYS/#"], "$SYS/broker"));
        assert!(!may_subscribe(&[], "a"));
    }

    #[test]
    fn the_right_to_publish_is_not_the_right_to_subscribe() {
        let only = ["a/+".to_owned()];
        let (topic, filter) = (Topic::new("a/b").unwrap(), Filter::new("a/b").unwrap());
        let reader = Grants::anonymous(Some(&only), None).unwrap();
        assert!(reader.may_see(topic) && reader.may_subscribe(filter));
        assert!(!reader.may_publish(topic));
        let writer = Grants::anonymous(None, Some(&only)).unwrap();
        assert!(!writer.may_see(topic) && !writer.may_subscribe(filter));
        assert!(writer.may_publish(topic) && !writer.is_nothing());
        let both = reader.with_publish_of(&writer);
        assert!(both.may_see(topic) && both.may_publish(topic));
        assert!(!both.may_publish(Topic::new("a").unwrap()));
    }

    #[test]
    fn everything_and_nothing_are_what_they_say() {
        let (topic, filter) = (Topic::new("$SYS/a").unwrap(), Filter::new("#").unwrap());
        let (all, none) = (Grants::everything(), Grants::nothing());
        assert!(all.may_see(topic) && all.may_publish(topic) && all.may_subscribe(filter));
        assert!(!none.may_see(topic) && !none.may_publish(topic) && !none.may_subscribe(filter));
        assert!(none.is_nothing() && !all.is_nothing());
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        assert!(Grants::anonymous(Some(&["a/#/b".to_owned()]), None).is_err());
        assert!(Grants::anonymous(None, Some(&[String::new()])).is_err());
    }
}
