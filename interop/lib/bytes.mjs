// Compares binary values of any client by their bytes: Buffer, ArrayBuffer and typed arrays count as equal.

/** The value with every binary leaf replaced by `{$b: hex}`. */
export function legible(value) {
  if (value instanceof ArrayBuffer) return { $b: Buffer.from(value).toString('hex') };
  if (ArrayBuffer.isView(value)) {
    return { $b: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex') };
  }
  if (Array.isArray(value)) return value.map(legible);
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, legible(inner)]));
  }
  return value;
}
