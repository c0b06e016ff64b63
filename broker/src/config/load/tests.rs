//! Precedence, and the line each mistake is answered with.

use std::ffi::OsString;

use super::*;

const NO_VARIABLES: [(&str, &str); 0] = [];

fn load(args: &[&str], variables: &[(&str, &str)]) -> Result<Resolved, LoadError> {
    let args = std::iter::once("broker").chain(args.iter().copied()).map(OsString::from).collect();
    resolve(args, |name| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
    })
}

/// Loads with this file; its path reads `FILE` in what comes back.
fn load_file(
    text: &str,
    args: &[&str],
    variables: &[(&str, &str)],
) -> Result<(Config, String), String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let args: Vec<&str> = ["--config", path].into_iter().chain(args.iter().copied()).collect();
    match load(&args, variables) {
        Ok(resolved) => Ok((resolved.config.clone(), resolved.to_string().replace(path, "FILE"))),
        Err(error) => Err(error.to_string().replace(path, "FILE")),
    }
}

fn file_error(text: &str) -> String {
    load_file(text, &[], &NO_VARIABLES).unwrap_err()
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let file = "headers_max = 10\nworkers = 1\nlog = \"warn\"";
    let variables = [("ALTAVOZ_WORKERS", "2"), ("ALTAVOZ_LOG", "error")];
    let (config, _) = load_file(file, &["--log", "debug"], &variables).unwrap();
    assert_eq!(config.log, "debug");
    assert_eq!(config.workers, 2);
    assert_eq!(config.headers_max, 10);
    assert_eq!(config.head_bytes_max, 8192);
}

#[test]
fn a_list_is_replaced_not_added_to() {
    let file = "allow_origin = [\"https://a.example\", \"https://b.example\"]";
    let (config, _) = load_file(file, &[], &NO_VARIABLES).unwrap();
    assert_eq!(config.allow_origin, ["https://a.example", "https://b.example"]);

    let args = ["--allow-origin", "https://c.example,https://d.example"];
    let (config, _) = load_file(file, &args, &NO_VARIABLES).unwrap();
    assert_eq!(config.allow_origin, ["https://c.example", "https://d.example"]);
}

#[test]
fn the_file_may_be_named_by_a_variable() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"pin = false").unwrap();
    let variables = [("ALTAVOZ_CONFIG", file.path().to_str().unwrap())];
    assert!(!load(&[], &variables).unwrap().config.pin);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let config = load(&[], &[("ALTAVOZ_WORKERS", "")]).unwrap().config;
    assert_eq!(config.workers, 0);
}

