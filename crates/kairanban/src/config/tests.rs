//! The defaults, the layers, and what mistakes are called.

use std::fs;

use super::*;

fn load(overrides: &Overrides, environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(overrides, environment).map_err(|error| error.to_string())
}

/// The file is the only place with defaults: every field must be in it, every key a field.
#[test]
fn the_default_file_is_complete() {
    let config = load(&Overrides::default(), &[]).expect("the defaults");
    assert_eq!(
        config.address().expect("an address").to_string(),
        "sqlite://data/kairanban.db"
    );
    for line in DEFAULT
        .lines()
        .filter(|line| line.contains(" = ") && !line.starts_with('#'))
    {
        let without = DEFAULT
            .lines()
            .filter(|other| *other != line)
            .collect::<Vec<_>>()
            .join("\n");
        let read: Result<Config, _> = toml::from_str(&without);
        assert!(
            read.is_err(),
            "the code has a default of its own for {line}"
        );
    }
}

/// `kairanban config check` prints keys that can be copied into the file.
#[test]
fn the_settings_are_shown_as_the_file_has_them() {
    let shown = format!("{:#?}", load(&Overrides::default(), &[]).expect("valid"));
    let shown: Vec<_> = shown.lines().map(str::trim).collect();
    let defaults: toml::Table = DEFAULT.parse().expect("TOML");
    let keys = defaults
        .values()
        .filter_map(toml::Value::as_table)
        .flatten();
    for (key, number) in keys.filter_map(|(key, value)| Some((key, value.as_integer()?))) {
        let line = format!("{key}: {number},");
        assert!(shown.contains(&line.as_str()), "{line}");
    }
}

#[test]
fn the_example_for_production_is_valid() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../config/production.example.toml"
    );
    load(
        &Overrides {
            file: Some(file.into()),
            ..Overrides::default()
        },
        &[],
    )
    .expect("valid");
}

#[test]
fn stronger_layers_win() {
    let environment = [
        ("KAIRANBAN_SERVER__LISTEN", "127.0.0.1:1"),
        ("PORT", "2"),
        ("DATABASE_URL", "postgres://env/d"),
    ];
    let config = load(&Overrides::default(), &environment).expect("valid");
    assert_eq!(config.server.listen.port(), 2);
    let flags = Overrides {
        listen: Some("127.0.0.1:3".into()),
        database_url: Some("sqlite://flag.db".to_owned().into()),
        file: None,
    };
    let config = load(&flags, &environment).expect("valid");
    assert_eq!(
        (
            config.server.listen.port(),
            config.address().expect("an address").to_string()
        ),
        (3, "sqlite://flag.db".into())
    );
    let config = load(
        &Overrides::default(),
        &[(
            "KAIRANBAN_LIMITS__TRUSTED_PROXIES",
            "10.0.0.0/8,::1/128,192.0.2.1,::2",
        )],
    )
    .expect("valid");
    assert_eq!(
        format!("{:?}", config.limits.trusted_proxies),
        "[10.0.0.0/8, ::1/128, 192.0.2.1/32, ::2/128]"
    );
}

#[test]
fn mistakes_are_named() {
    fn error(environment: &[(&str, &str)]) -> String {
        load(&Overrides::default(), environment).expect_err("a mistake")
    }
    assert!(
        error(&[("KAIRANBAN_LIMITS__STREAM_MAX", "1")])
            .contains("did you mean KAIRANBAN_LIMITS__STREAMS_MAX?")
    );
    assert!(error(&[("KAIRANBAN_LIMITS__TRUSTED_PROXIES", "10.0.0.0/99")]).contains("10.0.0.0/8"));
    assert!(error(&[("KAIRANBAN_BOARD__DEFAULT", "Main")]).contains("board.default"));
    assert!(error(&[("KAIRANBAN_BOARD__TOPICS_MAX", "0")]).contains("topics_max"));
    assert!(error(&[("KAIRANBAN_STREAM__RETRY_MIN_MS", "9999")]).contains("stream.retry_min_ms"));
    assert!(
        error(&[("KAIRANBAN_DATABASE__WRITE_WAIT_MS", "2500")])
            .contains("database.write_group_wait_ms")
    );
    for origin in [
        "*",
        "app.example",
        "https://app.example/",
        "https://*.example",
    ] {
        assert!(
            error(&[("KAIRANBAN_CORS__ORIGINS", origin)]).contains("cors.origins"),
            "{origin}"
        );
    }
    assert!(error(&[("PORT", "http")]).contains("PORT"));
    assert!(error(&[("DATABASE_URL", "mysql://ann:secret@h/d")]).contains("postgres://"));
    assert!(error(&[("DATABASE_URL_FILE", "/nowhere")]).contains("/nowhere"));
}

#[test]
fn secrets_come_from_files_and_are_not_shown() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), "postgres://ann:secret@h/d\n").expect("written");
    let path = file.path().to_string_lossy().into_owned();
    for name in ["DATABASE_URL_FILE", "KAIRANBAN_DATABASE__URL_FILE"] {
        let config = load(&Overrides::default(), &[(name, &path)]).expect("valid");
        assert_eq!(
            config.address().expect("an address").to_string(),
            "postgres://h/d"
        );
        assert!(!format!("{config:?}").contains("secret"));
    }
    let wrong = load(
        &Overrides::default(),
        &[("DATABASE_URL", "mysql://ann:secret@h/d")],
    )
    .expect_err("a mistake");
    assert!(!wrong.contains("secret"), "{wrong}");
}

/// What never ends, or never begins.
#[cfg(unix)]
#[test]
fn files_are_small_and_regular() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = folder.path().join("long");
    let file = fs::File::create(&long).expect("a file");
    file.set_len(3 << 30).expect("a long file");
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    for (path, reason) in [
        (std::path::Path::new("/dev/zero"), "not a regular file"),
        (&pipe, "not a regular file"),
        (folder.path(), "not a regular file"),
        (&long, "too long"),
    ] {
        let text = path.to_string_lossy().into_owned();
        let file = Overrides {
            file: Some(path.to_path_buf()),
            ..Overrides::default()
        };
        let read = [
            load(&file, &[]).map(drop),
            load(&Overrides::default(), &[("DATABASE_URL_FILE", &text)]).map(drop),
            load(
                &Overrides::default(),
                &[("KAIRANBAN_BOARD__TOPIC_TEMPLATE", &text)],
            )
            .and_then(|config| config.topic_template().map_err(|error| error.to_string()))
            .map(drop),
        ];
        for read in read {
            let said = read.expect_err("refused");
            assert!(said.contains(reason), "{text}: {said}");
        }
    }
}
