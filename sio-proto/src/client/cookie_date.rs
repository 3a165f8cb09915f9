//! Dates of cookies, in the many ways in which servers write them (RFC 6265 §5.1.1).
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

/// Days from 1 March of the year 0 to 1 January 1970.
const DAYS_TO_1970: i64 = 719_468;

const MONTHS: [&[u8; 3]; 12] = [
    b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
];

/// Reads a date. Returns its seconds since the beginning of 1970, which are negative before it.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the numbers have at most four digits: they come from `number`"
)]
pub(super) fn parse(text: &str) -> Option<i64> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.as_bytes().split(|byte| is_delimiter(*byte)) {
        if token.is_empty() {
            continue;
        }
        if time.is_none() && read_time(token).is_some() {
            time = read_time(token);
        } else if day.is_none() && number(token, 1, 2).is_some() {
            day = number(token, 1, 2);
        } else if month.is_none() && read_month(token).is_some() {
            month = read_month(token);
        } else if year.is_none() && number(token, 2, 4).is_some() {
            year = number(token, 2, 4);
        }
    }
    let ([hour, minute, second], day, month) = (time?, day?, month?);
    let year = match year? {
        year @ 70..=99 => year + 1900,
        year @ 0..=69 => year + 2000,
        year => year,
    };
    let of_month = match month {
        12 => 31,
        month => days(year, month + 1, 1) - days(year, month, 1),
    };
    if !(1..=of_month).contains(&day) || year < 1601 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

const fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'/' | b';'..=b'@' | b'['..=b'`' | b'{'..=b'~')
}

/// Reads the number at the front, of at least `min` and at most `max` digits. Other characters may
/// follow, but no further digit.
fn number(token: &[u8], min: usize, max: usize) -> Option<i64> {
    let digits = token.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits < min || digits > max {
        return None;
    }
    core::str::from_utf8(token.get(..digits)?).ok()?.parse().ok()
}

/// Reads `h:m:s`, each of one or two digits.
fn read_time(token: &[u8]) -> Option<[i64; 3]> {
    let mut parts = token.splitn(3, |byte| *byte == b':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = |part: &[u8]| number(part, 1, 2).filter(|_| part.len() <= 2 && part.iter().all(u8::is_ascii_digit));
    Some([whole(hour)?, whole(minute)?, number(second, 1, 2)?])
}

/// Reads the name of a month, from 1.
fn read_month(token: &[u8]) -> Option<i64> {
    let name = token.get(..3)?;
    let at = MONTHS.iter().position(|month| name.eq_ignore_ascii_case(*month))?;
    i64::try_from(at).ok()?.checked_add(1)
}

/// Days since the beginning of 1970. The year begins with March here, so that the leap day is its
/// last.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the year has at most four digits, month and day are from 1 to 31"
)]
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let of_years = year * 365 + year / 4 - year / 100 + year / 400;
    of_years + (153 * month + 2) / 5 + day - 1 - DAYS_TO_1970
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Date;

    #[test]
    fn dates_as_servers_write_them() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("Sun, 06-Nov-1994 08:49:37 GMT", 784_111_777),
            ("6 nov 94 8:49:37", 784_111_777),
            ("1994 6 November 08:49:37", 784_111_777),
            ("Tue, 19-Jan-38 03:14:07 GMT", 2_147_483_647),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
            ("Mon, 01 Jan 1601 00:00:00 GMT", -11_644_473_600),
            ("29 Feb 2000 00:00:00", 951_782_400),
            ("6 Nov 1994 08:49:37 2026", 784_111_777),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
        for text in [
            "",
            "0",
            "-1",
            "never",
            "Thu, 01 Jan 1970",
            "01 Jan 00:00:00",
            "00 Jan 1970 00:00:00",
            "32 Jan 1970 00:00:00",
            "31 Apr 1970 00:00:00",
            "32 Dec 1970 00:00:00",
            "29 Feb 1900 00:00:00",
            "01 Foo 1970 00:00:00",
            "01 Jan 1600 00:00:00",
            "01 Jan 1970 24:00:00",
            "01 Jan 1970 00:60:00",
            "01 Jan 1970 00:00:60",
            "01 Jan 19701 00:00:00",
            "01 Jan 1970 0x:00:00",
            "001 Jan 1970 00:00:00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_comes_back() {
        for day in (0..60_000).step_by(13) {
            let seconds = day * 86_400 + 12_345;
            let date = Date::from_unix(seconds);
            assert_eq!(parse(date.as_str()), i64::try_from(seconds).ok(), "{}", date.as_str());
        }
    }
}
