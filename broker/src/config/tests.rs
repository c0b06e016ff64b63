//! The declaration itself: defaults, help and single values.

use clap::CommandFactory;

use super::*;

#[test]
fn defaults_are_the_published_ones() {
    let config = Config::default();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!((config.workers, config.pin, config.echo), (0, true, false));
    assert!(config.allow_origin.is_empty());
    assert_eq!((config.head_bytes_max, config.headers_max), (8192, 64));
    assert_eq!(config.backlog_bytes_max, 1_048_576);
    assert_eq!(config.backlog_total_bytes_max, 1_073_741_824);
    assert_eq!(config.mailbox_bytes_max, 8_388_608);
    assert_eq!(config.ping_interval_ms, 25_000);
    assert_eq!(config.log_format, LogFormat::Text);
}

#[test]
fn every_setting_stands_under_a_heading_and_has_a_meaning() {
    for arg in Config::command().get_arguments() {
        assert!(arg.get_help_heading().is_some(), "{}", arg.get_id());
        assert!(arg.get_help().is_some(), "{}", arg.get_id());
    }
}

#[test]
fn a_switch_may_stand_alone_or_with_its_value() {
    let read = |args: &[&str]| Config::try_parse_from(args).unwrap();
    assert!(read(&["broker", "--echo", "--workers", "1"]).echo);
    assert!(!read(&["broker", "--echo=false"]).echo);
    assert!(!read(&["broker", "--pin", "false"]).pin);
}

#[test]
fn an_origin_has_no_path_and_no_pattern() {
    assert_eq!(origin(" https://example.com:8443").unwrap(), "https://example.com:8443");
    for wrong in ["", "example.com", "https://", "https://example.com/", "https://*.example.com"] {
        assert!(origin(wrong).is_err(), "{wrong:?}");
    }
}