#[test]
fn the_report_says_where_each_value_came_from() {
    let (_, report) =
        load_file("topics_max = 5", &["--pin=false"], &[("ALTAVOZ_ECHO", "true")]).unwrap();
    let line = |start: &str| {
        let line = report.lines().find(|line| line.starts_with(start)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("topics_max"), "topics_max = 5 # FILE");
    assert_eq!(line("pin "), "pin = false # flag");
    assert_eq!(line("echo"), "echo = true # environment");
    assert_eq!(line("listen"), "listen = \"127.0.0.1:8080\" # default");
    assert_eq!(line("allow_origin"), "allow_origin = [] # default");
}

#[test]
fn the_report_is_a_file_that_gives_the_same_settings() {
    let args =
        ["--allow-origin", "https://a.example,http://b.example:81", "--log", "info,broker=debug"];
    let first = load(&args, &NO_VARIABLES).unwrap();
    let (second, _) = load_file(&first.to_string(), &[], &NO_VARIABLES).unwrap();
    assert_eq!(format!("{:?}", Config { config: None, ..second }), format!("{:?}", first.config));
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    assert_eq!(
        file_error("lisen = \"127.0.0.1:1\""),
        "FILE: unknown key `lisen`; did you mean `listen`?"
    );
    assert_eq!(
        file_error("head-bytes-max = 512"),
        "FILE: unknown key `head-bytes-max`; did you mean `head_bytes_max`?"
    );
    assert_eq!(file_error("zzz = 1"), "FILE: unknown key `zzz`");
}

#[test]
fn what_is_no_setting_is_no_key() {
    for key in ["config", "check", "help", "version"] {
        let error = file_error(&format!("{key} = \"x\""));
        assert_eq!(error, format!("FILE: unknown key `{key}`"));
    }
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    let cases = [
        ("workers = \"4\"", "FILE: workers = \"4\": must be an integer, not a string"),
        ("pin = 1", "FILE: pin = 1: must be true or false, not an integer"),
        ("listen = 8080", "FILE: listen = 8080: must be a string, not an integer"),
        ("ping_interval_ms = 2.5", "FILE: ping_interval_ms = 2.5: must be an integer, not a float"),
        (
            "allow_origin = [1]",
            "FILE: allow_origin = [1]: must be a list of strings, not such a list",
        ),
    ];
    for (file, error) in cases {
        assert_eq!(file_error(file), error);
    }
}

#[test]
fn a_value_out_of_range_is_refused_wherever_it_stands() {
    assert_eq!(
        file_error("head_bytes_max = 5"),
        "FILE: head_bytes_max = 5: 5 is not in 256..=65536"
    );
    assert_eq!(
        file_error("workers = -1"),
        "FILE: workers = -1: must be a whole number, not negative"
    );
    let variables = [("ALTAVOZ_WORKERS", "99")];
    let error = load(&[], &variables).unwrap_err().to_string();
    assert_eq!(error, "ALTAVOZ_WORKERS=99: 99 is not in 0..=64");
    let error = load(&["--workers", "99"], &NO_VARIABLES).unwrap_err().to_string();
    let line = error.lines().next().unwrap();
    assert_eq!(line, "error: invalid value '99' for '--workers <N>': 99 is not in 0..=64");
}

#[test]
fn a_wrong_value_in_the_file_is_refused_even_where_a_flag_wins() {
    let error = load_file("headers_max = 1", &["--headers-max", "9"], &NO_VARIABLES).unwrap_err();
    assert_eq!(error, "FILE: headers_max = 1: 1 is not in 4..=256");
}

#[test]
fn a_word_that_is_none_of_the_choices_is_refused_with_them() {
    assert_eq!(
        file_error("log_format = \"xml\""),
        "FILE: log_format = xml: must be one of text, json"
    );
    let error = load(&[], &[("ALTAVOZ_PIN", "maybe")]).unwrap_err().to_string();
    assert_eq!(error, "ALTAVOZ_PIN=maybe: must be one of true, false");
}

#[test]
fn a_log_filter_that_would_not_work_is_refused() {
    let error = load(&[], &[("ALTAVOZ_LOG", "broker=loud")]).unwrap_err().to_string();
    assert!(error.starts_with("ALTAVOZ_LOG=broker=loud: "), "{error}");
}

#[test]
fn toml_that_does_not_parse_is_refused_with_its_place_on_one_line() {
    let error = file_error("pin = true\nworkers 4\n");
    assert!(error.starts_with("FILE: line 2, column 9: "), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load(&["--config", "/nowhere/altavoz.toml"], &NO_VARIABLES).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/altavoz.toml: No such file"), "{error}");
}

#[test]
fn settings_that_cannot_both_hold_are_both_named_as_they_were_written() {
    let error = load_file("backlog_bytes_max = 2048", &[], &NO_VARIABLES).unwrap_err();
    assert_eq!(
        error,
        "message_bytes_max = 65536 (the default) is more than FILE: backlog_bytes_max = 2048: \
         one long message would close a subscriber that is not slow"
    );
    let error = load(&["--mailbox-bytes-max=1024"], &NO_VARIABLES).unwrap_err().to_string();
    assert!(error.contains("--mailbox-bytes-max=1024"), "{error}");
    let error = load(&[], &[("ALTAVOZ_BACKLOG_TOTAL_BYTES_MAX", "70000")]).unwrap_err().to_string();
    assert!(error.contains("ALTAVOZ_BACKLOG_TOTAL_BYTES_MAX=70000"), "{error}");
    let args = ["--drain-timeout-ms=25000", "--close-timeout-ms=5001"];
    let error = load(&args, &NO_VARIABLES).unwrap_err().to_string();
    assert!(error.contains("more than 30000 together"), "{error}");
}

#[test]
fn help_names_variables_and_sections() {
    let LoadError::Usage(help) = load(&["--help"], &NO_VARIABLES).unwrap_err() else {
        panic!("help is shown by clap")
    };
    let help = help.to_string();
    for part in ["Network:", "Limits:", "Deadlines:", "Topics:", "Operations:", "Examples:"] {
        assert!(help.contains(part), "{part}");
    }
    assert!(help.contains("ALTAVOZ_PING_INTERVAL_MS"));
}

#[test]
fn check_gives_the_settings_instead_of_a_start() {
    let error = from_args(["broker", "--check", "--workers=3"]).unwrap_err();
    let LoadError::Checked(settings) = error else { panic!("{error:?}") };
    assert!(settings.contains("workers = 3 "), "{settings}");
    assert!(!settings.contains("check"), "{settings}");
}

#[test]
fn others_than_this_machine_are_let_in_with_a_key_or_by_name_only() {
    for listen in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80"] {
        let error = load(&["--listen", listen], &NO_VARIABLES).unwrap_err().to_string();
        assert!(error.contains(&format!("--listen={listen}: others")), "{error}");
        assert!(error.contains("auth_hmac_secret_file") && error.contains("open"), "{error}");
        assert!(load(&["--listen", listen, "--open"], &NO_VARIABLES).is_ok());
        let keyed = ["--listen", listen, "--auth-hmac-secret-file", "s"];
        assert!(load(&keyed, &NO_VARIABLES).is_ok());
    }
    for listen in ["127.0.0.1:80", "[::1]:80", "127.1.2.3:80"] {
        assert!(load(&["--listen", listen], &NO_VARIABLES).is_ok(), "{listen}");
    }
    let file = "listen = \"0.0.0.0:80\"\n[[auth.key]]\nalg = \"HS256\"\nsecret_env = \"S\"\n";
    let (config, report) = load_file(file, &[], &NO_VARIABLES).unwrap();
    assert!(config.has_keys());
    assert!(report.ends_with("[[auth.key]]\nalg = \"HS256\"\nsecret_env = \"S\"\n"), "{report}");
}

#[test]
fn a_cookie_that_holds_tokens_needs_keys_and_the_pages_that_may_use_it() {
    let error = load(&["--auth-cookie=t"], &NO_VARIABLES).unwrap_err().to_string();
    assert!(error.starts_with("--auth-cookie=t: there are no keys"), "{error}");
    let keyed = ["--auth-cookie=t", "--auth-hmac-secret-file=s"];
    let error = load(&keyed, &NO_VARIABLES).unwrap_err().to_string();
    assert!(error.contains("allow_origin"), "{error}");
    let named = ["--allow-origin=https://a.example"];
    assert!(load(&[&keyed[..], &named].concat(), &NO_VARIABLES).is_ok());
    assert!(load(&["--auth-cookie=a b"], &NO_VARIABLES).is_err());
}

#[test]
fn a_key_that_is_none_is_refused_with_its_number() {
    let error = |text| file_error(text);
    let none = error("[[auth.key]]\nalg = \"HS256\"\n");
    assert!(none.starts_with("FILE: [[auth.key]] number 1: needs one of"), "{none}");
    assert!(error("[[auth.key]]\nsecret = \"s\"\n").contains("unknown field"));
    assert!(error("[auth]\nother = 1\n").contains("[[auth.key]]"));
    assert!(error("auth = 1\n").contains("[[auth.key]]"));
}
