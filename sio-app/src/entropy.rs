//! Random bytes, drawn from the operating system for many ids at once.

use std::cell::RefCell;

/// How many bytes a thread draws at once. An id takes 15 or 18.
const DRAWN: usize = 512;

thread_local! {
    static STOCK: RefCell<Stock> = const { RefCell::new(Stock::EMPTY) };
}

/// Bytes that `from` has drawn. The last `left` of them have not been given out.
struct Stock {
    bytes: [u8; DRAWN],
    left: usize,
    from: Option<fn(&mut [u8])>,
}

/// Fills `out` with bytes of `draw`, which asks the operating system for unpredictable bytes. This
/// saves a system call for each id: `draw` is asked for 512 bytes at once, and each thread keeps
/// those that are not needed yet. A byte is given out once, and nothing of it stays. More than 512
/// bytes are drawn directly, and bytes of another function are never given out.
///
/// A process that is copied while a server runs in it (`fork`, or an image of a virtual machine
/// that is started twice) must not go on as a server: both would give out the same bytes.
///
/// # Panics
/// If `draw` panics, or calls this function. Then no byte has been given out.
pub fn fill_from_stock(out: &mut [u8], draw: fn(&mut [u8])) {
    if STOCK.try_with(|stock| stock.borrow_mut().give(out, draw)) != Ok(true) {
        draw(out);
    }
}

impl Stock {
    const EMPTY: Self = Self {
        bytes: [0; DRAWN],
        left: 0,
        from: None,
    };

    /// Fills `out`, or returns false, if it is longer than a stock.
    fn give(&mut self, out: &mut [u8], draw: fn(&mut [u8])) -> bool {
        if out.len() > DRAWN {
            return false;
        }
        let is_of_another = !self.from.is_some_and(|from| std::ptr::fn_addr_eq(from, draw));
        if out.len() > self.left || is_of_another {
            self.left = 0;
            draw(&mut self.bytes);
            (self.left, self.from) = (DRAWN, Some(draw));
        }
        let from = DRAWN - self.left;
        let given = &mut self.bytes[from..from + out.len()];
        out.copy_from_slice(given);
        given.fill(0);
        self.left -= out.len();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator that counts, so that each byte tells when it was drawn.
    fn count(out: &mut [u8]) {
        thread_local!(static NEXT: RefCell<u8> = const { RefCell::new(0) });
        NEXT.with_borrow_mut(|next| {
            for byte in out {
                *next = next.wrapping_add(1).max(1);
                *byte = *next;
            }
        });
    }

    #[test]
    fn a_byte_is_given_out_once_and_nothing_of_it_stays() {
        let mut expected = Vec::new();
        let mut all = Vec::new();
        let (mut stock, mut out) = (Stock::EMPTY, [0; 18]);
        for _ in 0..DRAWN / 18 {
            assert!(stock.give(&mut out, count));
            all.extend_from_slice(&out);
        }
        for at in 0..all.len() {
            expected.push(u8::try_from(at % 255 + 1).unwrap());
        }
        assert_eq!(all, expected);
        assert!(stock.bytes[..all.len()].iter().all(|byte| *byte == 0));

        // 8 bytes are left. They are not enough, and are not given out later either.
        assert_eq!(stock.left, DRAWN % 18);
        assert!(stock.give(&mut out, count));
        assert_eq!(out[0], u8::try_from(DRAWN % 255 + 1).unwrap());
    }

    #[test]
    fn a_stock_that_could_not_be_drawn_gives_nothing() {
        let mut stock = Stock {
            left: 7,
            ..Stock::EMPTY
        };
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            stock.give(&mut [0; 18], |_| panic!("the operating system gives no random bytes"))
        }));
        assert!(failed.is_err());
        assert_eq!(stock.left, 0);
        assert!(!stock.give(&mut [0; DRAWN + 1], count), "this is drawn directly");
    }

    #[test]
    fn bytes_of_another_function_are_not_given_out() {
        let (mut stock, mut out) = (Stock::EMPTY, [0; 18]);
        assert!(stock.give(&mut out, |bytes| bytes.fill(7)));
        assert_eq!(out, [7; 18]);
        assert!(stock.give(&mut out, |bytes| bytes.fill(9)));
        assert_eq!(out, [9; 18]);
    }
}
