//! Days and times as people write them, in each language and in the zone of the boards.

use chrono::{DateTime, Datelike as _, Days, NaiveDate, Utc, Weekday};
use chrono_tz::Tz;

use crate::language::{Language, Messages};

/// Within this many days a weekday says which day it was.
const A_WEEK: Days = Days::new(7);

/// Returns the day on which a time lies.
#[must_use]
pub fn day(at: &DateTime<Utc>, zone: Tz) -> NaiveDate {
    at.with_timezone(&zone).date_naive()
}

/// Writes the time of a day.
#[must_use]
pub fn clock(at: &DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).format("%-H:%M").to_string()
}

/// Writes day and time for a terminal.
#[must_use]
pub fn minute(at: &DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).format("%Y-%m-%d %H:%M").to_string()
}

/// Writes a day in full, as a heading.
#[must_use]
pub fn heading(day: NaiveDate, language: Language) -> String {
    match language {
        Language::En => day.format("%A %-d %B %Y").to_string(),
        Language::Ja => {
            let weekday = japanese(day.weekday());
            format!("{}（{weekday}）", day.format("%Y年%-m月%-d日"))
        }
    }
}

/// Writes how long ago something was, as of `now`; further back, when it was.
#[must_use]
pub fn ago(
    at: &DateTime<Utc>,
    now: &DateTime<Utc>,
    zone: Tz,
    language: Language,
    messages: &Messages,
) -> String {
    let said = |key: &str, name: &str, value: &str| {
        let text = messages.get(key).map_or("", String::as_str);
        text.replace(name, value)
    };
    let minutes = (*now - *at).num_minutes();
    let (day, today, time) = (self::day(at, zone), self::day(now, zone), clock(at, zone));
    if minutes < 1 {
        said("live.now", "", "")
    } else if minutes < 60 {
        said("live.minutes", "{n}", &minutes.to_string())
    } else if day == today {
        said("live.hours", "{n}", &(minutes / 60).to_string())
    } else if Some(day) == today.pred_opt() {
        said("live.yesterday_at", "{time}", &time)
    } else if today
        .checked_sub_days(A_WEEK)
        .is_some_and(|then| day > then)
    {
        match language {
            Language::En => format!("{} {time}", day.format("%a")),
            Language::Ja => format!("{}曜 {time}", japanese(day.weekday())),
        }
    } else {
        short(day, today, language)
    }
}

/// Writes a day, with its year if that is not the one of `today`.
fn short(day: NaiveDate, today: NaiveDate, language: Language) -> String {
    let format = match (language, day.year() == today.year()) {
        (Language::En, true) => "%-d %b",
        (Language::En, false) => "%-d %b %Y",
        (Language::Ja, true) => "%-m月%-d日",
        (Language::Ja, false) => "%Y年%-m月%-d日",
    };
    day.format(format).to_string()
}

const fn japanese(weekday: Weekday) -> &'static str {
    match weekday {
        Weekday::Mon => "月",
        Weekday::Tue => "火",
        Weekday::Wed => "水",
        Weekday::Thu => "木",
        Weekday::Fri => "金",
        Weekday::Sat => "土",
        Weekday::Sun => "日",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn days_are_those_of_the_zone() {
        let at = time("2026-11-24T15:30:00Z");
        assert_eq!(
            heading(day(&at, Tz::UTC), Language::En),
            "Tuesday 24 November 2026"
        );
        assert_eq!(
            heading(day(&at, Tz::Asia__Tokyo), Language::Ja),
            "2026年11月25日（水）"
        );
        assert_eq!(clock(&at, Tz::Asia__Tokyo), "0:30");
        // The hour that is there twice.
        let (first, second) = (time("2026-10-25T00:30:00Z"), time("2026-10-25T01:30:00Z"));
        assert_eq!(clock(&first, Tz::Europe__Berlin), "2:30");
        assert_eq!(clock(&second, Tz::Europe__Berlin), "2:30");
    }

    #[test]
    fn the_further_back_the_less_exact() {
        let now = time("2026-11-25T06:42:00Z");
        for (at, english, japanese) in [
            ("2026-11-25T06:42:30Z", "just now", "たったいま"),
            ("2026-11-25T06:38:00Z", "4 min ago", "4分前"),
            ("2026-11-25T03:00:00Z", "3 h ago", "3時間前"),
            ("2026-11-24T09:20:00Z", "yesterday 18:20", "昨日 18:20"),
            ("2026-11-23T09:20:00Z", "Mon 18:20", "月曜 18:20"),
            ("2026-11-12T09:20:00Z", "12 Nov", "11月12日"),
            ("2025-11-12T09:20:00Z", "12 Nov 2025", "2025年11月12日"),
        ] {
            for (language, expected) in [(Language::En, english), (Language::Ja, japanese)] {
                let messages = language.messages().expect("JSON");
                let said = ago(&time(at), &now, Tz::Asia__Tokyo, language, &messages);
                assert_eq!(said, expected, "{at}");
            }
        }
    }
}
