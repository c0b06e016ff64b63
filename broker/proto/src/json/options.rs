//! The options of a subscribe, read and checked from JSON. The JSON protocol has them among the
//! members of the command, the binary protocol in an object of their own; both come here.

use super::tape::Value;
use crate::command::quoted;
use crate::command::{CommandError, Deadband, Delta, Epoch, Position, Since, SubscribeOptions};
use crate::command::{FIELDS_MAX, KEY_LEVELS_MAX};
use crate::topic::{Filter, Topic};

/// The names of the options, in the order of their bits.
const NAMES: [&str; 9] =
    ["last", "since", "mode", "max_rate", "key", "fields", "deadband", "presence", "epochs"];

/// The bits of all options.
pub(super) const MEMBERS: u32 = (1 << NAMES.len()) - 1;

/// The bit of the option called `key`.
pub(super) fn member_bit(key: &str) -> Option<u32> {
    NAMES.iter().position(|name| *name == key).map(|index| 1 << index)
}

/// Reads an object that holds nothing but options.
pub(super) fn read_object<'a>(
    object: &Value<'_, 'a>,
    filter: Filter<'_>,
) -> Result<SubscribeOptions<'a>, CommandError> {
    let members = object.members().ok_or_else(|| wrong("the options", "a JSON object"))?;
    let mut seen = 0;
    for (key, _) in members {
        let Some(bit) = member_bit(key) else {
            let message = format!("`subscribe` has no option {}", quoted(key));
            return Err(CommandError::bad_request(message));
        };
        if seen & bit != 0 {
            return Err(CommandError::bad_request(format!("`{key}` is given twice")));
        }
        seen |= bit;
    }
    read(object, filter)
}

/// Reads the options among the members of `object`; others are passed over.
pub(super) fn read<'a>(
    object: &Value<'_, 'a>,
    filter: Filter<'_>,
) -> Result<SubscribeOptions<'a>, CommandError> {
    let mut options = SubscribeOptions::default();
    for (key, value) in object.members().into_iter().flatten() {
        match key {
            "last" => options.last = boolean("`last`", &value)?,
            "since" => options.since = Some(since(&value, filter)?),
            "mode" => {
                options.latest = is_latest(&value)?;
                options.all = !options.latest;
            }
            "max_rate" => options.max_rate = Some(max_rate(&value)?),
            "key" => options.key = Some(pointer(&value)?),
            "fields" => options.fields = fields(&value)?,
            "deadband" => options.deadband = Some(deadband(&value)?),
            "presence" => options.presence = boolean("`presence`", &value)?,
            "epochs" => options.epochs = boolean("`epochs`", &value)?,
            _ => {}
        }
    }
    Ok(options)
}

fn wrong(what: &str, must_be: &str) -> CommandError {
    CommandError::bad_request(format!("{what} must be {must_be}"))
}

fn boolean(what: &str, value: &Value<'_, '_>) -> Result<bool, CommandError> {
    value.as_bool().ok_or_else(|| wrong(what, "true or false"))
}

fn is_latest(value: &Value<'_, '_>) -> Result<bool, CommandError> {
    match value.as_str() {
        Some("all") => Ok(false),
        Some("latest") => Ok(true),
        _ => Err(wrong("`mode`", "\"all\" or \"latest\"")),
    }
}

fn max_rate(value: &Value<'_, '_>) -> Result<f64, CommandError> {
    let rate = value.as_f64().filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| wrong("`max_rate`", "a number above 0"))
}

/// RFC 6901 §3: empty, or segments that each begin with a slash; `~` only as `~0` or `~1`. At most
/// [`KEY_LEVELS_MAX`] segments: each is looked up in every message.
fn pointer<'a>(value: &Value<'_, 'a>) -> Result<&'a str, CommandError> {
    let is_pointer = |text: &&str| {
        let mut tildes = text.split('~').skip(1);
        (text.is_empty() || text.starts_with('/'))
            && text.split('/').count() <= KEY_LEVELS_MAX + 1
            && tildes.all(|rest| rest.starts_with(['0', '1']))
    };
    let text = value.as_str().filter(is_pointer);
    text.ok_or_else(|| wrong("`key`", "a JSON pointer of at most 32 levels, such as \"/symbol\""))
}

