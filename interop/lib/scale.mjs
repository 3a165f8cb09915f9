// The two sizes of the long proofs: the short form of every run, and the full form of `cargo xtask interop --full`.

export const isFull = Boolean(process.env.SIO_FULL);

/** One of the two values. */
export const sized = (short, full) => (isFull ? full : short);
