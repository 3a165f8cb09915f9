//! The date of an answer, as text (RFC 9110 §5.6.7, `IMF-fixdate`).

use core::fmt;

/// The last second that a year of four digits can express: the end of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

/// Days from 1 March of the year 0 to 1 January 1970, in the calendar that RFC 9110 uses.
const DAYS_TO_1970: u64 = 719_468;

/// Number of days in 400 years. After 400 years the calendar repeats.
const DAYS_OF_AN_ERA: u64 = 146_097;

const WEEKDAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];

/// The months of a year that begins with March. In such a year the leap day is the last day.
const MONTHS: [&[u8; 3]; 12] = [
    b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec", b"Jan", b"Feb",
];

/// The value of a `Date` field (RFC 9110 §6.6.1): 29 characters, to the second, in UTC.
///
/// This crate reads no clock. A caller that reads a clock makes one of these each second, and hands
/// it to the encoder of answers.
///
/// ```
/// use sio_proto::http::Date;
///
/// assert_eq!(Date::from_unix(784_111_777).as_str(), "Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Date([u8; 29]);

impl Date {
    /// The date that is `seconds` after the beginning of the year 1970, without leap seconds. A
    /// date after the year 9999 becomes the last second of this year.
    #[must_use]
    pub fn from_unix(seconds: u64) -> Self {
        let seconds = seconds.min(LAST_SECOND);
        let (days, second) = (seconds / SECONDS_A_DAY, seconds % SECONDS_A_DAY);
        let (year, month, day) = civil(days);
        let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
        text[..3].copy_from_slice(name(&WEEKDAYS, (days % 7) as usize));
        put_digits(&mut text[5..7], day);
        text[8..11].copy_from_slice(name(&MONTHS, month));
        put_digits(&mut text[12..16], year);
        put_digits(&mut text[17..19], second / 3600);
        put_digits(&mut text[20..22], second / 60 % 60);
        put_digits(&mut text[23..25], second % 60);
        Self(text)
    }

    /// The text, which is ASCII.
    pub(super) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of a day or month. All indices have names (the tests read every day up to the last).
fn name(names: &[&'static [u8; 3]], index: usize) -> &'static [u8; 3] {
    names.get(index).copied().unwrap_or(b"???")
}

/// Year, index of the month in [`MONTHS`], and day of the month, for a number of days since the
/// beginning of 1970.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "`from_unix` passes at most 2,932,896 days, and a test computes every one of them with checks of overflow"
)]
const fn civil(days: u64) -> (u64, usize, u64) {
    let days = days + DAYS_TO_1970;
    let (era, day) = (days / DAYS_OF_AN_ERA, days % DAYS_OF_AN_ERA);
    // Leap days: every 4 years there is one (1,461 days), but not in the last year of 100 (36,524
    // days), except in the last year of 400.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on, each group of five months has 153 days: 31, 30, 31, 30, 31.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let begins_a_year = month >= 10;
    (era * 400 + year + begins_a_year as u64, month as usize, day)
}

/// Fills the slice with the last digits of a number.
fn put_digits(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' | (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(Date::from_unix(seconds).as_str(), text);
        }
    }

    /// Each day follows the day before it.
    #[test]
    fn no_day_is_left_out() {
        let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let (mut year, mut month, mut day) = (1970, 10, 1);
        for days in 0..=LAST_SECOND / SECONDS_A_DAY {
            assert_eq!(civil(days), (year, month, day));
            let length = match month {
                11 if is_leap(year) => 29,
                11 => 28,
                1 | 3 | 6 | 8 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = ((month + 1) % 12, 1);
                year += u64::from(month == 10);
            }
        }
    }
}