fn fields<'a>(value: &Value<'_, 'a>) -> Result<Vec<&'a str>, CommandError> {
    let must_be = "a list of 1 to 64 names";
    let elements = value.elements().ok_or_else(|| wrong("`fields`", must_be))?;
    let mut names = Vec::new();
    for element in elements {
        let name = element.as_str().filter(|_| names.len() < FIELDS_MAX);
        names.push(name.ok_or_else(|| wrong("`fields`", must_be))?);
    }
    if names.is_empty() { Err(wrong("`fields`", must_be)) } else { Ok(names) }
}

fn deadband<'a>(value: &Value<'_, 'a>) -> Result<Deadband<'a>, CommandError> {
    let error = || wrong("`deadband`", "{\"field\": a name, \"abs\" or \"pct\": a number}");
    let amount = |value: &Value<'_, '_>| value.as_f64().filter(|n| n.is_finite() && *n >= 0.0);
    let (mut field, mut delta, mut max_silence_ms) = (None, None, None);
    for (key, value) in value.members().ok_or_else(error)? {
        let is_new = match key {
            "field" => field.replace(value.as_str().ok_or_else(error)?).is_none(),
            "abs" => delta.replace(Delta::Absolute(amount(&value).ok_or_else(error)?)).is_none(),
            "pct" => delta.replace(Delta::Percent(amount(&value).ok_or_else(error)?)).is_none(),
            "max_silence_ms" => {
                let ms = value.as_u64().and_then(|ms| u32::try_from(ms).ok()).filter(|&ms| ms > 0);
                max_silence_ms.replace(ms.ok_or_else(error)?).is_none()
            }
            _ => false,
        };
        if !is_new {
            return Err(error());
        }
    }
    match (field, delta) {
        (Some(field), Some(delta)) => Ok(Deadband { field, delta, max_silence_ms }),
        _ => Err(error()),
    }
}

fn since<'a>(value: &Value<'_, 'a>, filter: Filter<'_>) -> Result<Since<'a>, CommandError> {
    if !filter.is_wildcard() {
        return Ok(Since::At(position(value)?));
    }
    let by_topic = "an object of {epoch, seq} by topic, as the filter has wildcards";
    let mut topics: Vec<(Topic<'a>, Position)> = Vec::new();
    for (key, value) in value.members().ok_or_else(|| wrong("`since`", by_topic))? {
        let topic = Topic::new(key)?;
        if !filter.matches(topic) {
            let message = format!("`since` names {}, which the filter does not match", quoted(key));
            return Err(CommandError::bad_request(message));
        }
        topics.push((topic, position(&value)?));
    }
    topics.sort_unstable_by_key(|(topic, _)| topic.as_str());
    if topics.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(CommandError::bad_request("`since` names a topic twice"));
    }
    Ok(Since::Topics(topics))
}

fn position(value: &Value<'_, '_>) -> Result<Position, CommandError> {
    let error = || wrong("`since`", "{\"epoch\": as answered, \"seq\": an integer from 0}");
    let (mut epoch, mut seq) = (None, None);
    for (key, value) in value.members().ok_or_else(error)? {
        let is_new = match key {
            "epoch" => {
                let text = value.as_str().ok_or_else(error)?;
                epoch.replace(text.parse::<Epoch>().map_err(|_| error())?).is_none()
            }
            "seq" => seq.replace(value.as_u64().ok_or_else(error)?).is_none(),
            _ => false,
        };
        if !is_new {
            return Err(error());
        }
    }
    match (epoch, seq) {
        (Some(epoch), Some(seq)) => Ok(Position { epoch, seq }),
        _ => Err(error()),
    }
}
