//! Dates as JavaScript writes them into JSON: `Date.prototype.toJSON`, ECMAScript's date time
//! string format.

use bytes::{BufMut as _, BytesMut};

/// The greatest distance of a JavaScript date from 1970, in milliseconds.
const MAX_MILLISECONDS: i64 = 8_640_000_000_000_000;
const DAY: i64 = 86_400_000;

/// Writes a date as a JSON string. `milliseconds` is the time since the beginning of 1970 (UTC).
/// Writes `null` if JavaScript has no such date.
pub(super) fn write(out: &mut BytesMut, milliseconds: Option<i64>) {
    let Some(milliseconds) = milliseconds.filter(|ms| (-MAX_MILLISECONDS..=MAX_MILLISECONDS).contains(ms)) else {
        return out.extend_from_slice(b"null");
    };
    let (year, month, day) = civil(milliseconds.div_euclid(DAY));
    let time = milliseconds.rem_euclid(DAY);
    let (hour, minute, second) = (time / 3_600_000, time / 60_000 % 60, time / 1000 % 60);
    out.put_u8(b'"');
    // A year that does not have four digits is written with a sign and six digits.
    if !(0..=9999).contains(&year) {
        out.put_u8(if year < 0 { b'-' } else { b'+' });
        put::<2>(out, year.abs() / 10_000);
    }
    put::<4>(out, year.abs() % 10_000);
    for (before, number) in [(b'-', month), (b'-', day), (b'T', hour), (b':', minute), (b':', second)] {
        out.put_u8(before);
        put::<2>(out, number);
    }
    out.put_u8(b'.');
    put::<3>(out, time % 1000);
    out.put_slice(b"Z\"");
}

/// Writes the last `N` digits of a number. `core::fmt` is slower, and a message can hold some
/// hundred thousand dates.
fn put<const N: usize>(out: &mut BytesMut, mut number: i64) {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        // The digits are the bytes from 0x30 to 0x39, so the last four bits are the number.
        *digit |= (number % 10) as u8;
        number /= 10;
    }
    out.put_slice(&digits);
}

/// Year, month and day of the proleptic Gregorian calendar, for a number of days after 1970-01-01.
///
/// Years are counted from March, so that the leap day is the last day of its year. 400 years are an
/// era and have 146 097 days.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "`write` passes days of dates that JavaScript has, at most 100 million from 1970 in both directions: every \
              value stays below 2^40, and no divisor is zero"
)]
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts that `new Date(ms).toJSON()` returns.
    #[test]
    fn as_javascript_writes_them() {
        for (milliseconds, json) in [
            (0, "\"1970-01-01T00:00:00.000Z\""),
            (-1, "\"1969-12-31T23:59:59.999Z\""),
            (951_782_400_000, "\"2000-02-29T00:00:00.000Z\""),
            (951_868_799_999, "\"2000-02-29T23:59:59.999Z\""),
            (1_795_447_966_090, "\"2026-11-23T15:32:46.090Z\""),
            (4_107_542_400_000, "\"2100-03-01T00:00:00.000Z\""),
            (-62_167_219_200_000, "\"0000-01-01T00:00:00.000Z\""),
            (-62_167_219_200_001, "\"-000001-12-31T23:59:59.999Z\""),
            (253_402_300_799_999, "\"9999-12-31T23:59:59.999Z\""),
            (253_402_300_800_000, "\"+010000-01-01T00:00:00.000Z\""),
            (MAX_MILLISECONDS, "\"+275760-09-13T00:00:00.000Z\""),
            (-MAX_MILLISECONDS, "\"-271821-04-20T00:00:00.000Z\""),
            (MAX_MILLISECONDS + 1, "null"),
            (i64::MIN, "null"),
        ] {
            let mut out = BytesMut::new();
            write(&mut out, Some(milliseconds));
            assert_eq!(out, json, "{milliseconds}");
        }
    }
}
