//! Frames of clients (RFC 6455, section 5.2), and how to make frames of a server of them.

/// Where the parts of a masked frame are.
pub(crate) struct Masked {
    /// Up to the mask.
    head: usize,
    length: usize,
}

const MASK: usize = 4;

impl Masked {
    /// Returns `None` if the frame is not complete.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let [_, second, rest @ ..] = bytes else { return None };
        let (head, payload) = match second & 0x7f {
            126 => (4, u16::from_be_bytes(*rest.first_chunk()?) as usize),
            127 => (10, u64::from_be_bytes(*rest.first_chunk()?) as usize),
            length => (2, usize::from(length)),
        };
        let length = payload.checked_add(head + MASK)?;
        (length <= bytes.len()).then_some(Self { head, length })
    }

    /// The length of the frame as it came.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Where the payload begins.
    pub(crate) fn payload(&self) -> usize {
        self.head + MASK
    }

    /// Takes the mask off and moves the head behind where it was. Returns where the frame now
    /// begins.
    pub(crate) fn unmask(&self, bytes: &mut [u8]) -> usize {
        let (head, payload) = bytes.split_at_mut(self.payload());
        let mask = u64::from_ne_bytes([0, 1, 2, 3, 0, 1, 2, 3].map(|place| head[self.head + place]));
        let (words, rest) = payload.as_chunks_mut();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ mask).to_ne_bytes();
        }
        for (byte, mask) in rest.iter_mut().zip(mask.to_ne_bytes()) {
            *byte ^= mask;
        }
        head.copy_within(..self.head, MASK);
        head[MASK + 1] &= 0x7f;
        MASK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        for length in [0_usize, 5, 125, 126, 70_000] {
            let payload: Vec<u8> = (0..length).map(|place| place as u8).collect();
            let head = match length {
                0..126 => vec![0x81, length as u8],
                126..65536 => [&[0x81, 126][..], &(length as u16).to_be_bytes()].concat(),
                _ => [&[0x81, 127][..], &(length as u64).to_be_bytes()].concat(),
            };
            let mut bytes = head.clone();
            bytes[1] |= 0x80;
            bytes.extend([1, 2, 3, 4]);
            bytes.extend(
                payload
                    .iter()
                    .zip([1, 2, 3, 4].iter().cycle())
                    .map(|(byte, mask)| byte ^ mask),
            );
            assert!(Masked::read(&bytes[..bytes.len() - 1]).is_none());
            let frame = Masked::read(&bytes).expect("all of it");
            assert_eq!(frame.length(), bytes.len());
            let start = frame.unmask(&mut bytes);
            assert_eq!(bytes[start..], [head, payload].concat());
        }
    }
}
